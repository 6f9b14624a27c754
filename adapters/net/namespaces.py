"""Network namespaces by descriptor: made, entered for a moment, recognized.

Only a thread that does nothing else may enter one: `inside` moves the calling thread, not the process.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from domain.errors import KernelError

_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_OWN = "/proc/thread-self/ns/net"


def make() -> int:
    """A descriptor of a new namespace; it lasts as long as somebody holds it, or lives in it. Raises: KernelError."""
    home = own()
    try:
        _check(_libc.unshare(_NEWNET), "unshare")
        try:
            return own()
        finally:
            _check(_libc.setns(home, _NEWNET), "setns")
    finally:
        os.close(home)


def own() -> int:
    """A descriptor of the namespace that the calling thread is in (not the process: /proc/self is its first thread)."""
    return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def inside(fd: int) -> Iterator[None]:
    """The calling thread is in that namespace meanwhile. Raises: KernelError."""
    home = own()
    try:
        _check(_libc.setns(fd, _NEWNET), "setns")
        try:
            yield
        finally:
            _check(_libc.setns(home, _NEWNET), "setns")
    finally:
        os.close(home)


def of(pid: int) -> int:
    """A descriptor of the namespace of a process. Raises: KernelError when there is none."""
    try:
        return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError(f"open /proc/{pid}/ns/net: {error.strerror}", errno=error.errno or 0, stage="open",
                          path=f"/proc/{pid}/ns/net", hint="the process has ended") from error


def inode(fd: int) -> int:
    """The number by which a namespace is known."""
    return os.fstat(fd).st_ino


def _check(result: int, call: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise KernelError(f"{call}: {os.strerror(number)}", errno=number, stage=call,
                          hint="the engine needs CAP_SYS_ADMIN")
