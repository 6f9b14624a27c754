"""The directories of a layer that is being extracted, also those that the archive only implies. Standard library only.

Everything here happens below the current directory, which is the root of the process. A directory's time is set at the
very end, when nothing is made in it any more. What an implied one has of the layers below is looked up then as well:
they may still be on their way when this layer begins.
"""

import os
import stat
from struct import Struct

from adapters.images.attributes import Attributes, clamped, xattrs_of
from adapters.images.names import Unusable
from adapters.images.stack import OPAQUE, Below, is_whiteout
from adapters.tar.reader import DIRECTORY, LONGEST_NAME, Entry

TYPE_CHECKING = False  # the module `typing` costs more than this one
if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_LINKS = 40
_MOST_KNOWN = 50_000
_SPILL = 1 << 20
_TIME = Struct("=qH")
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Directories:
    """Finds, implies, makes and merges them; `times` is a file for what is to be set at the end. `wait_for` is called
    with every name before it is looked for."""

    def __init__(
        self, below: Below, attributes: Attributes, times: int, wait_for: "Callable[[bytes], None]"
    ) -> None:
        self._below, self._attributes, self._times_fd, self._wait_for = below, attributes, times, wait_for
        self._times = bytearray()
        self._root_seen = False
        self._replaced = False
        self._implied: dict[bytes, None] = {}
        self._real: dict[bytes, bytes] = {}
        self._as_written: dict[bytes, bytes] = {}
        self._forget()

    def quick(self, written: bytes) -> bytes | None:
        """The real directory behind a name that was given to `remember`."""
        return self._as_written.get(written)

    def remember(self, written: bytes, real: bytes) -> None:
        """Names in archives come again and again."""
        self._as_written[written] = real

    def forget(self) -> None:
        """Something was removed: no name is known any more."""
        self._replaced = True
        self._forget()

    def _forget(self) -> None:
        self._real = {b"": b""}
        self._as_written = {}

    def known(self, parts: list[bytes]) -> bytes | None:
        """The real directory, if it was looked for before."""
        return self._real.get(b"/".join(parts))

    def at(self, parts: list[bytes]) -> bytes:
        """The real directory that the components lead to, made if need be; links are resolved inside the layer."""
        known = len(parts)
        while (real := self._real.get(b"/".join(parts[:known]))) is None:
            known -= 1
        for count in range(known, len(parts)):
            real = self._resolve(parts[count], real)
            if len(self._real) > _MOST_KNOWN:
                self._forget()
            self._real[b"/".join(parts[: count + 1])] = real
        return real

    def root(self, entry: Entry) -> None:
        """The layer's own entry for the root directory."""
        if entry.kind != DIRECTORY:
            raise Unusable("it would replace the root directory")
        self._root_seen = True
        self._attributes.own_directory(b".", entry.uid, entry.gid, entry.mode)
        self._attributes.set_xattrs(b".", entry.xattrs, is_file=False)
        self._note_time(b"", entry.mtime)

    def make(self, entry: Entry, path: bytes) -> bool:
        """Make it, or give the one that is there these attributes; False when something else is in the way."""
        self._wait_for(path)
        try:
            os.mkdir(path, entry.mode)
        except FileExistsError:
            if not self._merge(path, entry.mode):
                return False
        self._implied.pop(path, None)  # also one that was implied, replaced by something else, and is made now
        if entry.uid or entry.gid or entry.mode & 0o6000 or self._attributes.always_chown:
            self._attributes.own_directory(path, entry.uid, entry.gid, entry.mode)
        if entry.xattrs:
            self._attributes.set_xattrs(path, entry.xattrs, is_file=False)
        self._note_time(path, entry.mtime)
        return True

    def hide_below(self, path: bytes) -> None:
        """Nothing of the layers below shines through the directory."""
        os.setxattr(path or b".", OPAQUE, b"y", follow_symlinks=False)

    def finish(self) -> None:
        """Set the times; later records of one directory win."""
        if not self._root_seen:
            self._implied[b""] = None
        self._settle()
        self._spill()
        os.lseek(self._times_fd, 0, os.SEEK_SET)
        real = {b""}
        with os.fdopen(os.dup(self._times_fd), "rb") as records:
            while head := records.read(_TIME.size):
                time, length = _TIME.unpack(head)
                path = records.read(length)
                if not self._replaced or _is_real(path, real):  # else a later entry has replaced it
                    os.utime(path or b".", ns=(time, time), follow_symlinks=False)
                if len(real) > _MOST_KNOWN:
                    real = {b""}

    def _resolve(self, name: bytes, real: bytes) -> bytes:
        """What the name leads to, in a directory."""
        todo, links = [name], 0
        while todo:
            part = todo.pop()
            if part == b"..":
                real = real.rpartition(b"/")[0]
                continue
            path = real + b"/" + part if real else part
            self._wait_for(path)
            if self._imply(path):
                real = path
                continue
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                target = os.readlink(path)
                real = b"" if target.startswith(b"/") else real
                todo += [piece for piece in reversed(target.split(b"/")) if piece not in (b"", b".")]
                if links > _MOST_LINKS or len(todo) > LONGEST_NAME:
                    raise Unusable("too many links lead to it")
                continue
            if is_whiteout(status):
                self._replace_whiteout(path, 0o755)
                self._attributes.own_directory(path, 0, 0, 0o755)
                self._note_time(path, 0)
            elif not stat.S_ISDIR(status.st_mode):
                raise Unusable("it lies below something that is not a directory")
            real = path
        return real

    def _imply(self, path: bytes) -> bool:
        """Make a directory that has no entry of its own, later as it is in the layers below; False when its name is
        taken."""
        if len(path) > LONGEST_NAME:
            raise Unusable("its name is too long")
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            return False
        self._implied[path] = None
        if len(self._implied) > _MOST_KNOWN:
            self._settle()
        return True

    def _settle(self) -> None:
        """Give implied directories their attributes, those that are still there."""
        real = {b""}
        for path in self._implied:
            if not self._replaced or _is_real(path, real):
                self._inherit(path)
        self._implied.clear()

    def _inherit(self, path: bytes) -> None:
        """Docker makes 0755 0:0 of a 0700 5:6 directory and of a 1777 /tmp here; the image says otherwise."""
        stack = self._below.stack()
        found = stack.directory(path) if stack else None
        if found is None:
            if self._attributes.always_chown:  # it may have got the group and the bit of the one above
                self._attributes.own_directory(path or b".", 0, 0, 0o755)
            self._note_time(path, 0)
            return
        layer, status = found
        fd = os.open(path or b".", _OPEN, dir_fd=layer)
        try:
            xattrs = xattrs_of(fd)
        finally:
            os.close(fd)
        self._attributes.own_directory(path or b".", status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))
        self._attributes.set_xattrs(path or b".", xattrs, is_file=False)
        self._note_time(path, status.st_mtime_ns)

    def _merge(self, path: bytes, mode: int) -> bool:
        """A directory over a directory keeps what is in it."""
        status = os.lstat(path)
        if is_whiteout(status):
            self._replace_whiteout(path, mode)
        elif stat.S_ISDIR(status.st_mode):
            os.chown(path, 0, 0)
            os.chmod(path, mode)
        else:
            return False
        return True

    def _replace_whiteout(self, path: bytes, mode: int) -> None:
        """A directory in the place of a removed one is a new one."""
        os.unlink(path)
        os.mkdir(path, mode)
        self.hide_below(path)

    def _note_time(self, path: bytes, time: int) -> None:
        self._times += _TIME.pack(clamped(time), len(path)) + path
        if len(self._times) > _SPILL:
            self._spill()

    def _spill(self) -> None:
        """Two million directories must not fill the memory."""
        data = memoryview(bytes(self._times))
        self._times.clear()
        while data:
            data = data[os.write(self._times_fd, data) :]


def _is_real(path: bytes, real: set[bytes]) -> bool:
    """Whether it, and all above it, are directories and no links: a later entry may have replaced one. `real` holds
    those that were found to be."""
    todo = []
    while path not in real:
        todo.append(path)
        path = path.rpartition(b"/")[0]
    for path in reversed(todo):
        status = lstat(path)
        if status is None or not stat.S_ISDIR(status.st_mode):
            return False
        real.add(path)
    return True


def lstat(path: bytes) -> os.stat_result | None:
    """The status of what has the name, None when nothing has."""
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


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

