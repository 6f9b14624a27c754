"""Network namespaces by descriptor: made, entered for a moment, recognized.

Only a thread that does nothing else may enter one: `inside` moves the calling thread, not the process.
"""

import ctypes
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from domain.errors import KernelError

_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_OWN = "/proc/thread-self/ns/net"
_MAKER = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
print(ctypes.get_errno() if libc.unshare(0x50000000) else 0, flush=True)
sys.stdin.read()
"""
"""Makes a user and a network namespace, says 0 or the error, and lives until its input ends."""


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


def owned(first: int, count: int) -> tuple[int, int]:
    """Descriptors of a new namespace and of the new user namespace that it belongs to, whose ids from 0 on are those
    from `first` on of the host. A short-lived process makes both: one with threads may not enter a user namespace.

    Raises: KernelError.
    """
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", _MAKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env={}, cwd="/") as maker:
        assert maker.stdin is not None
        assert maker.stdout is not None
        said = maker.stdout.readline().decode()
        place = f"/proc/{maker.pid}"
        if said != "0\n":
            number = int(said or errno.EIO)
            raise KernelError(f"unshare: {os.strerror(number)}", errno=number, stage="unshare",
                              hint="this kernel, or its settings, allow no user namespaces")
        try:
            for name in ("uid_map", "gid_map"):
                Path(place, name).write_text(f"0 {first} {count}")
            network = os.open(f"{place}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            return network, os.open(f"{place}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise KernelError(f"{place}: {error.strerror}", errno=error.errno or 0, stage="user namespace") from error


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
