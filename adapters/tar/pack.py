"""Writes a tree of files as a tar, whoever changes it meanwhile. Standard library only.

Everything is reached from the descriptor of a directory, one component at a time, and nothing is ever followed: who
replaces a directory by a link while it is being read has only taken its content out of the archive.
"""

import os
import stat
from collections.abc import Callable
from errno import EINVAL

from adapters.tar.attributes import kept_attribute
from adapters.tar.reader import BLOCK_DEVICE, CHAR, DIRECTORY, FIFO, FILE, LONGEST_NAME, MOST_HOLES, SYMLINK
from adapters.tar.unchanged import Spared
from adapters.tar.writer import END, Head, Names, encoded, encoded_sparse, padding

FLUSH = 128 * 1024
"""Bytes that are collected before they are handed on."""
_PIECE = 1 << 20
_SPARSE = 1 << 16
"""So many bytes must be holes for a file to be written as one with holes."""
_MOST_UNTOLD = 16 << 20
"""A file of the kernel tells its size only by being read: so much of it is taken."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO that took its place must not keep us
KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHAR,
    stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFIFO: FIFO,
}
"""What a file is, in its mode and in an archive; a socket has no place in one."""


class Unreadable(Exception):
    """`name` cannot be put into the archive, because of `reason`."""

    def __init__(self, name: bytes, reason: str) -> None:
        super().__init__(reason)
        self.name, self.reason = name, reason


class Sink:
    """Where the archive goes: pieces of `FLUSH` bytes or a little more to `put`."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self._pending = bytearray()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Some more of the archive."""
        self._pending += data
        if len(self._pending) >= FLUSH:
            self.flush()

    def copy(self, fd: int, count: int) -> int:
        """`count` bytes of a file from where it stands; returns how many of them were missing."""
        while count and (piece := os.read(fd, min(count, _PIECE))):
            self.write(piece)
            count -= len(piece)
        return count

    def flush(self) -> None:
        """Hand on what was collected."""
        if self._pending:
            data = bytes(self._pending)
            self._pending.clear()
            self.size += len(data)
            self._put(data)


class PipeSink(Sink):
    """The archive goes into a descriptor; large files pass by this process."""

    def __init__(self, out: int) -> None:
        super().__init__(self._all)
        self._out = out

    def copy(self, fd: int, count: int) -> int:
        """See Sink."""
        if count <= FLUSH:
            return super().copy(fd, count)
        self.flush()
        while count and (sent := os.sendfile(self._out, fd, None, min(count, 1 << 30))):
            self.size += sent
            count -= sent
        return count

    def _all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._out, view) :]


class _Level:
    """A directory that is open: its descriptor, its name in the archive, and the names in it that are still to come."""

    __slots__ = ("device", "fd", "head", "name", "names")

    def __init__(self, fd: int, name: bytes, names: list[bytes], device: int, head: Head) -> None:
        self.fd, self.name, self.names, self.device, self.head = fd, name, names, device, head


KEPT, HIDDEN, CLOSED = 0, 1, 2
"""What `Packer` may be told of a name: it belongs in; it does not, but what is in it may; nothing of it does."""


class Packer:
    """Writes trees one after the other; `end` makes the archive whole.

    `enters` is asked with the descriptor of every directory on another device than the one above it. With `fine`, times
    have all their digits. `shrunk` are the first names of files that lost bytes while they were being read. `judge` is
    asked of every name but the first; a directory that it hides is written only when something in it is. Files that are
    `spared` are left out, because they are known.
    """

    def __init__(
        self, sink: Sink, *, enters: Callable[[int], bool] | None = None, fine: bool = False,
        judge: Callable[[bytes], int] | None = None, spared: Spared | None = None,
    ) -> None:
        self._sink, self._enters, self._fine, self._judge, self._spared = sink, enters, fine, judge, spared
        self._hidden: list[Head] = []
        self._names = Names()
        self._noatime = os.O_NOATIME
        self.entries = 0
        self.shrunk: list[bytes] = []

    def add(self, parent: int, leaf: bytes, name: bytes) -> None:
        """What is called `leaf` in the directory `parent`, and all below it, as `name`. What vanishes is left out.

        What is in a directory called `.` is called by its own name alone.

        Raises: FileNotFoundError when there is no such thing at all, Unreadable.
        """
        os.stat(leaf, dir_fd=parent, follow_symlinks=False)
        first = self._one(parent, leaf, name, -1)
        levels = [first] if first is not None else []
        try:
            while levels:
                level = levels[-1]
                if level.names:
                    leaf = level.names.pop()
                    inner = leaf if level.name == b"." else level.name + b"/" + leaf
                    verdict = KEPT if self._judge is None else self._judge(inner)
                    below = None if verdict == CLOSED else self._one(level.fd, leaf, inner, level.device, verdict)
                    if below is not None:
                        levels.append(below)
                else:
                    level = levels.pop()
                    os.close(level.fd)
                    if self._hidden and self._hidden[-1] is level.head:
                        self._hidden.pop()
        finally:
            for level in levels:
                os.close(level.fd)

    def add_file(self, fd: int, name: bytes) -> None:
        """An open file. Raises: Unreadable when it is not a regular one."""
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Unreadable(name, "it is neither a file nor a directory")
        self._file(fd, name)

    def end(self) -> None:
        """The end of the archive."""
        self._sink.write(END)
        if self._spared is not None:
            self._sink.write(self._spared.end())
        self._sink.flush()

    def _one(self, parent: int, leaf: bytes, name: bytes, device: int, verdict: int = KEPT) -> _Level | None:
        if len(name) > LONGEST_NAME:
            raise Unreadable(name[:200], "its name is too long")
        try:
            status = os.stat(leaf, dir_fd=parent, follow_symlinks=False)
            kind = stat.S_IFMT(status.st_mode)
            if kind == stat.S_IFDIR:
                return self._directory(parent, leaf, name, device, verdict)
            if verdict == HIDDEN:
                return None
            if kind == stat.S_IFREG:
                if self._spared is not None and self._spared.spares(name, status):
                    self._reveal()
                    return None
                fd = self._open(parent, leaf)
                try:
                    if stat.S_ISREG(os.fstat(fd).st_mode):
                        self._file(fd, name)
                finally:
                    os.close(fd)
            elif kind in KINDS:
                self._other(parent, leaf, name, status)
        except (FileNotFoundError, NotADirectoryError):
            return None  # gone meanwhile
        except OSError as error:
            if error.errno in _REPLACED:
                return None
            raise Unreadable(name, os.strerror(error.errno or 0)) from error
        return None

    def _open(self, parent: int, leaf: bytes) -> int:
        """Without leaving a mark, which only its owner may ask for."""
        try:
            return os.open(leaf, _FILE | self._noatime, dir_fd=parent)
        except PermissionError:
            return os.open(leaf, _FILE, dir_fd=parent)

    def _directory(self, parent: int, leaf: bytes, name: bytes, device: int, verdict: int) -> _Level:
        fd = os.open(leaf, _DIRECTORY, dir_fd=parent)
        try:
            status = os.fstat(fd)
            head = self._head(name + b"/", status)
            head.xattrs = _xattrs(fd)
            if verdict == HIDDEN:
                self._hidden.append(head)
            else:
                self._write(head)
            foreign = device not in (-1, status.st_dev) and self._enters is not None and not self._enters(fd)
            names = [] if foreign else sorted(map(os.fsencode, os.listdir(fd)), reverse=True)
        except BaseException:
            os.close(fd)
            raise
        return _Level(fd, name, names, status.st_dev, head)

    def _file(self, fd: int, name: bytes) -> None:
        status = os.fstat(fd)
        head = self._head(name, status)
        if self._linked(head, status):
            return
        head.size, head.xattrs = status.st_size, _xattrs(fd)
        pieces = _pieces(fd, status)
        if pieces is not None:
            self._sparse(fd, head, pieces)
        elif status.st_size:
            self._write(head)
            self._data(fd, status.st_size, name)
            self._sink.write(padding(status.st_size))
        else:
            data = _untold(fd)
            head.size = len(data)
            self._write(head)
            self._sink.write(data + padding(len(data)))
        if self._spared is not None:
            self._spared.sent(self.entries, status)

    def _sparse(self, fd: int, head: Head, pieces: list[tuple[int, int]]) -> None:
        name = head.name
        self._reveal()
        self.entries += 1
        self._sink.write(encoded_sparse(head, pieces))
        for offset, length in pieces:
            os.lseek(fd, offset, os.SEEK_SET)
            self._data(fd, length, name)
        self._sink.write(padding(head.size))

    def _data(self, fd: int, count: int, name: bytes) -> None:
        missing = self._sink.copy(fd, count)
        if missing and len(self.shrunk) < 20:
            self.shrunk.append(name)
        while missing:
            zeros = bytes(min(missing, _PIECE))
            self._sink.write(zeros)
            missing -= len(zeros)

    def _other(self, parent: int, leaf: bytes, name: bytes, status: os.stat_result) -> None:
        head = self._head(name, status)
        if head.kind == SYMLINK:
            try:
                head.target = os.readlink(leaf, dir_fd=parent)
            except OSError as error:
                if error.errno == EINVAL:  # it is no link any more
                    return
                raise
        elif head.kind in (CHAR, BLOCK_DEVICE):
            head.major, head.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        if not self._linked(head, status):
            self._write(head)

    def _linked(self, head: Head, status: os.stat_result) -> bool:
        """Every further name of a file is a link to the first one."""
        if not self._names.link(head, status):
            return False
        self._write(head)
        return True

    def _head(self, name: bytes, status: os.stat_result) -> Head:
        seconds, fraction = divmod(status.st_mtime_ns, 10**9)
        head = Head(
            name,
            KINDS[stat.S_IFMT(status.st_mode)],
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            mtime=seconds,
        )
        if self._fine:
            head.fraction = fraction
        return head

    def _write(self, head: Head) -> None:
        if self._hidden:
            self._reveal()
        self.entries += 1
        self._sink.write(encoded(head))

    def _reveal(self) -> None:
        """Write the directories that were hidden, now that something is in them."""
        hidden, self._hidden = self._hidden, []
        for head in hidden:
            self._write(head)


_REPLACED = frozenset((40, 6, 116))  # ELOOP: by a link; ENXIO: by a socket; ESTALE: on a network file system


def _pieces(fd: int, status: os.stat_result) -> list[tuple[int, int]] | None:
    """(offset, length) of the data of a file with holes; None for one that is better written as it is."""
    if status.st_size - status.st_blocks * 512 < _SPARSE:
        return None
    pieces: list[tuple[int, int]] = []
    at = 0
    try:
        while at < status.st_size:
            begin = os.lseek(fd, at, os.SEEK_DATA)
            at = min(os.lseek(fd, begin, os.SEEK_HOLE), status.st_size)
            if at <= begin or len(pieces) == MOST_HOLES:
                break
            pieces.append((begin, at - begin))
    except OSError:
        pass  # ENXIO: nothing but a hole is left
    os.lseek(fd, 0, os.SEEK_SET)
    if len(pieces) == MOST_HOLES or status.st_size - sum(length for _, length in pieces) < _SPARSE:
        return None  # too many holes for a list, or a file system that compresses
    end = sum(pieces[-1]) if pieces else 0
    return pieces if end == status.st_size else [*pieces, (status.st_size, 0)]


def _untold(fd: int) -> bytes:
    """The content of a file that says it is empty: those of the kernel say so and are not."""
    parts, left = [], _MOST_UNTOLD
    try:
        while left and (part := os.read(fd, min(left, _PIECE))):
            parts.append(part)
            left -= len(part)
    except OSError:
        return b""
    return b"".join(parts)


def _xattrs(fd: int) -> list[tuple[bytes, bytes]]:
    """Capabilities and what users set."""
    try:
        keys = os.listxattr(fd)
        return [(os.fsencode(key), os.getxattr(fd, key)) for key in keys if kept_attribute(os.fsencode(key))]
    except OSError:
        return []
