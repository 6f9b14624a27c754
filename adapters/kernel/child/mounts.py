"""Mounts inside, always on a descriptor that was looked at, and the masks over the kernel's files."""

import os
import stat
from collections.abc import Callable, Sequence
from errno import EEXIST, EINVAL, EISDIR, ENODEV

from adapters.kernel import syscalls
from adapters.kernel.child.context import Context
from adapters.kernel.child.paths import (
    HERE,
    KERNEL_FILES,
    MISSING,
    NO_LINKS,
    directory_inside,
    file_in,
    own_directory,
    place_for,
    refuse_kernel_files,
    unusable,
)
from adapters.kernel.syscalls import failed
from domain.errors import KernelError


def _mount_at(_: Context, target: str, fstype: str, source: str, flags: int, data: str) -> None:
    place = own_directory(target)
    try:
        _mount_on(place, fstype, source, flags, data)
    finally:
        os.close(place)


def _mount_on(place: int, fstype: str, source: str, flags: int, data: str) -> None:
    """By `.`, so that nothing is looked up again."""
    os.fchdir(place)
    syscalls.mount(source, ".", fstype, flags, data)


def _node(_: Context, path: str, mode: int, major: int, minor: int) -> None:
    os.mknod(path, stat.S_IFCHR | mode, os.makedev(major, minor))
    os.chmod(path, mode)  # the umask must not take part; nobody else is here


def _host_device(_: Context, path: str, block: bool, major: int, minor: int, mode: int, uid: int, gid: int) -> None:
    """One that is there already is fine if it is the same device: the former start has made it, or our own /dev has
    it."""
    parent, _slash, leaf = path.rpartition("/")
    directory, _made = directory_inside(parent or "/")
    mask = os.umask(0)
    try:
        refuse_kernel_files(directory, path)
        os.mknod(leaf, (stat.S_IFBLK if block else stat.S_IFCHR) | mode, os.makedev(major, minor), dir_fd=directory)
        os.chown(leaf, uid, gid, dir_fd=directory, follow_symlinks=False)
    except FileExistsError as error:
        found = os.stat(leaf, dir_fd=directory, follow_symlinks=False)
        same = stat.S_ISBLK(found.st_mode) if block else stat.S_ISCHR(found.st_mode)
        if not same or found.st_rdev != os.makedev(major, minor):
            raise unusable(path, EEXIST) from error
    finally:
        os.umask(mask)
        os.close(directory)


def _link(_: Context, target: str, path: str) -> None:
    os.symlink(target, path)


def _sysctl(_: Context, name: str, value: str, required: bool) -> None:
    try:
        fd = syscalls.openat2(HERE, f"/proc/sys/{name}", os.O_WRONLY, NO_LINKS)
    except KernelError as error:
        if error.errno in MISSING and not required:
            return
        raise
    try:
        if syscalls.fstatfs_type(fd) != syscalls.PROC_SUPER_MAGIC:
            raise failed("fstatfs", f"/proc/sys/{name}", EINVAL)
        os.write(fd, value.encode())
    except OSError as error:
        raise failed("write", f"/proc/sys/{name}", error.errno or 0) from error
    finally:
        os.close(fd)


def _attach_terminals(context: Context, target: str) -> None:
    place = own_directory(target)
    syscalls.move_mount(context.place, place, path=target)
    os.close(place)


def _bind_console(_: Context, target: str) -> None:
    """By its descriptor: the name that it has inside is the image's to see, not to choose."""
    tree = syscalls.open_tree(0, "", syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH)
    place = os.open(target, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    syscalls.move_mount(tree, place, path=target)
    os.close(place)
    os.close(tree)


def _mount_tmpfs(_: Context, target: str, flags: int, data: str, keep_mode: bool) -> None:
    place, made = directory_inside(target)
    try:
        refuse_kernel_files(place, target)
        if keep_mode and not made:
            mode = stat.S_IMODE(os.fstat(place).st_mode)
            data = f"{data},mode={mode:o}" if data else f"mode={mode:o}"
        _mount_on(place, "tmpfs", "tmpfs", flags, data)
    finally:
        os.close(place)


def _attach_bind(context: Context, name: str, target: str) -> None:
    """On the file itself. A link there is covered, not followed: a mount on it hides it, and its target stays alone."""
    parent, _, leaf = target.rpartition("/")
    directory, _ = directory_inside(parent or "/")
    try:
        refuse_kernel_files(directory, target)
        place = file_in(directory, leaf)
        try:
            if stat.S_ISDIR(os.fstat(place).st_mode):
                raise unusable(target, EISDIR)
            syscalls.move_mount(context.binds.pop(name), place, path=target)
        finally:
            os.close(place)
    finally:
        os.close(directory)


def _attach_directory(context: Context, name: str, target: str) -> None:
    place, tree = own_directory(target), context.binds.pop(name)
    try:
        syscalls.move_mount(tree, place, path=target)
    finally:
        os.close(tree)
        os.close(place)


def _attach_mount(context: Context, name: str, target: str) -> None:
    """Where the container's links lead to, which is inside: the host is out of sight by now."""
    tree = context.binds.pop(name)
    place = place_for(target, directory=stat.S_ISDIR(os.fstat(tree).st_mode))
    try:
        if not target.startswith("/proc/"):  # of those the wish was looked at: figures that another program replaces
            refuse_kernel_files(place, target)
        syscalls.move_mount(tree, place, path=target)
    except KernelError as error:
        raise unusable(target, error.errno) from error
    finally:
        os.close(place)
        os.close(tree)


def _mask(_: Context, paths: Sequence[str]) -> None:
    """Our own /dev/null and one empty tmpfs that is bound as often as needed."""
    blank = ""
    for path in (single for pattern in paths for single in _expand(pattern)):
        place = _kernel_file(path)
        if place < 0:
            continue
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            _cover(place, "/dev/null", path)
        elif blank:
            _cover(place, blank, path)
        else:
            flags = syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
            _mount_on(place, "tmpfs", "tmpfs", flags, "size=0,nr_inodes=2,mode=755")
            blank = path
        os.close(place)


def _expand(path: str) -> list[str]:
    """`/sys/…/cpu*/x` for each number, if number 0 has it."""
    before, star, after = path.partition("*")
    if not star:
        return [path]
    place = _kernel_file(f"{before}0{after}")
    if place < 0:
        return []
    os.close(place)
    directory, _, prefix = before.rpartition("/")
    names = [name for name in os.listdir(directory) if name.startswith(prefix) and name[len(prefix):].isdigit()]
    return [f"{directory}/{name}{after}" for name in names]


def _cover(place: int, source: str, path: str) -> None:
    tree = syscalls.open_tree(HERE, source, syscalls.OPEN_TREE_CLONE | syscalls.AT_SYMLINK_NOFOLLOW)
    found = os.fstat(tree)
    ours = found.st_rdev == os.makedev(1, 3) if stat.S_ISCHR(found.st_mode) else stat.S_ISDIR(found.st_mode)
    if not ours:
        raise failed("open_tree", source, ENODEV)
    syscalls.move_mount(tree, place, path=path)
    os.close(tree)


def _make_read_only(_: Context, paths: Sequence[str]) -> None:
    """A copy of the mount that is read-only, on top of it; recursive, so that masks below stay."""
    for path in paths:
        place = _kernel_file(path)
        if place < 0:
            continue
        recursive = syscalls.AT_EMPTY_PATH | syscalls.AT_RECURSIVE
        tree = syscalls.open_tree(place, "", syscalls.OPEN_TREE_CLONE | recursive)
        syscalls.mount_setattr(tree, "", recursive, syscalls.MOUNT_ATTR_RDONLY)
        syscalls.move_mount(tree, place, path=path)
        os.close(tree)
        os.close(place)


def _kernel_file(path: str) -> int:
    """A file or directory of procfs or sysfs, reached without any link and proved to be one; -1 when there is none."""
    try:
        place = syscalls.openat2(HERE, path, os.O_PATH, NO_LINKS)
    except KernelError as error:
        if error.errno in MISSING:
            return -1
        raise
    if syscalls.fstatfs_type(place) not in KERNEL_FILES:
        raise failed("fstatfs", path, EINVAL)
    return place


def _read_only_mount(_: Context, path: str) -> None:
    syscalls.mount_setattr(HERE, path, 0, syscalls.MOUNT_ATTR_RDONLY)


STEPS: dict[str, Callable[..., None]] = {
    "MountAt": _mount_at,
    "Node": _node,
    "HostDevice": _host_device,
    "Link": _link,
    "Sysctl": _sysctl,
    "AttachTerminals": _attach_terminals,
    "BindConsole": _bind_console,
    "MountTmpfs": _mount_tmpfs,
    "AttachBind": _attach_bind,
    "AttachDirectory": _attach_directory,
    "AttachMount": _attach_mount,
    "Mask": _mask,
    "MakeReadOnly": _make_read_only,
    "ReadOnlyMount": _read_only_mount,
}
"""Step name → function."""
