"""The zygote: forks processes of containers for the warden, with the warden as their parent, and nothing else.

Descriptors at birth: 2 error log, 3 the warden. A request is one message on a SOCK_SEQPACKET socket:

    {"key": "3f….1", "flags": 2080505856, "group": true, "more": false}
        status, plan, stdin, stdout, stderr, place, [v2 group], tasks (v1) …
    {"key": "3f….1", "pid": 4711}                            pidfd, mnt, ipc, net, … (the answer)
    {"key": "3f….1", "stage": "clone3", "errno": 12, "text": "…", "exit_code": 125}

`place` is a mount of devpts; for one process more in a container (`more`) a pidfd of the first one, whose pid namespace
the child is born into. (The other namespaces it enters itself: not even for a moment are we in one of a container.)

The child speaks on its status socket: `X` when it is about to execute, JSON like the last line when it has failed; the
socket closes with the exec. It executes only after it was told `G`; if the warden (and the keeper, which has the other
end too) is gone before that, it ends.
"""

import array
import errno
import fcntl
import gc
import json
import os
import resource
import sys
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_SEQPACKET, SOL_SOCKET, socket

from adapters.kernel import apply, syscalls
from adapters.kernel.supervisor import faults, handover, process
from domain.errors import KernelError
from domain.failpoints import failpoint

WARDEN = 3
GO, EXECUTING = b"G", b"X"
NAMESPACES = ("mnt", "ipc", "net")
"""Namespaces whose descriptors are kept: a dying first process is then waited for in 0.5 ms instead of 7."""

_FLAGS = syscalls.CLONE_PARENT | syscalls.CLONE_CLEAR_SIGHAND
_STATUS, _PLACE, _FIRST_TASKS = 3, 4, 5
_SET_UP_FAILED = 125
_LONGEST_TEXT = 4096


def main(arguments: list[str]) -> None:
    """Serve the warden until it is gone."""
    options = dict(argument.split("=", 1) for argument in arguments)
    faults.arm(options["failpoints"], int(options["generation"]))
    os.set_inheritable(WARDEN, False)
    _restore_files_limit(int(options["files"]))
    host_mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    _private_mounts()
    process.forget_internal_signals()
    warden = socket(AF_UNIX, SOCK_SEQPACKET, fileno=WARDEN)
    gc.collect()
    gc.freeze()
    gc.disable()  # no collection in a child: it would copy pages that are shared with us
    while True:
        parcel = handover.receive(warden)
        if parcel is None:
            sys.exit(0)
        _serve(warden, parcel, host_mounts)


def _serve(warden: socket, parcel: handover.Parcel, host_mounts: int) -> None:
    request = json.loads(parcel.letter + b"\0".join(parcel.fields))
    status, plan, stdin, stdout, stderr, place, *rest = parcel.fds
    group = rest.pop(0) if request["group"] else -1
    answer: dict[str, object] = {"key": request["key"]}
    fds: list[int] = []
    failpoint("zygote.before-clone")
    try:
        steps = json.loads(_contents(plan))  # here, where the pages are warm: the child would take 0.2 ms longer
        pid, pidfd = _clone(request["flags"], group, place if request["more"] else -1)
    except ValueError as error:
        answer |= {"stage": "plan", "errno": errno.EINVAL, "text": str(error), "exit_code": _SET_UP_FAILED}
    except KernelError as error:
        answer |= {"stage": error.stage, "errno": error.errno, "text": error.message, "exit_code": _SET_UP_FAILED}
    else:
        if pid == 0:
            # One more process is born among the container's: nothing of the host's may be in its hands.
            own = () if request["more"] else (host_mounts,)
            _child(steps, (stdin, stdout, stderr, status, place, *rest, *own), tasks=len(rest))
        answer["pid"] = pid
        fds = [pidfd, *([] if request["more"] else _namespaces(pid))]
    handover.close(parcel.fds)
    failpoint("zygote.after-clone")
    rights = [(SOL_SOCKET, SCM_RIGHTS, array.array("i", fds).tobytes())] if fds else []
    warden.sendmsg([json.dumps(answer).encode()], rights)
    handover.close(fds)


def _clone(flags: int, group: int, first: int) -> tuple[int, int]:
    """(pid, pidfd) of the child, (0, -1) in it; `first` is a pidfd whose pid namespace it is born into, -1 for none."""
    if first < 0:
        return syscalls.clone3(flags | _FLAGS, exit_signal=0, cgroup=group, pidfd=True)
    ours = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    syscalls.setns(first, syscalls.CLONE_NEWPID)  # of children to come: we ourselves stay where we are
    try:
        born = syscalls.clone3(flags | _FLAGS, exit_signal=0, cgroup=group, pidfd=True)
    except KernelError:
        _leave_pids(ours)
        raise
    if born[0]:
        _leave_pids(ours)
    return born


def _leave_pids(ours: int) -> None:
    """If that fails we must not have another child."""
    try:
        syscalls.setns(ours, syscalls.CLONE_NEWPID)
    except KernelError as error:
        raise SystemExit(f"in a foreign pid namespace: {error}") from error
    os.close(ours)


def _namespaces(pid: int) -> list[int]:
    """Descriptors that keep the child's namespaces; fewer if it is gone already."""
    fds: list[int] = []
    try:
        fds.extend(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in NAMESPACES)
    except FileNotFoundError:
        handover.close(fds)
        return []
    return fds


def _child(steps: list[list[object]], fds: tuple[int, ...], *, tasks: int) -> None:
    """In the new process: never returns. `fds` become 0, 1, 2, …"""
    try:
        _arrange(steps, fds, tasks)
    except BaseException as error:
        _report("set-up", getattr(error, "errno", 0) or errno.EIO, str(error), _SET_UP_FAILED)
    os._exit(_SET_UP_FAILED)


def _arrange(steps: list[list[object]], fds: tuple[int, ...], tasks: int) -> None:
    for number, fd in enumerate([_clear(fd) for fd in fds]):
        os.dup2(fd, number)
    os.set_inheritable(_STATUS, False)
    syscalls.close_range(len(fds))
    failpoint("zygote.child")
    behind = _FIRST_TASKS + tasks
    context = apply.Context(tasks=range(_FIRST_TASKS, behind), status=_STATUS, place=_PLACE, ready=_wait_for_go,
                            host_mounts=behind if behind < len(fds) else -1)
    try:
        apply.run_child(steps, context)
    except apply.Failure as failure:
        _report(failure.stage, failure.errno, failure.text, failure.exit_code)
        os._exit(failure.exit_code)


def _contents(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def _clear(fd: int) -> int:
    """A copy above every number that is about to be given away."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64)


def _wait_for_go() -> None:
    """Called right before the exec: only reads and writes are certain to be allowed by now."""
    if os.read(_STATUS, 1) != GO:
        os._exit(_SET_UP_FAILED)
    os.write(_STATUS, EXECUTING)


def _report(stage: str, number: int, text: str, exit_code: int) -> None:
    error = {"stage": stage, "errno": number, "text": text[:_LONGEST_TEXT], "exit_code": exit_code}
    try:
        os.write(_STATUS, json.dumps(error).encode())
    except OSError:
        os._exit(_SET_UP_FAILED)  # nobody is there to be told


def _restore_files_limit(soft: int) -> None:
    """Containers inherit the daemon's limit, not the one the warden has raised for itself."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def _private_mounts() -> None:
    """An own mount namespace: what is mounted on the host arrives here, nothing goes back."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_SLAVE)
