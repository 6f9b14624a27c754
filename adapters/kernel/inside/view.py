"""How the small process comes to see a container's files and nothing else. Standard library only.

Of whatever it is to see it takes a detached copy of the mounts: without devices, set-user-ID and programs, read-only if
nothing is to be written. That becomes its root. So a link can lead only to another place of the container, a device
that was swapped in cannot be opened, and what is mounted meanwhile changes nothing. Two views:

- of a running container its own mount namespace, entered through the pidfd of its first process; `whole` with all that
  is mounted in it, else its root file system alone;
- of one that does not run an overlay of its own, assembled in a private namespace, with what will be mounted in it.
"""

import os
import resource
import stat
from collections.abc import Sequence
from errno import ENOENT, ESRCH
from typing import NamedTuple

from adapters.kernel import syscalls
from adapters.kernel.child.context import Context
from adapters.kernel.child.fill import is_unfilled
from adapters.kernel.child.paths import place_for
from adapters.kernel.child.root import STEPS as ROOT_STEPS
from adapters.kernel.child.root import source_tree
from adapters.kernel.supervisor import process
from adapters.kernel.syscalls import CLONE_NEWNS, CLONE_NEWUSER, failed
from domain.errors import KernelError

_OPTIONS = 4095  # mount(2) takes one page
_DESCRIPTORS = 8192
_INSIDE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
# CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID MKNOD SETFCAP: what making and reading files of anybody needs.
_CAPABILITIES = 0b11111 | 1 << 27 | 1 << 31
_PLAIN = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOEXEC


def of_running(pid: int, start_time: int, *, whole: bool, writable: bool) -> None:
    """Enter the mount namespace of the process that has this pid and began then. Raises KernelError."""
    pidfd = os.pidfd_open(pid)
    try:
        if process.start_time(pid) != start_time:  # looked at while the pidfd keeps the number from being given again
            raise failed("pidfd_open", "", ESRCH)
        users = _other_users(pid)
        syscalls.setns(pidfd, CLONE_NEWNS)
    finally:
        os.close(pidfd)
    _become_root("/", whole=whole, writable=writable)
    if users >= 0:  # last: it takes the rights over mounts
        syscalls.setns(users, CLONE_NEWUSER)
        os.close(users)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)


def _other_users(pid: int) -> int:
    """The user namespace of a process, -1 if it is ours. In it the container's files have the ids that it sees."""
    users = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    if not os.path.samestat(os.fstat(users), os.stat("/proc/self/ns/user")):
        return users
    os.close(users)
    return -1


class HostMount(NamedTuple):
    """A directory or file of the host at a place of the container, or what is `below` it. `volume` is the directory of
    a volume that begins with what the image has, if it is empty at the first start of a container, which a `fresh` one
    has before it."""

    source: str
    target: str
    read_only: bool
    recursive: bool
    below: str = ""
    volume: str = ""
    fresh: bool = False


def of_resting(
    layer_root: str, layers: Sequence[str], directory: str, *, writable: bool, mounts: Sequence[HostMount] = ()
) -> None:
    """Assemble the file system from the layers (lowest first) and the writable layer in `directory`, with `mounts`
    (parents first). To be written to, one that was never started gets its writable layer now, and the places of its
    mounts. Raises CommandFailed, KernelError, OSError."""
    upper, work = f"{directory}/upper", f"{directory}/work"
    trees = [(mount, _tree(mount, writable=writable)) for mount in mounts]  # in the host's own namespace
    syscalls.unshare(CLONE_NEWNS)
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    if writable:
        for path, mode in ((directory, 0o700), (upper, 0o755), (work, 0o700)):
            _make_directory(path, mode)
        ROOT_STEPS["OverlayRoot"](Context(), layer_root, layers, upper, work, directory)
        root = directory
    else:
        root = _read_only_overlay(layer_root, layers, upper)
    for mount, tree in trees:
        if tree >= 0:
            _attach(root, mount, tree, make=writable)
        elif writable and mount.volume:
            _make_place(root, mount.target)
    _become_root(root, whole=bool(trees), writable=writable)


def _tree(mount: HostMount, *, writable: bool) -> int:
    """A detached copy of what lies there, -1 if nothing does, or if the next start takes it from the image. Raises
    KernelError."""
    if mount.volume and is_unfilled(mount.volume, first=mount.fresh):
        return -1
    deep = syscalls.AT_RECURSIVE if mount.recursive else 0
    try:
        tree = source_tree(mount.source, mount.below, syscalls.OPEN_TREE_CLONE | deep)
    except KernelError as error:
        if error.errno == ENOENT:
            return -1
        raise
    attributes = _PLAIN | (syscalls.MOUNT_ATTR_RDONLY if mount.read_only or not writable else 0)
    syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH | deep, attributes, propagation=syscalls.MS_PRIVATE)
    return tree


def _attach(root: str, mount: HostMount, tree: int, *, make: bool) -> None:
    """Where the container's links lead, which is below `root`. A place that is missing is made if something is to be
    written; to one who only reads it is not there. Raises CommandFailed, KernelError, OSError."""
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        place = _place(top, mount.target, directory=stat.S_ISDIR(os.fstat(tree).st_mode), make=make)
        if place >= 0:
            syscalls.move_mount(tree, place, path=mount.target)
            os.close(place)
    finally:
        os.close(top)
        os.close(tree)


def _make_place(root: str, target: str) -> None:
    """Of a volume that the next start fills: it takes what is brought there now, too. Raises CommandFailed,
    KernelError, OSError."""
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(place_for(target, directory=True, top=top))
    finally:
        os.close(top)


def _place(top: int, target: str, *, directory: bool, make: bool) -> int:
    """What is at `target`; -1 if nothing is and nothing is to be made."""
    if make:
        return place_for(target, directory=directory, top=top)
    try:
        return syscalls.openat2(top, target, os.O_PATH, _INSIDE)
    except KernelError as error:
        if error.errno != ENOENT:
            raise
        return -1


def _read_only_overlay(layer_root: str, layers: Sequence[str], upper: str) -> str:
    """Where it is: on the directory of the layers, which nobody else sees. The writable layer is the uppermost of those
    that are only read: meanwhile it may be mounted elsewhere."""
    os.chdir(layer_root)
    lower = list(reversed(layers))
    if os.path.isdir(upper):
        top = os.open(upper, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        lower.insert(0, f"/proc/self/fd/{top}")
    if len(lower) == 1:
        return f"{layer_root}/{lower[0]}"  # an overlay needs two
    options = f"lowerdir={':'.join(lower)},index=off,redirect_dir=off,metacopy=off"
    if len(options) <= _OPTIONS:
        syscalls.mount("overlay", layer_root, "overlay", syscalls.MS_RDONLY, options)
        return layer_root
    fs = syscalls.fsopen("overlay")
    for layer in lower:
        syscalls.fsconfig(fs, syscalls.FSCONFIG_SET_STRING, "lowerdir+", layer)
    syscalls.fsconfig(fs, syscalls.FSCONFIG_CMD_CREATE)
    tree = syscalls.fsmount(fs, syscalls.MOUNT_ATTR_RDONLY)
    place = os.open(layer_root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.move_mount(tree, place, path=layer_root)
    return layer_root


def _become_root(path: str, *, whole: bool, writable: bool) -> None:
    recursive = syscalls.AT_RECURSIVE if whole else 0
    tree = syscalls.open_tree(syscalls.AT_FDCWD, path, syscalls.OPEN_TREE_CLONE | recursive)
    attributes = _PLAIN if writable else _PLAIN | syscalls.MOUNT_ATTR_RDONLY
    syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH | recursive, attributes)
    os.fchdir(tree)
    os.chroot(".")
    os.close(tree)


def confine() -> None:
    """Give up every right that files do not need, and the possibility to leave this root again."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, _DESCRIPTORS), min(hard, _DESCRIPTORS)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for capability in range(64):
        if not _CAPABILITIES >> capability & 1:
            try:
                syscalls.prctl(syscalls.PR_CAPBSET_DROP, capability)
            except KernelError:
                break  # the kernel knows no more of them
    held = _CAPABILITIES & syscalls.capget()[1]
    syscalls.capset(held, held, 0)


def _make_directory(path: str, mode: int) -> None:
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    os.chmod(path, mode)
