"""Terminals (pty(7)) of containers: each has an instance of devpts of its own, made before it, so that a terminal never
has to be passed out of a container and its name is right inside.

Everything goes by descriptor: no name that a container could have changed is looked up.
"""

import fcntl
import os
import struct
import termios

from adapters.kernel import syscalls

_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441  # asm-generic/ioctls.h, not in `termios`
TTY_GROUP = 5  # as every distribution numbers it
_OPEN = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC


def new_instance() -> int:
    """A detached mount of a new devpts; it belongs to the caller. Raises: KernelError."""
    context = syscalls.fsopen("devpts")
    try:
        for key, value in (("ptmxmode", "0666"), ("mode", "0620"), ("gid", str(TTY_GROUP))):
            syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, key, value)
        syscalls.fsconfig(context, syscalls.FSCONFIG_CMD_CREATE)
        return syscalls.fsmount(context, syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NOEXEC)
    finally:
        os.close(context)


def open_pair(instance: int, rows: int, cols: int) -> tuple[int, int]:
    """(the engine's end, the process's end) of a new terminal; the engine's does not block. Raises: OSError."""
    ours = os.open("ptmx", _OPEN | os.O_NONBLOCK, dir_fd=instance)
    try:
        fcntl.ioctl(ours, _TIOCSPTLCK, struct.pack("i", 0))
        if rows or cols:
            resize(ours, rows, cols)
        return ours, peer(ours)
    except OSError:
        os.close(ours)
        raise


def peer(ours: int) -> int:
    """Another descriptor of the process's end. Raises: OSError."""
    return fcntl.ioctl(ours, _TIOCGPTPEER, _OPEN)


def resize(fd: int, rows: int, cols: int) -> None:
    """Set the size; the processes in the foreground get SIGWINCH if that is a change. Raises: OSError."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


def adopt(fd: int) -> None:
    """Make it the controlling terminal of this session, whose leader calls. Raises: OSError."""
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
