"""The comparer: a small process that names what a container has changed, without reading what is in any file.

Its root is changed to the overlay's upper directory first, so a container that swaps directories for links meanwhile
only spoils its own list. Standard library only:

    python -I -S -c BOOT PACKAGE-ROOT compare LAYERS-DIR UPPER LAYER…

Layers are named below LAYERS-DIR, uppermost first. On standard output it writes, each followed by NUL and parents
before what is in them, `A/new`, `C/changed` and `D/gone`; on standard error what the differ writes there.
"""

import os
import stat
from collections.abc import Iterator

from adapters.images.extract import respond
from adapters.images.stack import OPAQUE, Stack, is_whiteout
from adapters.tar.reader import LONGEST_NAME, Damaged

_FLUSH = 1 << 16


class Comparer:
    """Compares the tree below the current directory, which is the root of this process, with the layers `below`."""

    def __init__(self, below: Stack, out: int) -> None:
        self._below, self._out = below, out
        self._pending = bytearray()
        self._unsure: list[bytes] = []
        """Directories that look as they did before, and are changed if anything in them is."""

    def run(self) -> None:
        """Names in the order of their bytes."""
        levels = [self._children(b"", changed=True)]
        while levels:
            path = next(levels[-1], None)
            if path is None:
                levels.pop()
                continue
            try:
                status = os.lstat(path)
                if stat.S_ISDIR(status.st_mode):
                    levels.append(self._children(path, changed=self._directory(path, status)))
                else:
                    self._other(path, status)
            except (FileNotFoundError, NotADirectoryError):
                continue  # the container goes on meanwhile
        self._flush()

    def _children(self, path: bytes, *, changed: bool) -> Iterator[bytes]:
        """What the upper directory has; what only lies below one that hides it is told as gone."""
        names = set(map(os.fsencode, os.listdir(path or b".")))
        hidden = self._below.names(path) - names if path and _is_opaque(path) else frozenset[bytes]()
        for name in sorted(names | hidden):
            inner = path + b"/" + name if path else name
            if len(inner) > LONGEST_NAME:
                raise Damaged("its name is too long", inner[:200])
            if name in hidden:
                self._tell(b"D", inner)
            else:
                yield inner
        if not changed and self._unsure and self._unsure[-1] == path:
            self._unsure.pop()

    def _directory(self, path: bytes, status: os.stat_result) -> bool:
        """Whether it is known to be new or changed."""
        found = self._below.find(path)
        if found is None:
            self._tell(b"A", path)
        elif not stat.S_ISDIR(found[1].st_mode) or _differs(status, found[1]):
            self._tell(b"C", path)
        else:
            self._unsure.append(path)
            return False
        return True

    def _other(self, path: bytes, status: os.stat_result) -> None:
        found = self._below.find(path)
        if is_whiteout(status):
            if found is not None:
                self._tell(b"D", path)
        elif found is None:
            self._tell(b"A", path)
        elif _differs(status, found[1]) or status.st_size != found[1].st_size or status.st_rdev != found[1].st_rdev:
            self._tell(b"C", path)

    def _tell(self, kind: bytes, path: bytes) -> None:
        for above in self._unsure:
            self._pending += b"C/" + above + b"\0"
        self._unsure.clear()
        self._pending += kind + b"/" + path + b"\0"
        if len(self._pending) > _FLUSH:
            self._flush()

    def _flush(self) -> None:
        data = memoryview(bytes(self._pending))
        self._pending.clear()
        while data:
            data = data[os.write(self._out, data) :]


def _differs(here: os.stat_result, below: os.stat_result) -> bool:
    """Whether more than a copy was made: the kernel copies what is only opened for writing, or has a new child."""
    told = [(status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns) for status in (here, below)]
    return told[0] != told[1]


def _is_opaque(path: bytes) -> bool:
    try:
        return os.getxattr(path, OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


def main(argv: list[str]) -> int:
    """Run as a program; see the module's docstring."""
    return respond(lambda: _compare(argv[0], argv[1], argv[2:]), to=2)


def _compare(layers: str, upper: str, names: list[str]) -> bytes:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    below = [os.open(f"{layers}/{name}", flags) for name in names]
    os.chroot(upper)
    os.chdir("/")
    Comparer(Stack(below), 1).run()
    return b"ok"
