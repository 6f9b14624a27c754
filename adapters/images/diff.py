"""The differ: a small process that writes what a container has changed as a layer, and sees only its upper directory.

Its root is changed to that directory first, so a container that swaps directories for links meanwhile only spoils its
own image. Standard library only:

    python -I -S -c BOOT PACKAGE-ROOT diff LAYERS-DIR UPPER NEWEST [LAYER…]

The tar goes to standard output. Times are cut to whole seconds and not later than NEWEST (empty: as they are). The
layers below, uppermost first, tell which removals mean anything. The answer is on standard error: `ok NUL ENTRIES [NUL
SHRUNK]…`, or as the extractor's (`adapters.images.extract`).
"""

import os
import stat

from adapters.images.extract import open_layers, respond
from adapters.images.names import MARK, OPAQUE_MARK
from adapters.images.stack import OPAQUE, Stack, is_whiteout
from adapters.tar.attributes import kept_attribute
from adapters.tar.pack import KINDS
from adapters.tar.reader import BLOCK_DEVICE, CHAR, FILE, LONGEST_NAME, SYMLINK, Damaged
from adapters.tar.writer import END, Head, Names, encoded, padding

_PIECE = 1 << 20
_FLUSH = 1 << 18
_STEERING = frozenset((b"trusted.overlay.redirect", b"trusted.overlay.metacopy"))


class Differ:
    """Writes the tree below the current directory, which is the root of this process, to a descriptor."""

    def __init__(self, below: Stack | None, out: int, newest: int | None) -> None:
        self._below, self._out, self._newest = below, out, newest
        self._pending = bytearray()
        self._names = Names()
        self.entries = 0
        self.shrunk: list[bytes] = []

    def run(self) -> None:
        """Parents first, names in the order of their bytes."""
        self._root()
        todo = self._children(b"")
        while todo:
            path = todo.pop()
            try:
                status = os.lstat(path)
                self._entry(path, status)
                if stat.S_ISDIR(status.st_mode):
                    todo += self._children(path)
            except (FileNotFoundError, NotADirectoryError):
                continue  # a container that was not paused has removed it
        self._emit(END)
        self._flush()

    def _children(self, path: bytes) -> list[bytes]:
        names = sorted(os.listdir(path or b"."), reverse=True)
        found = [path + b"/" + name if path else name for name in names]
        for name, inner in zip(names, found, strict=True):
            if name.startswith(MARK):
                raise Damaged("a layer cannot hold a name that begins with .wh.", inner)
            if len(inner) > LONGEST_NAME:
                raise Damaged("its name is too long", inner[:200])
        return found

    def _root(self) -> None:
        """The root directory is in the layer only if its owner or mode differ from what is below."""
        found = self._below.directory(b"") if self._below else None
        if found is None:
            return
        here, below = os.stat("."), found[1]
        if (here.st_mode, here.st_uid, here.st_gid) != (below.st_mode, below.st_uid, below.st_gid):
            self._write(self._head(b"./", here))

    def _entry(self, path: bytes, status: os.stat_result) -> None:
        if is_whiteout(status):
            if self._below and self._below.find(path):
                parent, slash, name = path.rpartition(b"/")
                self._write(Head(parent + slash + MARK + name, FILE, mode=0o600))
        elif stat.S_ISDIR(status.st_mode):
            self._directory(path, status)
        elif stat.S_ISREG(status.st_mode):
            self._file(path)
        elif stat.S_IFMT(status.st_mode) in KINDS:
            self._other(path, status)

    def _directory(self, path: bytes, status: os.stat_result) -> None:
        head = self._head(path + b"/", status)
        keys = [os.fsencode(key) for key in os.listxattr(path, follow_symlinks=False)]
        head.xattrs = _kept(path, keys)
        self._write(head)
        opaque = os.fsencode(OPAQUE) in keys and os.getxattr(path, OPAQUE, follow_symlinks=False) == b"y"
        # The kernel marks every new directory in a merged one; only where something is hidden it says anything.
        if opaque and self._below and self._below.directory(path):
            self._write(Head(path + b"/" + OPAQUE_MARK, FILE, mode=0o600))

    def _file(self, path: bytes) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOATIME | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise Damaged("it was replaced while it was being read", path)
            head = self._head(path, status)
            if not self._linked(head, status):
                head.size = status.st_size
                head.xattrs = _kept(fd, [os.fsencode(key) for key in os.listxattr(fd)], path)
                self._write(head)
                self._data(fd, status.st_size, path)
        finally:
            os.close(fd)

    def _other(self, path: bytes, status: os.stat_result) -> None:
        head = self._head(path, status)
        if not self._linked(head, status):
            if head.kind == SYMLINK:
                head.target = os.readlink(path)
            elif head.kind in (CHAR, BLOCK_DEVICE):
                head.major, head.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
            self._write(head)

    def _linked(self, head: Head, status: os.stat_result) -> bool:
        """Every further name of a file is a link to the first one."""
        if not self._names.link(head, status):
            return False
        self._write(head)
        return True

    def _head(self, name: bytes, status: os.stat_result) -> Head:
        seconds = status.st_mtime_ns // 10**9
        return Head(
            name,
            KINDS[stat.S_IFMT(status.st_mode)],
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            mtime=seconds if self._newest is None else min(seconds, self._newest),
        )

    def _data(self, fd: int, size: int, path: bytes) -> None:
        left = size
        if size > _FLUSH:
            self._flush()
            while left and (sent := os.sendfile(self._out, fd, None, min(left, 1 << 30))):
                left -= sent
        else:
            while left and (piece := os.read(fd, left)):
                self._pending += piece
                left -= len(piece)
        if left:
            self.shrunk.append(path)
            for start in range(0, left, _PIECE):
                self._emit(bytes(min(_PIECE, left - start)))
        self._emit(padding(size))

    def _write(self, head: Head) -> None:
        self.entries += 1
        self._emit(encoded(head))

    def _emit(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) > _FLUSH:
            self._flush()

    def _flush(self) -> None:
        data = memoryview(bytes(self._pending))
        self._pending.clear()
        while data:
            data = data[os.write(self._out, data) :]


def _kept(where: int | bytes, keys: list[bytes], path: bytes = b"") -> list[tuple[bytes, bytes]]:
    """Capabilities and what users set. Raises: Damaged when overlayfs has put more than content into the directory."""
    if not keys:
        return []
    if not _STEERING.isdisjoint(keys):
        raise Damaged(
            "the writable layer is not a plain difference (redirect_dir or metacopy was on)",
            path or (where if isinstance(where, bytes) else b""),
        )
    return [(key, os.getxattr(where, key)) for key in keys if kept_attribute(key)]


def main(argv: list[str]) -> int:
    """Run as a program; see the module's docstring."""
    return respond(lambda: _diff(argv[0], argv[1], argv[2], argv[3:]), to=2)


def _diff(layers: str, upper: str, newest: str, names: list[str]) -> bytes:
    below = open_layers(layers, names)
    os.chroot(upper)
    os.chdir("/")
    differ = Differ(Stack(below) if below else None, 1, int(newest) if newest else None)
    differ.run()
    return b"\0".join((b"ok", b"%d" % differ.entries, *differ.shrunk[:20]))
