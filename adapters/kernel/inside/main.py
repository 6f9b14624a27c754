"""The process inside: it becomes unable to see anything but one container's files, and then does what it is asked.

It is started by the daemon with a JSON document that says what to see (`view`), and ends with the first archive, with
its standard input, or with the daemon. Nothing is imported once it is inside: what lies there is the image's.

    {"pid": 4711, "start": 1234567, "whole": true, "writable": false}
    {"directory": "/var/lib/lading/containers/…", "layer_root": "…/l", "layers": ["a1b2c3"], "writable": true,
     "mounts": [["/srv", "/data", false, true]]}

Paths are absolute and clean. Each is looked up with openat2 below the root, and never through a magic link. One that
ends in `/` or `/.` means what it leads to, any other one the name itself.
"""

import fcntl
import gc
import json
import os
import stat
import sys
from errno import ELOOP, ENOENT, ENOTDIR, EROFS

from adapters.kernel import syscalls
from adapters.kernel.inside import talk, view
from adapters.tar.pack import Packer, PipeSink, Unreadable
from adapters.tar.reader import Damaged, Reader, Source
from adapters.tar.spread import Impossible, Rules, Spreader
from domain.errors import KernelError, LadingError

_INSIDE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_PLACE = os.O_PATH | os.O_DIRECTORY
_PIPE = 1 << 20
_KERNEL_FILES = frozenset(
    (
        syscalls.PROC_SUPER_MAGIC,
        syscalls.SYSFS_MAGIC,
        0x27E0EB,  # cgroup
        0x63677270,  # cgroup2
        0x1CD1,  # devpts
        0x19800202,  # mqueue
        0x64626720,  # debugfs
        0x74726163,  # tracefs
    )
)
"""What is mounted for programs and is nobody's file: an archive holds such a directory and nothing that is in it."""


class Inside:
    """Answers requests; `root` is a descriptor of the container's root, which is that of this process."""

    def __init__(self, root: int) -> None:
        self._root = root

    def answer(self, request: list[bytes]) -> tuple[bytes, ...]:
        """One request. Raises OSError, KernelError, Unreadable, Impossible, Damaged."""
        name, *fields = request
        if name == b"look":
            return self._look(*fields)
        if name == b"pack":
            return self._pack(*fields)
        return self._spread(*fields)

    def _look(self, path: bytes, options: bytes) -> tuple[bytes, ...]:
        """kind, mode, size, target of a link."""
        fd = self._open(path, os.O_PATH | (0 if options == b"follow" or _follows(path) else os.O_NOFOLLOW))
        try:
            status = os.fstat(fd)
            target = os.readlink(b"", dir_fd=fd) if stat.S_ISLNK(status.st_mode) else b""
            return b"found", _kind(status), b"%o" % stat.S_IMODE(status.st_mode), b"%d" % status.st_size, target
        finally:
            os.close(fd)

    def _pack(self, path: bytes, name: bytes, options: bytes) -> tuple[bytes, ...]:
        sink = PipeSink(1)
        words = options.split(b",")
        packer = Packer(sink, enters=_enters, fine=b"fine" in words)
        if _follows(path) or b"follow" in words:
            self._pack_target(packer, path, name)
        else:
            parent, _, leaf = path.rpartition(b"/")
            place = self._open(parent or b"/", _PLACE)
            packer.add(place, leaf, name)
            os.close(place)
        packer.end()
        return b"done", b"%d" % packer.entries, b"%d" % sink.size, b"%d" % len(packer.shrunk)

    def _pack_target(self, packer: Packer, path: bytes, name: bytes) -> None:
        fd = self._open(path, os.O_PATH)
        try:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                packer.add(fd, b".", name)
                return
        finally:
            os.close(fd)
        fd = self._open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            packer.add_file(fd, name)
        finally:
            os.close(fd)

    def _spread(self, path: bytes, options: bytes) -> tuple[bytes, ...]:
        target = self._open(path, _PLACE)
        words = options.split(b",")
        rules = Rules(owners=b"owners" in words, devices=True)
        spreader = Spreader(target, rules, _enter)
        source = Source(0)
        os.umask(0)
        spreader.spread(Reader(source))
        source.drain()
        os.close(target)
        return b"done", b"%d" % spreader.entries, b"%d" % spreader.left_out, b""

    def _open(self, path: bytes, flags: int) -> int:
        return syscalls.openat2(self._root, os.fsdecode(path), flags, _INSIDE)


def _enter(parent: int, name: bytes) -> int:
    """A directory on the way, through the links of the image: their root is the container's."""
    try:
        return syscalls.openat2(parent, os.fsdecode(name), _PLACE, syscalls.RESOLVE_NO_MAGICLINKS)
    except KernelError as error:
        raise OSError(error.errno, os.strerror(error.errno)) from error


def _enters(fd: int) -> bool:
    return syscalls.fstatfs_type(fd) not in _KERNEL_FILES


def _follows(path: bytes) -> bool:
    return path.endswith((b"/", b"/."))


def _kind(status: os.stat_result) -> bytes:
    kinds = {stat.S_IFREG: b"file", stat.S_IFDIR: b"directory", stat.S_IFLNK: b"link"}
    return kinds.get(stat.S_IFMT(status.st_mode), b"other")


def _become(document: dict[str, object]) -> None:
    writable = bool(document["writable"])
    if "pid" in document:
        view.of_running(
            int(str(document["pid"])), int(str(document["start"])), whole=bool(document["whole"]), writable=writable
        )
    else:
        layers, mounts, place = document["layers"], document["mounts"], str(document["directory"])
        assert isinstance(layers, list)
        assert isinstance(mounts, list)
        wanted = [view.HostMount(*mount) for mount in mounts]
        view.of_resting(str(document["layer_root"]), layers, place, writable=writable, mounts=wanted)


def _serve() -> None:
    root = os.open("/", _PLACE | os.O_CLOEXEC)
    inside = Inside(root)
    while head := _exactly(4):
        request = talk.unpacked(_exactly(int.from_bytes(head, "big")))
        _tell(_carefully(inside, request))
        if request[0] != b"look":
            return


def _carefully(inside: Inside, request: list[bytes]) -> tuple[bytes, ...]:
    try:
        return inside.answer(request)
    except Unreadable as error:
        return b"refused", b'"' + error.name[:200] + b'": ' + error.reason.encode()
    except (Impossible, Damaged) as error:
        return b"refused", os.fsencode(str(error))
    except (KernelError, OSError) as error:
        return _failure(error.errno or 0)


def _failure(number: int) -> tuple[bytes, ...]:
    if number in (ENOENT, ENOTDIR):
        return b"missing", b"not a directory" if number == ENOTDIR else b""
    if number == EROFS:
        return b"refused", b"container rootfs is marked read-only"
    if number == ELOOP:
        return b"refused", b"too many links, or one of the kernel's, lead there"
    return b"failed", os.strerror(number).encode()


def _exactly(count: int) -> bytes:
    """So many bytes of standard input; nothing at its end."""
    data = b""
    while len(data) < count and (piece := os.read(0, count - len(data))):
        data += piece
    return data if len(data) == count else b""


def _tell(fields: tuple[bytes, ...]) -> None:
    os.write(2, talk.packed(*fields))


def _widen() -> None:
    """Room for some pieces in the pipes of the archive: with 64 KiB both sides wait for each other."""
    for fd in (0, 1):
        try:
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE)
        except OSError:
            return  # the user's limit of pipe pages is reached: slower, not wrong


def main(arguments: list[str]) -> None:
    """Run as a program; see the module's docstring."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
    gc.disable()  # nothing here is circular
    _widen()
    try:
        _become(json.loads(arguments[0]))
        view.confine()
    except (LadingError, OSError) as error:
        _tell((b"failed", str(error).encode()))
        return
    sys.path.clear()
    sys.meta_path.clear()  # an import that was forgotten fails instead of finding what the image has prepared
    _tell((b"ready",))
    try:
        _serve()
    except BrokenPipeError:
        return
