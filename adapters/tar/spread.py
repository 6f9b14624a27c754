"""Makes files of a tar below a directory, whoever wrote the archive and whoever changes the directory meanwhile.
Standard library only.

Every entry is reached from the descriptor of the target, one component at a time. `..` is refused. A last component is
never followed; a component on the way is what `enter` makes of it: the client follows nothing at all, and inside of a
container the links of the image are followed, because its root is the root of the process.

Directories are merged; a file never takes the place of a directory, nor a directory that of a file.
"""

import errno
import os
import stat
from collections.abc import Callable

from adapters.tar.attributes import kept_attribute
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
)

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_EARLIEST, _LATEST = -(1 << 31) * 10**9, ((1 << 34) - 1) * 10**9  # what ext4 and xfs take
_HIGHEST_ID = (1 << 32) - 2  # -1 means "leave it" to chown(2)
_SMALL = 1 << 16


class Impossible(Exception):
    """An entry that cannot be put in its place; the text says why."""


class Rules:
    """What of an entry counts.

    `owners`: its owner and group, and the bits and capabilities that give rights; else everything belongs to who runs
    this. `devices`: device nodes are made, else they are left out.
    """

    __slots__ = ("devices", "owners")

    def __init__(self, *, owners: bool = False, devices: bool = False) -> None:
        self.owners, self.devices = owners, devices


def enter_plainly(parent: int, name: bytes) -> int:
    """The directory of that name; a link is none."""
    return os.open(name, _DIRECTORY, dir_fd=parent)


class Spreader:
    """Puts entries below the directory `target`; `left_out` counts those that nobody wants here (devices)."""

    def __init__(self, target: int, rules: Rules, enter: Callable[[int, bytes], int] = enter_plainly) -> None:
        self._target, self._rules, self._enter = target, rules, enter
        self._way: list[bytes] = []
        self._fds: list[int] = []
        self._directories: list[tuple[list[bytes], Entry]] = []
        self.entries = self.left_out = 0
        self._kinds: dict[bytes, Callable[[int, bytes, Entry, Reader], None]] = {
            FILE: self._file,
            SYMLINK: self._symlink,
            LINK: self._link,
            CHAR: self._device,
            BLOCK_DEVICE: self._device,
            FIFO: self._device,
        }

    def spread(self, reader: Reader) -> None:
        """All entries of an archive. Raises: Impossible, Damaged, OSError where nothing can be written at all."""
        try:
            for entry in reader:
                self.apply(entry, reader)
            self._finish()
        finally:
            self._leave(0)

    def apply(self, entry: Entry, reader: Reader) -> None:
        """One entry. Raises: Impossible, Damaged."""
        parts = _parts(entry.name)
        if not parts or not self._wanted(entry):
            return  # the target itself is as it is
        try:
            parent = self._parent(parts[:-1])
            if entry.kind == DIRECTORY:
                self._directory(parent, parts, entry)
            elif entry.kind in self._kinds:
                self._kinds[entry.kind](parent, parts[-1], entry, reader)
            self.entries += 1
        except OSError as error:
            if error.errno == errno.EROFS:
                raise  # that is not the entry's fault
            raise Impossible(f"{_shown(entry.name)}: {os.strerror(error.errno or 0)}") from error

    def _wanted(self, entry: Entry) -> bool:
        if entry.kind in (CHAR, BLOCK_DEVICE) and not self._rules.devices:
            self.left_out += 1
            return False
        return True

    def _parent(self, parts: list[bytes]) -> int:
        """The directory in which an entry belongs, made if need be."""
        same = 0
        for mine, theirs in zip(self._way, parts, strict=False):
            if mine != theirs:
                break
            same += 1
        self._leave(same)
        for part in parts[same:]:
            above = self._fds[-1] if self._fds else self._target
            try:
                fd = self._enter(above, part)
            except FileNotFoundError:
                os.mkdir(part, 0o755, dir_fd=above)
                fd = self._enter(above, part)
            self._way.append(part)
            self._fds.append(fd)
        return self._fds[-1] if self._fds else self._target

    def _leave(self, depth: int) -> None:
        while len(self._fds) > depth:
            os.close(self._fds.pop())
            self._way.pop()

    def _directory(self, parent: int, parts: list[bytes], entry: Entry) -> None:
        try:
            os.mkdir(parts[-1], 0o700 | entry.mode & 0o777, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(parts[-1], dir_fd=parent, follow_symlinks=False).st_mode):
                raise Impossible(
                    f"cannot overwrite non-directory {_shown(b'/'.join(parts))} with a directory"
                ) from None
            if not self._rules.owners:
                return  # what was there before keeps its mode
        self._directories.append((parts, entry))

    def _file(self, parent: int, leaf: bytes, entry: Entry, reader: Reader) -> None:
        fd = self._open(parent, leaf, entry)
        try:
            if entry.sparse is None and entry.stored <= _SMALL and (data := reader.small()) is not None:
                _write(fd, data)
            elif entry.stored or entry.sparse is not None:
                _fill(fd, entry, reader)
            self._own(fd, entry)
            _set_time(fd, entry.mtime)
        finally:
            os.close(fd)

    def _open(self, parent: int, leaf: bytes, entry: Entry) -> int:
        mode = entry.mode & 0o777 | 0o200
        try:
            return os.open(leaf, _NEW, mode, dir_fd=parent)
        except FileExistsError:
            if self._make_way(parent, leaf, entry):
                return os.open(leaf, _NEW, mode, dir_fd=parent)
        fd = os.open(leaf, _OLD, dir_fd=parent)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return fd

    def _make_way(self, parent: int, leaf: bytes, entry: Entry) -> bool:
        """Take away what has the name; False for a file that is mounted there, which can only be written over."""
        try:
            os.unlink(leaf, dir_fd=parent)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno == errno.EBUSY and entry.kind == FILE:
                return False
            if error.errno not in (errno.EISDIR, errno.EPERM):
                raise
            if not stat.S_ISDIR(os.stat(leaf, dir_fd=parent, follow_symlinks=False).st_mode):
                raise
            raise Impossible(f"cannot overwrite directory {_shown(entry.name)} with a non-directory") from None
        return True

    def _own(self, fd: int, entry: Entry) -> None:
        """Owner before mode before capabilities: chown(2) takes both away."""
        mode = entry.mode
        if self._rules.owners:
            os.fchown(fd, *_ids(entry))
        else:
            mode &= 0o1777 if entry.kind == DIRECTORY else 0o777
        os.fchmod(fd, mode)
        for key, value in entry.xattrs:
            if kept_attribute(key) and (self._rules.owners or key.startswith(b"user.")):
                try:
                    os.setxattr(fd, key, value)
                except OSError:
                    continue  # this file system has none, or not these

    def _symlink(self, parent: int, leaf: bytes, entry: Entry, reader: Reader) -> None:
        self._make(parent, leaf, entry, lambda: os.symlink(entry.target, leaf, dir_fd=parent))
        self._own_name(parent, leaf, entry)

    def _link(self, parent: int, leaf: bytes, entry: Entry, reader: Reader) -> None:
        """The target lies in the archive, too, and is reached as carefully."""
        parts = _parts(entry.target)
        if not parts:
            raise Impossible(f"{_shown(entry.name)}: it is a hard link to nothing")
        above = os.dup(parent)
        try:
            source = self._parent(parts[:-1])
            if source == parent and parts[-1] == leaf:
                return
            self._make(
                above,
                leaf,
                entry,
                lambda: os.link(parts[-1], leaf, src_dir_fd=source, dst_dir_fd=above, follow_symlinks=False),
            )
        finally:
            os.close(above)

    def _device(self, parent: int, leaf: bytes, entry: Entry, reader: Reader) -> None:
        if not (0 <= entry.major < 1 << 12 and 0 <= entry.minor < 1 << 20):
            raise Impossible(f"{_shown(entry.name)}: its device number is out of range")
        kinds = {CHAR: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}
        device = os.makedev(entry.major, entry.minor)
        mode = kinds[entry.kind] | entry.mode & 0o777
        self._make(parent, leaf, entry, lambda: os.mknod(leaf, mode, device, dir_fd=parent))
        self._own_name(parent, leaf, entry)

    def _make(self, parent: int, leaf: bytes, entry: Entry, make: Callable[[], None]) -> None:
        try:
            make()
        except FileExistsError:
            self._make_way(parent, leaf, entry)
            make()

    def _own_name(self, parent: int, leaf: bytes, entry: Entry) -> None:
        if self._rules.owners:
            os.chown(leaf, *_ids(entry), dir_fd=parent, follow_symlinks=False)
        time = _clamped(entry.mtime)
        os.utime(leaf, ns=(time, time), dir_fd=parent, follow_symlinks=False)

    def _finish(self) -> None:
        """The attributes of directories, those below first: now nothing is made in them any more."""
        for parts, entry in reversed(self._directories):
            try:
                parent = self._parent(parts[:-1])
                fd = os.open(parts[-1], _DIRECTORY, dir_fd=parent)
            except OSError as error:
                raise Impossible(f"{_shown(entry.name)}: {os.strerror(error.errno or 0)}") from error
            try:
                self._own(fd, entry)
                _set_time(fd, entry.mtime)
            except OSError as error:
                raise Impossible(f"{_shown(entry.name)}: {os.strerror(error.errno or 0)}") from error
            finally:
                os.close(fd)


def _parts(name: bytes) -> list[bytes]:
    """The components of a name. Raises: Impossible when it leads out, or cannot be one."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise Impossible(f"{_shown(name)}: it would lead out of the destination")
    if len(name) > LONGEST_NAME:
        raise Impossible(f"{_shown(name)}: its name is too long")
    return parts


def _shown(name: bytes) -> str:
    return '"' + name[:200].decode("utf-8", "surrogateescape") + '"'


def _ids(entry: Entry) -> tuple[int, int]:
    if not (0 <= entry.uid <= _HIGHEST_ID and 0 <= entry.gid <= _HIGHEST_ID):
        raise Impossible(f"{_shown(entry.name)}: its owner {entry.uid}:{entry.gid} is out of range")
    return entry.uid, entry.gid


def _clamped(time: int) -> int:
    """Negative and far-future times occur."""
    return min(max(time, _EARLIEST), _LATEST)


def _set_time(fd: int, time: int) -> None:
    time = _clamped(time)
    os.utime(fd, ns=(time, time))


def _fill(fd: int, entry: Entry, reader: Reader) -> None:
    if entry.sparse is None:
        for piece in reader.data():
            _write(fd, piece)
        return
    runs = iter(entry.sparse)
    offset, left = next(runs, (0, 0))
    for piece in reader.data():
        while piece:
            if not left:
                offset, left = next(runs)
            part, piece = piece[:left], piece[left:]
            os.lseek(fd, offset, os.SEEK_SET)
            _write(fd, part)
            offset, left = offset + len(part), left - len(part)
    os.ftruncate(fd, entry.size)


def _write(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


__all__ = ["Damaged", "Impossible", "Rules", "Spreader", "enter_plainly"]
