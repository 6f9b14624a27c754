"""The attributes of an inode that `chattr` sets and `lsattr` shows (ioctl_iflags(2)). Standard library only."""

import fcntl
from struct import Struct

NO_ACCESS_TIMES = 0x0000_0080
"""FS_NOATIME_FL: reading does not change the inode."""

TOP = 0x0002_0000
"""FS_TOPDIR_FL: what is made in the directory is unrelated; not inherited."""

_GET, _SET = 0x8008_6601, 0x4008_6602  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS: the same on x86-64 and aarch64
_FLAGS = Struct("=q")


def give(fd: int, flag: int) -> bool:
    """Set one more flag on an open file or directory; False where the file system knows no such flag."""
    try:
        before = flags(fd)
        if not before & flag:
            fcntl.ioctl(fd, _SET, _FLAGS.pack(before | flag))
    except OSError:
        return False
    return True


def flags(fd: int) -> int:
    """Of a file or directory. Raises: OSError where there are none."""
    (found,) = _FLAGS.unpack(fcntl.ioctl(fd, _GET, bytes(_FLAGS.size)))
    return int(found) & 0xFFFF_FFFF  # the kernel reads and writes an int, whatever the number says
