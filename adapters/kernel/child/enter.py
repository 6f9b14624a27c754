"""The beginning: the engine's marks off, control groups, namespaces."""

import _signal  # type: ignore[import-not-found]  # the module behind `signal`, whose wrappers cost the child 0.4 ms
import _socket
import os
from collections.abc import Callable
from errno import ESTALE

from adapters.kernel import syscalls
from adapters.kernel.child.context import Context

_LENT = {"pid": syscalls.CLONE_NEWPID, "ipc": syscalls.CLONE_NEWIPC}


def _opaque(_: Context) -> None:
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)


def _reset_process(_: Context, umask: int, oom_score_adj: int) -> None:
    """Python ignores SIGPIPE and SIGXFSZ, and what is ignored stays so across exec; handlers do not. Lowering the score
    needs CAP_SYS_RESOURCE; a host that lacks it keeps the score it had, unless another was asked for."""
    os.umask(umask)
    for number in range(1, _signal.NSIG):
        if _signal.getsignal(number) == _signal.SIG_IGN:
            _signal.signal(number, _signal.SIG_DFL)
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    if os.getpriority(os.PRIO_PROCESS, 0) != 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(oom_score_adj).encode())
    except PermissionError:
        if oom_score_adj:
            raise
    finally:
        os.close(fd)


def _join_groups(context: Context) -> None:
    """"0" is the writer itself; through `tasks` this takes 0.05 ms, through cgroup.procs an RCU grace period of 10."""
    for fd in context.tasks:
        os.write(fd, b"0")


def _unshare(_: Context, flags: int) -> None:
    syscalls.unshare(flags)


def _enter_namespaces(context: Context, flags: int) -> None:
    syscalls.setns(context.place, flags)


def _share_namespace(context: Context, kind: str) -> None:
    syscalls.setns(context.shared[kind], _LENT[kind])


def waiting(path: str, inode: int) -> int:
    """A descriptor of the namespace that was meant, or an error: its maker may have died, and its number may be
    somebody else's."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if os.fstat(fd).st_ino != inode or syscalls.fstatfs_type(fd) != syscalls.NSFS_MAGIC:
        os.close(fd)
        raise syscalls.failed("setns", path, ESTALE)
    return fd


def _enter_network(_: Context, path: str, inode: int) -> None:
    fd = waiting(path, inode)
    try:
        syscalls.setns(fd, syscalls.CLONE_NEWNET)
    finally:
        os.close(fd)


def _loopback_up(_: Context) -> None:
    handle = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        syscalls.interface_up(handle.fileno(), "lo")
    finally:
        handle.close()


def _private_mounts(_: Context) -> None:
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)


STEPS: dict[str, Callable[..., None]] = {
    "Opaque": _opaque,
    "ResetProcess": _reset_process,
    "JoinGroups": _join_groups,
    "Unshare": _unshare,
    "EnterNamespaces": _enter_namespaces,
    "ShareNamespace": _share_namespace,
    "EnterNetwork": _enter_network,
    "LoopbackUp": _loopback_up,
    "PrivateMounts": _private_mounts,
}
"""Step name → function."""
