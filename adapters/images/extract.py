"""The extractor: a small process that turns a tar on its standard input into a layer directory, and sees nothing else.

Its root is changed to the layer directory before the first byte is read, so that no name, link or owner in the archive
can mean anything outside; the layers below are known to it only as descriptors (`adapters.images.stack`). They may
still be on their way: it waits for them when it needs them. Standard library only:

    python -I -S -c BOOT PACKAGE-ROOT extract LAYERS-DIR TARGET GATE MAX-BYTES MAX-ENTRIES RESERVE ALONE [LAYER…]

Layers are named below LAYERS-DIR, uppermost first; GATE is a descriptor that gives a byte when they are there. After
ALONE small files a second process helps (`adapters.images.helper`; 0: none does). The answer on standard output is a
list of NUL-separated fields:

    ok NUL SIZE NUL ENTRIES [NUL WARNING]…
    unusable NUL REASON NUL NAME        the archive is to blame
    failed NUL REASON NUL NAME          the disk is
"""

import errno
import gc
import os
import resource
import stat

from adapters.images.attributes import Attributes, set_time, xattrs_of
from adapters.images.directories import Directories, lstat, remove_tree
from adapters.images.helper import NEW_FILE, OF_THE_DISK, SMALL, Helper, write
from adapters.images.names import MARK, META_MARK, OPAQUE_MARK, Unusable, clean, is_plain
from adapters.images.stack import LAYER_FLAGS, Below, is_whiteout, opened
from adapters.tar.reader import (
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

TYPE_CHECKING = False  # the module `typing` costs more than this one
if TYPE_CHECKING:
    from collections.abc import Callable

_HIGHEST_ID = (1 << 32) - 2  # -1 means "leave it" to chown(2)
_CHECK_EVERY = 16 << 20
_MEMORY = 1 << 30
_HOLE = bytes(1 << 20)


class Limits:
    """How much one layer may bring: bytes, entries, and the bytes of the disk that must stay free."""

    __slots__ = ("bytes", "entries", "reserve")

    def __init__(self, bytes: int, entries: int, reserve: int) -> None:
        self.bytes, self.entries, self.reserve = bytes, entries, reserve


class Extractor:
    """Applies entries below the current directory, which is the root of this process."""

    def __init__(self, below: Below, limits: Limits, times: int, helper: "Helper | None" = None) -> None:
        self._below, self._limits = below, limits
        self._attributes = Attributes()
        self._helper = helper
        self._directories = Directories(below, self._attributes, times, self._wait_for)
        self._unchecked = 0
        self.size = self.entries = 0
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
        plain = is_plain(name)
        parent = self._directories.quick(above) if plain else None
        if parent is None:
            parts = clean(entry.name)
            marked = [part for part in parts if part.startswith(MARK)]
            if marked:
                self.size -= entry.size  # what is in a marker does not matter
                self._mark(parts, marked)
                return
            parent, name = b"", parts[-1] if parts else b""
            if parts and entry.kind in self._kinds:
                parent = self._directories.at(parts[:-1])
                if plain:
                    self._directories.remember(above, parent)
        kind = self._kinds.get(entry.kind)
        if kind is None:
            return
        if not (0 <= entry.uid <= _HIGHEST_ID and 0 <= entry.gid <= _HIGHEST_ID):
            raise Unusable(f"its owner {entry.uid}:{entry.gid} is out of range")
        if not name:
            self._directories.root(entry)
        else:
            kind(entry, parent + b"/" + name if parent else name, reader)

    def finish(self) -> tuple[bytes, ...]:
        """Do what can only be done at the end; gives back warnings."""
        if self._helper is not None:
            self._helper.close()
        self._directories.finish()
        return tuple(self._attributes.warnings)

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

    def _directory(self, entry: Entry, path: bytes, reader: Reader) -> None:
        if not self._directories.make(entry, path):
            self._remove(path)
            self._directories.make(entry, path)

    def _wait_for(self, path: bytes) -> None:
        """Before anyone looks for the name: it may be on its way."""
        if self._helper is not None:
            self._helper.wait_for(path)

    def _settle(self) -> None:
        if self._helper is not None:
            self._helper.settle()

    def _file(self, entry: Entry, path: bytes, reader: Reader) -> None:
        if self._helper is not None and self._handed_over(self._helper, entry, path, reader):
            return
        self._make_file(entry, path, reader)

    def _make_file(self, entry: Entry, path: bytes, reader: Reader) -> None:
        mode = entry.mode
        try:
            fd = os.open(path, NEW_FILE, mode)
        except FileExistsError:
            self._remove(path)
            fd = os.open(path, NEW_FILE, mode)
        try:
            if entry.sparse is None and entry.stored <= SMALL and (data := reader.small()) is not None:
                write(fd, data)
            elif entry.stored or entry.sparse is not None:
                self._fill(fd, entry, reader)
            self._attributes.own_file(fd, entry.uid, entry.gid, mode)
            if entry.xattrs:
                self._attributes.set_xattrs(fd, entry.xattrs, is_file=True)
            set_time(fd, entry.mtime)
        finally:
            os.close(fd)

    def _handed_over(self, helper: Helper, entry: Entry, path: bytes, reader: Reader) -> bool:
        """Whether another process makes the file: what replaces something is made here, in its turn."""
        helper.wait_for(path)
        if entry.stored > SMALL:
            helper.send()
            return False
        if entry.sparse is not None or entry.xattrs or not helper.has_time():
            return False
        if os.access(path, os.F_OK, follow_symlinks=False) or (data := reader.small()) is None:
            return False
        helper.give(path, entry, data)
        return True

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
        write(fd, piece)
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
        set_time(path, entry.mtime)

    def _finish_node(self, entry: Entry, path: bytes) -> None:
        self._attributes.own_other(path, entry.uid, entry.gid)
        set_time(path, entry.mtime)

    def _make(self, path: bytes, make: "Callable[[], None]") -> None:
        self._wait_for(path)
        try:
            make()
        except FileExistsError:
            self._remove(path)
            make()

    def _link(self, entry: Entry, path: bytes, reader: Reader) -> None:
        parts = clean(entry.target)
        if not parts:
            raise Unusable("it is a hard link to nothing")
        self._settle()  # not only the target: other names may lead to it
        parent = self._directories.known(parts[:-1])
        target = parent + b"/" + parts[-1] if parent else b"/".join(parts)
        if target == path:
            if lstat(path) is None:
                raise Unusable("it is a hard link to itself")
            return
        status = lstat(target)
        if status is None or is_whiteout(status):
            target = self._copy_up(parts)
        elif stat.S_ISDIR(status.st_mode):
            raise Unusable("it is a hard link to a directory")
        self._make(path, lambda: _hard_link(target, path))

    def _copy_up(self, parts: list[bytes]) -> bytes:
        """The target of a hard link that only a layer below has: brought here first, so that both are one file."""
        stack = self._below.stack()
        found = stack.find(b"/".join(parts)) if stack else None
        if found is None:
            raise Unusable("it is a hard link to something that is not in the image")
        layer, status = found
        if stat.S_ISDIR(status.st_mode):
            raise Unusable("it is a hard link to a directory")
        entry = Entry()
        entry.uid, entry.gid, entry.mode = status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)
        entry.mtime = status.st_mtime_ns
        parent = self._directories.at(parts[:-1])
        path = parent + b"/" + parts[-1] if parent else parts[-1]
        self._wait_for(path)
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
            entry.xattrs = xattrs_of(source)
            self.size += entry.size
            self._check_space()
            if self.size > self._limits.bytes:
                raise Unusable(f"the layer unpacks to more than {self._limits.bytes} bytes")
            self._make_file(entry, path, _NO_DATA)
            fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                while os.sendfile(fd, source, None, 1 << 24):
                    pass
                # Writing has taken set-user-ID and capabilities away.
                os.fchmod(fd, entry.mode)
                self._attributes.set_xattrs(fd, entry.xattrs, is_file=True)
                set_time(fd, entry.mtime)
            finally:
                os.close(fd)
        finally:
            os.close(source)

    def _mark(self, parts: list[bytes], marked: list[bytes]) -> None:
        name = parts[-1]
        if len(marked) > 1 or marked[0] is not name:
            return  # something inside a marker: only its name counts
        if name == OPAQUE_MARK:
            if self._below:
                self._directories.hide_below(self._directories.at(parts[:-1]))
            return
        if name.startswith(META_MARK):
            return
        removed = name[len(MARK) :]
        if removed in (b"", b".", b".."):
            raise Unusable("it is a whiteout of nothing")
        if self._below:
            parent = self._directories.at(parts[:-1])
            self._whiteout(parent + b"/" + removed if parent else removed)

    def _whiteout(self, path: bytes) -> None:
        """A file of this layer beats the mark, whichever came first; a directory hides what was below it."""
        if not self._below:
            return
        self._wait_for(path)
        try:
            os.mknod(path, stat.S_IFCHR, 0)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(path).st_mode):
                self._directories.hide_below(path)

    def _remove(self, path: bytes) -> None:
        """Whatever has the name, without following it; what is on its way into a tree is there before."""
        self._settle()
        if stat.S_ISDIR(os.lstat(path).st_mode):
            remove_tree(path)
        else:
            os.unlink(path)
        self._directories.forget()


def _hard_link(target: bytes, path: bytes) -> None:
    os.link(target, path, follow_symlinks=False)


_NO_DATA = Reader(Source(-1))


def main(argv: list[str]) -> int:
    """Run as a program; see the module's docstring."""
    layers, target, gate, most_bytes, most_entries, reserve, alone, *names = argv
    limits = Limits(int(most_bytes), int(most_entries), int(reserve))
    return respond(lambda: _extract(layers, target, int(gate), limits, int(alone), names))


def respond(work: "Callable[[], bytes]", to: int = 1) -> int:
    """Do the work of a small process and say on a descriptor how it went."""
    try:
        result = work()
    except Damaged as error:
        result = b"\0".join((b"unusable", error.reason.encode(), error.name.replace(b"\0", b"?")))
    except OSError as error:
        result = b"\0".join((b"failed", os.strerror(error.errno or errno.EIO).encode(), b""))
    except MemoryError:
        result = b"\0".join((b"failed", os.strerror(errno.ENOMEM).encode(), b""))
    write(to, memoryview(result))
    return 0


def _extract(layers: str, target: str, gate: int, limits: Limits, alone: int, names: list[str]) -> bytes:
    gc.disable()  # nothing here is circular
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _allow_descriptors(names)
    below = Below(os.open(layers, LAYER_FLAGS), names, gate)
    times = _unnamed_file(target + ".times")
    os.umask(0)
    os.chroot(target)
    os.chdir("/")
    extractor = Extractor(below, limits, times, Helper(alone) if alone else None)
    source = Source(0)
    reader = Reader(source)
    for entry in reader:
        try:
            extractor.apply(entry, reader)
        except Damaged as error:
            raise Damaged(error.reason, error.name or entry.name) from error
        except OSError as error:
            if error.errno in OF_THE_DISK:
                raise
            raise Damaged(os.strerror(error.errno or 0), entry.name) from error
    source.drain()
    warnings = extractor.finish()
    return b"\0".join((b"ok", b"%d" % extractor.size, b"%d" % extractor.entries, *warnings))


def open_layers(layers: str, names: list[str]) -> list[int]:
    """Descriptors of the layers' files, to be used after the root was changed."""
    _allow_descriptors(names)
    return opened(os.open(layers, LAYER_FLAGS), names)


def _allow_descriptors(names: list[str]) -> None:
    if len(names) > 200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))


def _unnamed_file(path: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return fd
