"""Tells the file system that what is in a directory is unrelated, as `chattr +T` does.

ext4 makes files near the directory they are in, and directories near the one above. So all layers, and whatever else
was made beside them, would share a few groups of inodes; and one without a journal looks for a free inode in such a
group past every one that was deleted within the last minutes (`recently_deleted` in fs/ext4/ialloc.c): making ten
thousand files took 3 s instead of 0.1. The root of a disk has no such neighbours, and neither has the directory that a
layer is unpacked in.

The kernel takes one of the groups with the fewest directories, the first from where the hash of the new name points to:
so names should be random. The root of a layer is no place for the mark: `usr` always leads to the same group, where the
last layer with one has just been deleted.
"""

import os

from adapters import attributes

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def spread_out(directory: str) -> None:
    """Directories that are made in this one from now on get places of their own; overlayfs, tmpfs, xfs and others do
    not know that, and need not."""
    fd = os.open(directory, _OPEN)
    try:
        attributes.give(fd, attributes.TOP)
    finally:
        os.close(fd)
