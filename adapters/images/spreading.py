"""Tells the file system that what is in a directory is unrelated, as `chattr +T` does. Standard library only.

ext4 makes files near the directory they are in, and directories near the one above. So all layers, and whatever else
was made beside them, would share a few groups of inodes; and one without a journal looks for a free inode in such a
group past every one that was deleted within the last minutes (`recently_deleted` in fs/ext4/ialloc.c): making ten
thousand files took 3 s instead of 0.1. The root of a disk has no such neighbours, and neither has the directory that a
layer is unpacked in.

The kernel takes one of the groups with the fewest directories, the first from where the hash of the new name points to:
so names should be random. The root of a layer is no place for the mark: `usr` always leads to the same group, where the
last layer with one has just been deleted.
"""

import fcntl
import os
from struct import Struct

TOP = 0x0002_0000  # FS_TOPDIR_FL, linux/fs.h; it is not inherited
_GET, _SET = 0x8008_6601, 0x4008_6602  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS: the same on x86-64 and aarch64
_FLAGS = Struct("=q")
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def spread_out(directory: str) -> None:
    """Directories that are made in this one from now on get places of their own; where nobody knows that, nothing
    changes."""
    fd = os.open(directory, _OPEN)
    try:
        fcntl.ioctl(fd, _SET, _FLAGS.pack(flags(fd) | TOP))
    except OSError:
        pass  # overlayfs, tmpfs, xfs and others have no such flag, and need none
    finally:
        os.close(fd)


def flags(fd: int) -> int:
    """Of a file or directory. Raises: OSError where there are none."""
    (found,) = _FLAGS.unpack(fcntl.ioctl(fd, _GET, bytes(_FLAGS.size)))
    return int(found) & 0xFFFF_FFFF  # the kernel reads and writes an int, whatever the number says
