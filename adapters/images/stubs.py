"""Mount points that an image lacks, and the mark of a container, as a layer between the image and the writable one.

The engine mounts over /dev, /etc/hosts and others. Were the missing ones made in the writable layer, every commit would
carry them into the new image. Which ones are missing, and where links in the image lead, depends on the image: so there
is one such layer per uppermost chain id. It holds nothing but what is missing; a directory that is repeated for the
sake of the path has the attributes of the image's own.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from adapters.images.stack import Stack

MARK = b".dockerenv"
"""Nothing is mounted there: it is by this file that scripts tell a container."""
DIRECTORIES = (b"dev", b"proc", b"sys")
FILES = (b"etc/hosts", b"etc/hostname", b"etc/resolv.conf", b"sbin/lading-init", MARK)
_MOST_LINKS = 40


def build(target: Path, layers: Sequence[Path]) -> bool:
    """Make the stubs for a stack (uppermost first) in the fresh directory `target`; False when nothing is missing."""
    fds = [os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for layer in layers]
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        maker = _Maker(Stack(fds), root)
        for path in DIRECTORIES:
            maker.directory(path)
        for path in FILES:
            maker.file(path)
        maker.finish()
        return maker.made
    finally:
        for fd in (root, *fds):
            os.close(fd)


class _Maker:
    """Works below one descriptor with cleaned names only; in a directory that nobody else can reach."""

    def __init__(self, image: Stack, root: int) -> None:
        self._image, self._root = image, root
        self._times: dict[bytes, int] = {}
        self.made = False

    def directory(self, path: bytes) -> None:
        place = self._missing(path)
        if place:
            self._parents(place + b"/x")
            self.made = True

    def file(self, path: bytes) -> None:
        place = self._missing(path)
        if place:
            self._parents(place)
            fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=self._root)
            os.fchmod(fd, 0o644)
            os.utime(fd, ns=(0, 0))
            os.close(fd)
            self.made = True

    def finish(self) -> None:
        """Directory attributes last: making things in them has changed their times."""
        found = self._image.directory(b"")
        if found:
            _copy_attributes(self._root, found)
        for path, time in self._times.items():
            os.utime(path, ns=(time, time), dir_fd=self._root, follow_symlinks=False)

    def _missing(self, path: bytes) -> bytes | None:
        """Where the path leads in the image when nothing is there; None when something is, or nothing can be."""
        todo, real, links = path.split(b"/")[::-1], b"", 0
        while todo:
            part = todo.pop()
            if part == b"..":
                real = real.rpartition(b"/")[0]
                continue
            here = real + b"/" + part if real else part
            found = self._image.find(here)
            if found is None or stat.S_ISDIR(found[1].st_mode):
                real = here
            elif stat.S_ISLNK(found[1].st_mode) and links < _MOST_LINKS:
                links += 1
                target = os.readlink(here, dir_fd=found[0])
                real = b"" if target.startswith(b"/") else real
                todo += [piece for piece in reversed(target.split(b"/")) if piece not in (b"", b".")]
            else:
                return None
        return real if real and self._image.find(real) is None and _exists(real, self._root) is None else None

    def _parents(self, path: bytes) -> None:
        parts = path.split(b"/")[:-1]
        for count in range(1, len(parts) + 1):
            here = b"/".join(parts[:count])
            try:
                os.mkdir(here, 0o755, dir_fd=self._root)
            except FileExistsError:
                continue
            fd = os.open(here, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._root)
            os.fchmod(fd, 0o755)
            found = self._image.directory(here)
            if found:
                _copy_attributes(fd, found)
            os.close(fd)
            self._times[here] = found[1].st_mtime_ns if found else 0


def _exists(path: bytes, root: int) -> os.stat_result | None:
    try:
        return os.stat(path, dir_fd=root, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _copy_attributes(fd: int, found: tuple[int, os.stat_result]) -> None:
    status = found[1]
    os.fchown(fd, status.st_uid, status.st_gid)
    os.fchmod(fd, stat.S_IMODE(status.st_mode))
    os.utime(fd, ns=(status.st_mtime_ns, status.st_mtime_ns))
