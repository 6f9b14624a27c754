"""The extractor: a small process that turns a tar on its standard input into a layer directory, and sees nothing else.

Its root is changed to the layer directory before the first byte is read, so that no name, link or owner in the archive
can mean anything outside; the layers below are known to it only as descriptors (`adapters.images.stack`). Standard
library only:

    python -I -S -c BOOT PACKAGE-ROOT extract LAYERS-DIR TARGET MAX-BYTES MAX-ENTRIES RESERVE [LAYER…]

Layers are named below LAYERS-DIR, uppermost first. The answer on standard output is a list of NUL-separated fields:

    ok NUL SIZE NUL ENTRIES [NUL WARNING]…
    unusable NUL REASON NUL NAME        the archive is to blame
    failed NUL REASON NUL NAME          the disk is
"""

import errno
import gc
import os
import resource
import stat
from collections.abc import Callable, Iterable
from struct import Struct

from adapters.images.stack import OPAQUE, Stack, is_whiteout
from adapters.images.tar_reader import (
    BLOCK_DEVICE,
    CHAR,
    DIRECTORY,
    FIFO,
    FILE,
    LINK,
    LONGEST_NAME,
    SYMLINK,
    Damaged,
    Entry,
    Reader,
    Source,
)

MARK = b".wh."
OPAQUE_MARK = b".wh..wh..opq"
_META_MARK = b".wh..wh."
_HIGHEST_ID = (1 << 32) - 2  # -1 means "leave it" to chown(2)
_EARLIEST, _LATEST = -(1 << 31) * 10**9, ((1 << 34) - 1) * 10**9
_CHECK_EVERY = 16 << 20
_MOST_LINKS = 40
_MOST_WARNINGS = 20
_MEMORY = 1 << 30
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TIME = Struct("=qH")
_HOLE = bytes(1 << 20)
_SMALL = 1 << 16
_OF_THE_DISK = frozenset(
    (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.EROFS,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.EUCLEAN,
        errno.ESTALE,
        errno.ENODEV,
    )
)


class Unusable(Damaged):
    """An entry that cannot be meant."""


class Limits:
    """How much one layer may bring: bytes, entries, and the bytes of the disk that must stay free."""

    __slots__ = ("bytes", "entries", "reserve")

    def __init__(self, bytes: int, entries: int, reserve: int) -> None:
        self.bytes, self.entries, self.reserve = bytes, entries, reserve


class Extractor:
    """Applies entries below the current directory, which is the root of this process."""

    def __init__(self, below: Stack | None, limits: Limits, times: int) -> None:
        self._below, self._limits, self._times_fd = below, limits, times
        self._real: dict[bytes, bytes] = {}
        self._as_written: dict[bytes, bytes] = {}
        self._forget()
        self._times = bytearray()
        self._root_seen = False
        # A file made in a set-group-ID directory gets its group: from then on owners are always set.
        self._always_chown = False
        self._unchecked = 0
        self.size = self.entries = 0
        self.warnings: dict[bytes, None] = {}
        self._kinds: dict[bytes, Callable[[Entry, bytes, Reader], None]] = {
            FILE: self._file,
            DIRECTORY: self._directory,
            SYMLINK: self._symlink,
            LINK: self._link,
            CHAR: self._device,
            BLOCK_DEVICE: self._device,
            FIFO: self._device,
        }

    def apply(self, entry: Entry, reader: Reader) -> None:
        """Put one entry where it belongs. Raises: Unusable, Damaged, OSError."""
        self._count(entry)
        above, _, name = entry.name.rstrip(b"/").rpartition(b"/")
        plain = _plain(name)
        parent = self._as_written.get(above) if plain else None
        if parent is None:
            parts = clean(entry.name)
            if not parts:
                self._root(entry)
                return
            marked = [part for part in parts if part.startswith(MARK)]
            if marked:
                self.size -= entry.size  # what is in a marker does not matter
                self._mark(parts, marked)
                return
            name = parts[-1]
        kind = self._kinds.get(entry.kind)
        if kind is None:
            return
        if not (0 <= entry.uid <= _HIGHEST_ID and 0 <= entry.gid <= _HIGHEST_ID):
            raise Unusable(f"its owner {entry.uid}:{entry.gid} is out of range")
        if parent is None:
            parent = self._parent(parts[:-1])
            if plain:
                self._as_written[above] = parent
        kind(entry, parent + b"/" + name if parent else name, reader)

    def finish(self) -> None:
        """Set what creating files has spoiled: the times of directories. Later records of one directory win."""
        if not self._root_seen:
            self._inherit(b"")
        self._spill()
        os.lseek(self._times_fd, 0, os.SEEK_SET)
        with os.fdopen(os.dup(self._times_fd), "rb") as records:
            while head := records.read(_TIME.size):
                time, length = _TIME.unpack(head)
                _set_directory_time(records.read(length) or b".", time)

    def _count(self, entry: Entry) -> None:
        self.entries += 1
        self.size += entry.size
        if self.entries > self._limits.entries:
            raise Unusable(f"the layer has more than {self._limits.entries} entries")
        if self.size > self._limits.bytes:
            raise Unusable(f"the layer unpacks to more than {self._limits.bytes} bytes")

    def _check_space(self) -> None:
        self._unchecked = 0
        disk = os.statvfs(".")
        if disk.f_bavail * disk.f_frsize < self._limits.reserve:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # Directories, also those that the archive only implies

    def _parent(self, parts: list[bytes]) -> bytes:
        """The real directory that the components lead to in this layer; links in it are resolved inside the layer."""
        key = b"/".join(parts)
        real = self._real.get(key)
        if real is None:
            above = self._real.get(b"/".join(parts[:-1]))
            real = self._resolve(parts) if above is None else self._resolve(parts[-1:], above)
            if len(self._real) > 50_000:
                self._forget()
            self._real[key] = real
        return real

    def _forget(self) -> None:
        """What directories are called is remembered by their clean names, and by the names in the archive."""
        self._real = {b"": b""}
        self._as_written = {}

    def _resolve(self, parts: list[bytes], real: bytes = b"") -> bytes:
        todo, links = parts[::-1], 0
        while todo:
            part = todo.pop()
            if part == b"..":
                real = real.rpartition(b"/")[0]
                continue
            path = real + b"/" + part if real else part
            status = _lstat(path)
            if status is not None and stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MOST_LINKS:
                    raise Unusable("too many links lead to it")
                target = os.readlink(path)
                real = b"" if target.startswith(b"/") else real
                todo += [piece for piece in reversed(target.split(b"/")) if piece not in (b"", b".")]
                if len(todo) > LONGEST_NAME:
                    raise Unusable("too many links lead to it")
                continue
            if status is None or not stat.S_ISDIR(status.st_mode):
                self._imply(path, status)
            real = path
        return real

    def _imply(self, path: bytes, status: os.stat_result | None) -> None:
        """Make a directory that has no entry of its own, as it is in the layers below."""
        if len(path) > LONGEST_NAME:
            raise Unusable("its name is too long")
        if status is None:
            os.mkdir(path, 0o755)
            self._inherit(path)
        elif is_whiteout(status):
            os.unlink(path)
            self._fresh(path, 0o755)
            self._own(path, 0, 0, 0o755)
            self._note_time(path, 0)
        else:
            raise Unusable("it lies below something that is not a directory")

    def _inherit(self, path: bytes) -> None:
        """Docker makes 0755 0:0 of a 0700 5:6 directory and of a 1777 /tmp here; the image says otherwise."""
        found = self._below.directory(path) if self._below else None
        if found is None:
            if not path:
                os.chmod(b".", 0o755)
            else:
                self._own(path, 0, 0, 0o755)
            self._note_time(path, 0)
            return
        layer, status = found
        fd = os.open(path or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=layer)
        try:
            xattrs = tuple((os.fsencode(key), os.getxattr(fd, key)) for key in os.listxattr(fd))
        finally:
            os.close(fd)
        self._own(path or b".", status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))
        self._set_xattrs(path or b".", xattrs, is_file=False)
        self._note_time(path, status.st_mtime_ns)

    def _own(self, path: bytes, uid: int, gid: int, mode: int) -> None:
        """A new directory's owner, then its mode: chown(2) takes bits away."""
        if uid or gid or self._always_chown:
            os.chown(path, uid, gid, follow_symlinks=False)
        if mode & stat.S_ISGID:
            self._always_chown = True
        os.chmod(path, mode)

    def _fresh(self, path: bytes, mode: int) -> None:
        """A directory that took the place of a removed one: nothing of the layers below shines through."""
        os.mkdir(path, mode)
        os.setxattr(path, OPAQUE, b"y", follow_symlinks=False)

    def _root(self, entry: Entry) -> None:
        if entry.kind != DIRECTORY:
            raise Unusable("it would replace the root directory")
        self._root_seen = True
        self._own(b".", entry.uid, entry.gid, entry.mode)
        self._set_xattrs(b".", entry.xattrs, is_file=False)
        self._note_time(b"", entry.mtime)

    def _directory(self, entry: Entry, path: bytes, reader: Reader) -> None:
        try:
            os.mkdir(path, entry.mode)
        except FileExistsError:
            self._merge(path, entry.mode)
        uid, gid, mode = entry.uid, entry.gid, entry.mode
        if uid or gid or mode & 0o6000 or self._always_chown:
            self._own(path, uid, gid, mode)
        if entry.xattrs:
            self._set_xattrs(path, entry.xattrs, is_file=False)
        self._note_time(path, entry.mtime)

    def _merge(self, path: bytes, mode: int) -> None:
        """A directory over a directory keeps what is in it; anything else goes first."""
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode):
            os.chown(path, 0, 0)
            os.chmod(path, mode)
        elif is_whiteout(status):
            os.unlink(path)
            self._fresh(path, mode)
        else:
            self._remove(path)
            os.mkdir(path, mode)

    def _note_time(self, path: bytes, time: int) -> None:
        self._times += _TIME.pack(min(max(time, _EARLIEST), _LATEST), len(path)) + path
        if len(self._times) > len(_HOLE):
            self._spill()

    def _spill(self) -> None:
        """Two million directories must not fill the memory."""
        _write(self._times_fd, memoryview(bytes(self._times)))
        self._times.clear()

    # Everything that is not a directory

    def _file(self, entry: Entry, path: bytes, reader: Reader) -> None:
        mode = entry.mode
        try:
            fd = os.open(path, _NEW_FILE, mode)
        except FileExistsError:
            self._remove(path)
            fd = os.open(path, _NEW_FILE, mode)
        try:
            if entry.sparse is None and entry.stored <= _SMALL and (data := reader.small()) is not None:
                _write(fd, data)
            elif entry.stored or entry.sparse is not None:
                self._fill(fd, entry, reader)
            if entry.uid or entry.gid or self._always_chown:
                os.fchown(fd, entry.uid, entry.gid)
                if mode & 0o6000:
                    os.fchmod(fd, mode)
            elif mode & 0o6000:
                os.fchmod(fd, mode)
            if entry.xattrs:
                self._set_xattrs(fd, entry.xattrs, is_file=True)
            time = min(max(entry.mtime, _EARLIEST), _LATEST)
            os.utime(fd, ns=(time, time))
        finally:
            os.close(fd)

    def _fill(self, fd: int, entry: Entry, reader: Reader) -> None:
        if entry.sparse is None:
            offset = 0
            for piece in reader.data():
                offset += self._put(fd, piece, offset)
        else:
            runs = iter(entry.sparse)
            offset, left = next(runs, (0, 0))
            for piece in reader.data():
                while piece:
                    if not left:
                        offset, left = next(runs)
                    part, piece = piece[:left], piece[left:]
                    offset += self._put(fd, part, offset)
                    left -= len(part)
        if entry.sparse is not None or entry.size >= len(_HOLE):
            os.ftruncate(fd, entry.size)

    def _put(self, fd: int, piece: memoryview, offset: int) -> int:
        """Long runs of zeros become holes: a bomb of them costs nothing."""
        count = len(piece)
        if count >= 1 << 16:
            if piece == _HOLE[:count]:
                return count
            self._unchecked += count
            if self._unchecked >= _CHECK_EVERY:
                self._check_space()
        if os.lseek(fd, 0, os.SEEK_CUR) != offset:
            os.lseek(fd, offset, os.SEEK_SET)
        _write(fd, piece)
        return count

    def _symlink(self, entry: Entry, path: bytes, reader: Reader) -> None:
        if not entry.target or b"\0" in entry.target or len(entry.target) > LONGEST_NAME:
            raise Unusable("its link target is empty or too long")
        self._make(path, lambda: os.symlink(entry.target, path))
        self._finish_node(entry, path)

    def _device(self, entry: Entry, path: bytes, reader: Reader) -> None:
        if entry.kind == CHAR and entry.major == entry.minor == 0:
            self._whiteout(path)
            return
        kinds = {CHAR: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}
        if not (0 <= entry.major < 1 << 12 and 0 <= entry.minor < 1 << 20):
            raise Unusable(f"its device number {entry.major}:{entry.minor} is out of range")
        device = os.makedev(entry.major, entry.minor)
        self._make(path, lambda: os.mknod(path, kinds[entry.kind] | entry.mode & 0o777, device))
        self._finish_node(entry, path)
        if entry.mode & 0o7000 or entry.uid or entry.gid:
            os.chmod(path, entry.mode)
        self._set_time(path, entry.mtime)

    def _finish_node(self, entry: Entry, path: bytes) -> None:
        if entry.uid or entry.gid or self._always_chown:
            os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        self._set_time(path, entry.mtime)

    def _set_time(self, path: bytes, time: int) -> None:
        time = min(max(time, _EARLIEST), _LATEST)
        os.utime(path, ns=(time, time), follow_symlinks=False)

    def _make(self, path: bytes, make: Callable[[], None]) -> None:
        try:
            make()
        except FileExistsError:
            self._remove(path)
            make()

    def _link(self, entry: Entry, path: bytes, reader: Reader) -> None:
        parts = clean(entry.target)
        if not parts:
            raise Unusable("it is a hard link to nothing")
        parent = self._real.get(b"/".join(parts[:-1]))
        target = parent + b"/" + parts[-1] if parent else b"/".join(parts)
        if target == path:
            if _lstat(path) is None:
                raise Unusable("it is a hard link to itself")
            return
        status = _lstat(target)
        if status is None or is_whiteout(status):
            target = self._copy_up(parts)
        elif stat.S_ISDIR(status.st_mode):
            raise Unusable("it is a hard link to a directory")
        self._make(path, lambda: _hard_link(target, path))

    def _copy_up(self, parts: list[bytes]) -> bytes:
        """The target of a hard link that only a layer below has: brought here first, so that both are one file."""
        found = self._below.find(b"/".join(parts)) if self._below else None
        if found is None:
            raise Unusable("it is a hard link to something that is not in the image")
        layer, status = found
        if stat.S_ISDIR(status.st_mode):
            raise Unusable("it is a hard link to a directory")
        entry = Entry()
        entry.uid, entry.gid, entry.mode = status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)
        entry.mtime = status.st_mtime_ns
        parent = self._parent(parts[:-1])
        path = parent + b"/" + parts[-1] if parent else parts[-1]
        below = b"/".join(parts)
        if stat.S_ISREG(status.st_mode):
            self._copy_file(below, layer, entry, path)
        elif stat.S_ISLNK(status.st_mode):
            entry.target = os.readlink(below, dir_fd=layer)
            self._make(path, lambda: os.symlink(entry.target, path))
            self._finish_node(entry, path)
        else:
            self._make(path, lambda: os.mknod(path, status.st_mode, status.st_rdev))
            self._finish_node(entry, path)
        return path

    def _copy_file(self, below: bytes, layer: int, entry: Entry, path: bytes) -> None:
        source = os.open(below, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=layer)
        try:
            entry.size = os.fstat(source).st_size
            entry.xattrs = tuple((os.fsencode(key), os.getxattr(source, key)) for key in os.listxattr(source))
            self.size += entry.size
            self._check_space()
            if self.size > self._limits.bytes:
                raise Unusable(f"the layer unpacks to more than {self._limits.bytes} bytes")
            self._file(entry, path, _NO_DATA)
            fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                while os.sendfile(fd, source, None, 1 << 24):
                    pass
                # Writing has taken set-user-ID and capabilities away.
                os.fchmod(fd, entry.mode)
                self._set_xattrs(fd, entry.xattrs, is_file=True)
                os.utime(fd, ns=(entry.mtime, entry.mtime))
            finally:
                os.close(fd)
        finally:
            os.close(source)

    # Marks for what is removed

    def _mark(self, parts: list[bytes], marked: list[bytes]) -> None:
        name = parts[-1]
        if len(marked) > 1 or marked[0] is not name:
            return  # something inside a marker: only its name counts
        if name == OPAQUE_MARK:
            if self._below:
                os.setxattr(self._parent(parts[:-1]) or b".", OPAQUE, b"y", follow_symlinks=False)
            return
        if name.startswith(_META_MARK):
            return
        removed = name[len(MARK) :]
        if removed in (b"", b".", b".."):
            raise Unusable("it is a whiteout of nothing")
        if self._below:
            parent = self._parent(parts[:-1])
            self._whiteout(parent + b"/" + removed if parent else removed)

    def _whiteout(self, path: bytes) -> None:
        """A file of this layer beats the mark, whichever came first; a directory hides what was below it."""
        if not self._below:
            return
        try:
            os.mknod(path, stat.S_IFCHR, 0)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(path).st_mode):
                os.setxattr(path, OPAQUE, b"y", follow_symlinks=False)

    # Common ground

    def _set_xattrs(self, where: int | bytes, xattrs: Iterable[tuple[bytes, bytes]], *, is_file: bool) -> None:
        for key, value in xattrs:
            if not _wanted(key, is_file):
                continue
            try:
                os.setxattr(where, key, value)
            except OSError as error:
                self._warn(b"extended attribute " + key[:100] + b" not set: " + os.strerror(error.errno or 0).encode())

    def _warn(self, text: bytes) -> None:
        if len(self.warnings) < _MOST_WARNINGS:
            self.warnings[text.replace(b"\0", b"?")] = None

    def _remove(self, path: bytes) -> None:
        """Whatever has the name, without following it."""
        if stat.S_ISDIR(os.lstat(path).st_mode):
            remove_tree(path)
        else:
            os.unlink(path)
        self._forget()


def clean(name: bytes) -> list[bytes]:
    """The components of a name, `..` stopping at the root. Raises: Unusable."""
    if len(name) > LONGEST_NAME:
        raise Unusable("its name is too long")
    if b"\0" in name:
        raise Unusable("its name holds a NUL byte")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            parts[-1:] = []
        elif part and part != b".":
            parts.append(part)
            if len(part) > 255:
                raise Unusable("a part of its name is longer than 255 bytes")
    return parts


def remove_tree(path: bytes) -> None:
    """Delete a directory and all in it, however deep, without following anything."""
    todo = [path]
    while todo:
        with os.scandir(todo[-1]) as entries:
            inner = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_directory in inner:
            if not is_directory:
                os.unlink(name)
        directories = [name for name, is_directory in inner if is_directory]
        if directories:
            todo += directories
        else:
            os.rmdir(todo.pop())


def _plain(name: bytes) -> bool:
    """Whether a last component means just itself."""
    return 0 < len(name) <= 255 and not name.startswith(MARK) and name not in (b".", b"..") and b"\0" not in name


def _wanted(key: bytes, is_file: bool) -> bool:
    """Capabilities and what users set; never what steers overlayfs, nor other systems' labels."""
    if key == b"security.capability":
        return is_file
    return key.startswith(b"user.") and b".overlay." not in key


def _hard_link(target: bytes, path: bytes) -> None:
    os.link(target, path, follow_symlinks=False)


def _lstat(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _set_directory_time(path: bytes, time: int) -> None:
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            os.utime(path, ns=(time, time), follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        pass  # it was replaced by a later entry


def _write(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


_NO_DATA = Reader(Source(-1))


def main(argv: list[str]) -> int:
    """Run as a program; see the module's docstring."""
    layers, target, most_bytes, most_entries, reserve, *names = argv
    limits = Limits(int(most_bytes), int(most_entries), int(reserve))
    return respond(lambda: _extract(layers, target, limits, names))


def respond(work: Callable[[], bytes], to: int = 1) -> int:
    """Do the work of a small process and say on a descriptor how it went."""
    try:
        result = work()
    except Damaged as error:
        result = b"\0".join((b"unusable", error.reason.encode(), error.name.replace(b"\0", b"?")))
    except OSError as error:
        result = b"\0".join((b"failed", os.strerror(error.errno or errno.EIO).encode(), b""))
    except MemoryError:
        result = b"\0".join((b"failed", os.strerror(errno.ENOMEM).encode(), b""))
    _write(to, memoryview(result))
    return 0


def _extract(layers: str, target: str, limits: Limits, names: list[str]) -> bytes:
    gc.disable()  # nothing here is circular
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    below = open_layers(layers, names)
    times = _unnamed_file(target + ".times")
    os.umask(0)
    os.chroot(target)
    os.chdir("/")
    extractor = Extractor(Stack(below) if below else None, limits, times)
    source = Source(0)
    reader = Reader(source)
    for entry in reader:
        try:
            extractor.apply(entry, reader)
        except Damaged as error:
            raise Damaged(error.reason, error.name or entry.name) from error
        except OSError as error:
            if error.errno in _OF_THE_DISK:
                raise
            raise Damaged(os.strerror(error.errno or 0), entry.name) from error
    source.drain()
    extractor.finish()
    return b"\0".join((b"ok", b"%d" % extractor.size, b"%d" % extractor.entries, *extractor.warnings))


def open_layers(layers: str, names: list[str]) -> list[int]:
    """Descriptors of the layers' files, to be used after the root was changed."""
    if len(names) > 200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    root = os.open(layers, flags)
    return [os.open(name + "/fs", flags, dir_fd=root) for name in names]


def _unnamed_file(path: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return fd
