"""A user namespace of the container's own: made first, entered last.

In between, files are made and mounts done with the ids of its root but the rights of the host's. On disk the
container's files have the ids that it sees itself: layers and the writable layer are shown through mounts that map ids
(since 5.19 an overlay takes such). So a writable layer is committed, copied and exported like any other, and the range
may be another one at the next start. Its root owns all its namespaces but those of mounts and of pids: nobody inside
can mount, whatever his rights.
"""

import os
import stat
from collections.abc import Callable, Sequence
from errno import EIO

from adapters.kernel import settings, syscalls, terminals
from adapters.kernel.child import enter
from adapters.kernel.child.context import Context

_OWNED = (("ipc", syscalls.CLONE_NEWIPC), ("uts", syscalls.CLONE_NEWUTS), ("net", syscalls.CLONE_NEWNET))


def _user_namespace(context: Context, first: int, count: int, flags: int, path: str, inode: int) -> None:
    """A short-lived process makes it: who makes one is in it, and has no right any more to say what it maps."""
    given = enter.waiting(path, inode) if path else -1
    told, tell = os.pipe()
    waiting, release = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(release)
        _make(tell, waiting, flags, given)
    os.close(tell)
    os.close(waiting)
    try:
        place = _place(os.read(told, 64))
        for name in ("uid_map", "gid_map") if given < 0 else ():
            settings.write(f"{place}/{name}", f"0 {first} {count}")
        context.user = os.open(f"{place}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        for name, flag in _OWNED:
            if flags & flag:
                _join(f"{place}/ns/{name}", flag)
    finally:
        os.close(told)
        os.close(release)
        os.waitpid(pid, 0)
        if given >= 0:
            os.close(given)
    _work_as(first)


def _make(tell: int, waiting: int, flags: int, given: int) -> None:
    """Make the namespaces, but for the user namespace if one is given; say which number the host's /proc has for us,
    and live until they were taken. An error is told as a negative number."""
    try:
        if given >= 0:
            syscalls.setns(given, syscalls.CLONE_NEWUSER)
        syscalls.unshare(flags if given >= 0 else syscalls.CLONE_NEWUSER | flags)
        os.write(tell, os.readlink(b"/proc/self"))
        os.read(waiting, 1)
    except BaseException as error:
        os.write(tell, b"-%d" % (getattr(error, "errno", 0) or EIO))
    finally:
        os._exit(0)


def _place(answer: bytes) -> str:
    if not answer.isdigit():
        raise syscalls.failed("unshare", "user namespace", int(answer[1:] or EIO))
    return f"/proc/{int(answer)}"


def _join(path: str, flag: int) -> None:
    namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(namespace, flag)
    finally:
        os.close(namespace)


def _work_as(first: int) -> None:
    """New files belong to its root; the capabilities, which the kernel would take away with the id, stay."""
    syscalls.prctl(syscalls.PR_SET_SECUREBITS, syscalls.SECBIT_NO_SETUID_FIXUP)
    os.setegid(first)
    os.seteuid(first)


def _map_ids(context: Context, paths: Sequence[str]) -> None:
    """A copy of the mount on top of the place, in this mount namespace alone."""
    for path in paths:
        tree = syscalls.open_tree(syscalls.AT_FDCWD, path, syscalls.OPEN_TREE_CLONE)
        syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH, syscalls.MOUNT_ATTR_IDMAP, userns_fd=context.user)
        place = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        syscalls.move_mount(tree, place, path=path)
        os.close(place)
        os.close(tree)


def _enter_user_namespace(context: Context, first: int) -> None:
    """The streams are given away before: inside, nobody can do anything with what belongs to nobody there."""
    for fd in (0, 1, 2):
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.fchown(fd, first, first)
        elif os.isatty(fd):
            os.fchown(fd, first, first + terminals.TTY_GROUP)
    syscalls.setns(context.place if context.user < 0 else context.user, syscalls.CLONE_NEWUSER)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


STEPS: dict[str, Callable[..., None]] = {
    "UserNamespace": _user_namespace,
    "MapIds": _map_ids,
    "EnterUserNamespace": _enter_user_namespace,
}
"""Step name → function."""
