"""The root file system: host files taken along, the overlay, the pivot."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from errno import EINVAL

from adapters.kernel import syscalls
from adapters.kernel.child.context import Context
from adapters.kernel.child.paths import MISSING, NO_LINKS
from domain.errors import CommandFailed, KernelError

_MOUNT_OPTIONS = 4095  # mount(2) takes one page
_LENT = {"pid": syscalls.PROC_SUPER_MAGIC, "ipc": syscalls.TMPFS_MAGIC}
_ROOT_OF_PROCFS = 1  # PROC_ROOT_INO



def _prepare_bind(context: Context, name: str, path: str, read_only: bool) -> None:
    tree = syscalls.open_tree(syscalls.AT_FDCWD, path, syscalls.OPEN_TREE_CLONE | syscalls.AT_SYMLINK_NOFOLLOW)
    attributes = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
    attributes |= syscalls.MOUNT_ATTR_RDONLY if read_only else 0
    syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH, attributes)
    context.binds[name] = tree


def _prepare_mount(context: Context, name: str, path: str, read_only: bool, recursive: bool, slave: bool) -> None:
    """The source is the host's own affair: its links lead where they lead. What lies below it keeps no way back."""
    deep = syscalls.AT_RECURSIVE if recursive else 0
    try:
        tree = _host_tree(context.host_mounts, path, syscalls.OPEN_TREE_CLONE | deep)
    except KernelError as error:
        code = 127 if error.errno in MISSING else 125
        reason = os.strerror(error.errno).lower()
        raise CommandFailed(f"cannot mount {ascii(path)[1:-1]}: {reason}", exit_code=code) from error
    attributes = syscalls.MOUNT_ATTR_RDONLY if read_only else 0
    propagation = syscalls.MS_SLAVE if slave else syscalls.MS_PRIVATE
    syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH | deep, attributes, propagation=propagation)
    context.binds[name] = tree


def _host_tree(host_mounts: int, path: str, flags: int) -> int:
    """From the host's own namespace: what was mounted since ours was copied is not in ours, unless the host's root is
    shared."""
    if host_mounts < 0:
        return syscalls.open_tree(syscalls.AT_FDCWD, path, flags)
    with _visiting(host_mounts):
        return syscalls.open_tree(syscalls.AT_FDCWD, path, flags)


@contextmanager
def _visiting(mounts: int) -> Iterator[None]:
    """Be in another mount namespace for a moment: only who is there can copy what is mounted there."""
    ours = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    syscalls.setns(mounts, syscalls.CLONE_NEWNS)
    try:
        yield
    finally:
        syscalls.setns(ours, syscalls.CLONE_NEWNS)
        os.close(ours)


def _prepare_lent(context: Context, kind: str, path: str) -> None:
    """Whatever that container has put there: it must be a file system of that kind, itself, and no link leads to it."""
    with _visiting(context.shared[kind]):
        place = syscalls.openat2(syscalls.AT_FDCWD, path, os.O_PATH | os.O_DIRECTORY, NO_LINKS)
        if syscalls.fstatfs_type(place) != _LENT[kind] or (kind == "pid" and os.fstat(place).st_ino != _ROOT_OF_PROCFS):
            raise CommandFailed(f"{path} of the container that shares it is something else", exit_code=125)
        tree = syscalls.open_tree(place, "", syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH)
        os.close(place)
    attributes = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOEXEC
    syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH, attributes, propagation=syscalls.MS_PRIVATE)
    context.binds[path] = tree


def _overlay_root(_: Context, layer_root: str, layers: Sequence[str], upper: str, work: str, target: str) -> None:
    """Layers by short relative names, because mount(2) takes one page of options; upper and work by descriptor, because
    the container reads the options in /proc/mounts and host paths are none of its business."""
    os.chdir(layer_root)
    upper_fd, work_fd = (os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in (upper, work))
    lower = ":".join(reversed(layers))
    data = (f"lowerdir={lower},upperdir=/proc/self/fd/{upper_fd},workdir=/proc/self/fd/{work_fd},"
            "index=off,redirect_dir=off,metacopy=off")
    if len(data) + len(",xino=auto") > _MOUNT_OPTIONS:
        _overlay_of_many(layers, upper_fd, work_fd, target)
    else:
        try:
            syscalls.mount("overlay", target, "overlay", 0, f"{data},xino=auto")
        except KernelError as error:
            if error.errno != EINVAL:
                raise
            syscalls.mount("overlay", target, "overlay", 0, data)
    os.close(upper_fd)
    os.close(work_fd)


def _overlay_of_many(layers: Sequence[str], upper_fd: int, work_fd: int, target: str) -> None:
    """One layer at a time, which kernels before 6.8 cannot."""
    fs = syscalls.fsopen("overlay")
    settings = [("lowerdir+", layer) for layer in reversed(layers)]
    settings += [("upperdir", f"/proc/self/fd/{upper_fd}"), ("workdir", f"/proc/self/fd/{work_fd}")]
    settings += [("index", "off"), ("redirect_dir", "off"), ("metacopy", "off"), ("xino", "auto")]
    for key, value in settings:
        syscalls.fsconfig(fs, syscalls.FSCONFIG_SET_STRING, key, value)
    syscalls.fsconfig(fs, syscalls.FSCONFIG_CMD_CREATE)
    tree = syscalls.fsmount(fs, 0)
    os.close(fs)
    place = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.move_mount(tree, place, path=target)
    os.close(place)
    os.close(tree)


def _pivot_root(_: Context, target: str) -> None:
    """The old root lands on top of the new one and is detached from there: no directory for it is needed."""
    os.chdir(target)
    syscalls.pivot_root(".", ".")
    syscalls.umount2(".", syscalls.MNT_DETACH)
    os.chdir("/")


STEPS: dict[str, Callable[..., None]] = {
    "PrepareBind": _prepare_bind,
    "PrepareMount": _prepare_mount,
    "PrepareLent": _prepare_lent,
    "OverlayRoot": _overlay_root,
    "PivotRoot": _pivot_root,
}
"""Step name → function."""
