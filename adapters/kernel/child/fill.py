"""A new volume begins with what the image has at its place: found out on the host, copied where only the image is seen.

The copy is done by the container's own first process before it is confined, by descriptors on both sides. A mark beside
the contents says that it has begun: whoever finds it there does it again, so a crash in the middle leaves nothing that
looks whole. A lock on the volume's directory, which its holder's death opens, keeps others waiting meanwhile.
"""

import fcntl
import os
import stat
from collections.abc import Callable
from errno import ENODATA, ENOTSUP, ENXIO, EPERM

from adapters.kernel import syscalls
from adapters.kernel.child.context import Context
from adapters.kernel.child.paths import HERE, INSIDE, MISSING, refuse_kernel_files
from adapters.kernel.child.root import host_view, map_ids
from domain.errors import CommandFailed, KernelError
from domain.volumes.names import CONTENTS

MARK = "filling"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_BENEATH = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_OVERLAYS_OWN = "trusted.overlay."


def _prepare_fill(context: Context, name: str, volume: str, first: bool, mapped: bool) -> None:
    with host_view(context):
        directory = os.open(volume, _DIRECTORY)
        fcntl.flock(directory, fcntl.LOCK_EX)
        contents = os.open(CONTENTS, _DIRECTORY, dir_fd=directory)
        if not _wanted(directory, contents, first):
            os.close(contents)
            os.close(directory)
            return
        tree = syscalls.open_tree(contents, "", syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH)
    os.close(contents)
    if mapped:
        map_ids(context, tree, volume)
    os.close(os.open(MARK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=directory))
    context.fills[name] = directory, os.open(".", _DIRECTORY, dir_fd=tree)
    os.close(tree)


def _wanted(directory: int, contents: int, first: bool) -> bool:
    try:
        os.stat(MARK, dir_fd=directory)
        return True
    except FileNotFoundError:
        return first and not os.listdir(contents)


def is_unfilled(volume: str, *, first: bool) -> bool:
    """Whether a start would fill it now. Raises: OSError."""
    try:
        directory = os.open(volume, _DIRECTORY)
    except FileNotFoundError:
        return first
    contents = os.open(CONTENTS, _DIRECTORY, dir_fd=directory)
    try:
        return _wanted(directory, contents, first)
    finally:
        os.close(contents)
        os.close(directory)


def _fill_volume(context: Context, name: str, target: str) -> None:
    if name not in context.fills:
        return
    directory, contents = context.fills.pop(name)
    source = _of_image(target)
    if source >= 0:
        try:
            _Copy(source, contents).run()
            syscalls.syncfs(contents)  # before the mark goes: also after a loss of power one of the two is there
        except OSError as error:
            text = f"cannot copy {ascii(target)[1:-1]} of the image into a new volume: {error.strerror}"
            raise CommandFailed(text, exit_code=125) from error
        os.close(source)
    os.unlink(MARK, dir_fd=directory)
    os.close(contents)
    os.close(directory)


def _of_image(target: str) -> int:
    """The directory at `target`, -1 if there is none."""
    try:
        place = syscalls.openat2(HERE, target, os.O_RDONLY | os.O_DIRECTORY, INSIDE)
    except KernelError as error:
        if error.errno in MISSING:
            return -1
        raise
    refuse_kernel_files(place, target)
    return place


class _Copy:
    """One tree into another, whose entries of the same names are replaced. Nothing of the source is followed, and what
    is neither file nor directory is never opened. Raises: OSError."""

    def __init__(self, source: int, target: int) -> None:
        self._source, self._target = source, target
        self._linked: dict[tuple[int, int], str] = {}
        self._directories: list[str] = []

    def run(self) -> None:
        """Directories get their owners, modes and times last: what is made in them changes the times."""
        os.umask(0)
        waiting = ["."]
        while waiting:
            path = waiting.pop()
            self._directories.append(path)
            waiting += self._entries(path)
        for path in reversed(self._directories):
            source, target = _beneath(self._source, path), _beneath(self._target, path)
            _attributes(source, target, os.fstat(source))
            os.close(source)
            os.close(target)

    def _entries(self, path: str) -> list[str]:
        """Copies what lies in one directory; the paths of the directories among it."""
        source, target = _beneath(self._source, path), _beneath(self._target, path)
        found = []
        try:
            for name in os.listdir(source):
                inner = name if path == "." else f"{path}/{name}"
                facts = os.stat(name, dir_fd=source, follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    _make_directory(target, name)
                    found.append(inner)
                else:
                    self._entry(source, target, name, inner, facts)
        finally:
            os.close(source)
            os.close(target)
        return found

    def _entry(self, source: int, target: int, name: str, path: str, facts: os.stat_result) -> None:
        _take_away(target, name)
        inode = facts.st_dev, facts.st_ino
        if facts.st_nlink > 1 and inode in self._linked:
            os.link(self._linked[inode], name, src_dir_fd=self._target, dst_dir_fd=target, follow_symlinks=False)
            return
        self._linked[inode] = path
        if stat.S_ISREG(facts.st_mode):
            _copy_file(source, target, name, facts)
            return
        if stat.S_ISLNK(facts.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            os.mknod(name, facts.st_mode, facts.st_rdev, dir_fd=target)
        os.chown(name, facts.st_uid, facts.st_gid, dir_fd=target, follow_symlinks=False)
        os.utime(name, ns=(facts.st_atime_ns, facts.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _beneath(top: int, path: str) -> int:
    try:
        return syscalls.openat2(top, path, _DIRECTORY, _BENEATH)
    except KernelError as error:
        raise OSError(error.errno, os.strerror(error.errno), path) from error


def _make_directory(target: int, name: str) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=target)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=target, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=target)
            os.mkdir(name, 0o700, dir_fd=target)


def _take_away(target: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=target)
    except FileNotFoundError:
        return


def _copy_file(source: int, target: int, name: str, facts: os.stat_result) -> None:
    given = os.open(name, _FILE, dir_fd=source)
    taken = os.open(name, _NEW, 0o600, dir_fd=target)
    try:
        _copy_data(given, taken, facts.st_size)
        _attributes(given, taken, facts)
    finally:
        os.close(given)
        os.close(taken)


def _copy_data(given: int, taken: int, size: int) -> None:
    """Holes stay holes."""
    os.ftruncate(taken, size)
    place = 0
    while place < size:
        try:
            place = os.lseek(given, place, os.SEEK_DATA)
        except OSError as error:
            if error.errno == ENXIO:  # nothing but a hole up to the end
                return
            raise
        end = os.lseek(given, place, os.SEEK_HOLE)
        os.lseek(taken, place, os.SEEK_SET)
        while place < end:
            place += os.sendfile(taken, given, place, end - place)


def _attributes(source: int, target: int, facts: os.stat_result) -> None:
    """Owner before mode and capabilities, which a change of owner takes away."""
    os.fchown(target, facts.st_uid, facts.st_gid)
    os.fchmod(target, stat.S_IMODE(facts.st_mode))
    for name in os.listxattr(source):
        if not name.startswith(_OVERLAYS_OWN):
            _copy_attribute(source, target, name)
    os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _copy_attribute(source: int, target: int, name: str) -> None:
    """What the file system of the volume cannot hold, or what is not to be had, is left out."""
    try:
        os.setxattr(target, name, os.getxattr(source, name))
    except OSError as error:
        if error.errno not in (ENOTSUP, EPERM, ENODATA):
            raise


STEPS: dict[str, Callable[..., None]] = {
    "PrepareFill": _prepare_fill,
    "FillVolume": _fill_volume,
}
"""Step name → function."""
