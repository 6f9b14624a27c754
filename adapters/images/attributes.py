"""Owners, modes, times and extended attributes of what the extractor makes. Standard library only.

The order is always owner, mode, extended attributes, time: chown(2) takes set-user-ID bits and capabilities away.
"""

import os
import stat

from adapters.tar.attributes import kept_attribute

TYPE_CHECKING = False  # the module `typing` costs more than this one
if TYPE_CHECKING:
    from collections.abc import Iterable

_EARLIEST, _LATEST = -(1 << 31) * 10**9, ((1 << 34) - 1) * 10**9  # what ext4 and xfs take
_MOST_WARNINGS = 20


class Attributes:
    """Sets them; `always_chown`: a set-group-ID directory was made, and whatever is made in it would get its group."""

    def __init__(self) -> None:
        self.always_chown = False
        self.warnings: dict[bytes, None] = {}

    def own_directory(self, path: bytes, uid: int, gid: int, mode: int) -> None:
        """Owner and mode of a directory that was just made with root as its owner."""
        if uid or gid or self.always_chown:
            os.chown(path, uid, gid, follow_symlinks=False)
        if mode & stat.S_ISGID:
            self.always_chown = True
        os.chmod(path, mode)

    def own_file(self, fd: int, uid: int, gid: int, mode: int) -> None:
        """Owner and mode of a file that was just made with that mode."""
        if uid or gid or self.always_chown:
            os.fchown(fd, uid, gid)
        if mode & 0o6000:
            os.fchmod(fd, mode)

    def own_other(self, path: bytes, uid: int, gid: int) -> None:
        """Owner of a link or device."""
        if uid or gid or self.always_chown:
            os.chown(path, uid, gid, follow_symlinks=False)

    def set_xattrs(self, where: int | bytes, xattrs: "Iterable[tuple[bytes, bytes]]", *, is_file: bool) -> None:
        """Those that a layer may set; what the file system refuses is only worth a warning."""
        for key, value in xattrs:
            if not _wanted(key, is_file):
                continue
            try:
                os.setxattr(where, key, value)
            except OSError as error:
                because = os.strerror(error.errno or 0).encode()
                self._warn(b"extended attribute " + key[:100] + b" not set: " + because)

    def _warn(self, text: bytes) -> None:
        if len(self.warnings) < _MOST_WARNINGS:
            self.warnings[text.replace(b"\0", b"?")] = None


def own_and_date(fd: int, uid: int, gid: int, mode: int, time: int) -> None:
    """Owner, mode and (clamped) time of a file that was just made with that mode; whichever group its directory gives
    away by now, it is `gid`."""
    os.fchown(fd, uid, gid)
    if mode & 0o6000:
        os.fchmod(fd, mode)
    os.utime(fd, ns=(time, time))


def set_time(where: int | bytes, time: int) -> None:
    """Access and modification time, as near as the file system takes it; a link is not followed."""
    time = clamped(time)
    if isinstance(where, int):
        os.utime(where, ns=(time, time))
    else:
        os.utime(where, ns=(time, time), follow_symlinks=False)


def clamped(time: int) -> int:
    """Negative and far-future times occur."""
    return min(max(time, _EARLIEST), _LATEST)


def xattrs_of(fd: int) -> tuple[tuple[bytes, bytes], ...]:
    """All extended attributes of an open file."""
    return tuple((os.fsencode(key), os.getxattr(fd, key)) for key in os.listxattr(fd))


def _wanted(key: bytes, is_file: bool) -> bool:
    """Capabilities and what users set; never what steers overlayfs, nor other systems' labels."""
    return kept_attribute(key) and (is_file or key != b"security.capability")
