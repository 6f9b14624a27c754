"""The zygote: forks processes of containers for the warden, with the warden as their parent, and nothing else.

Descriptors at birth: 2 error log, 3 the warden. A request is one message on a SOCK_SEQPACKET socket:

    {"key": "3f….1", "flags": 2080505856, "more": false,
     "fds": ["status", "plan", "stdin", "stdout", "stderr", "place", "tasks0", …]}
    {"key": "3f….1", "pid": 4711}                            pidfd, mnt, ipc, net, … (the answer)
    {"key": "3f….1", "stage": "clone3", "errno": 12, "text": "…", "exit_code": 125}

with descriptors in the order of `fds`: `place` is a mount of devpts; for one process more in a container (`more`) a
pidfd of the first one, whose namespaces it enters. `group` is the version 2 group that it is born into, `tasks…` are
the files of the version 1 groups, `share-pid` and `share-ipc` pidfds of containers whose namespaces it shares. With a
`report` the child is not the process that will run: that is born by it at the end (`adapters.kernel.child.crossing`).

The child speaks on its status socket: `X` when it is about to execute, JSON like the last line when it has failed; the
socket closes with the exec, or before the crossing. It executes only after it was told `G`; if the warden (and the
keeper, which has the other end too) is gone before that, it ends.
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
from adapters.kernel.child import crossing
from adapters.kernel.supervisor import faults, handover, process
from domain.errors import KernelError
from domain.failpoints import failpoint

WARDEN = 3
GO, EXECUTING = b"G", b"X"
NAMESPACES = ("mnt", "ipc", "net")
"""Namespaces whose descriptors are kept: a dying first process is then waited for in 0.5 ms instead of 7."""

_FLAGS = syscalls.CLONE_PARENT | syscalls.CLONE_CLEAR_SIGHAND
_STATUS = 3
_STREAMS = ("stdin", "stdout", "stderr", "status")
_SET_UP_FAILED = 125
_LONGEST_TEXT = 4096


def main(arguments: list[str]) -> None:
    """Serve the warden until it is gone."""
    options = dict(argument.split("=", 1) for argument in arguments)
    faults.arm(options["failpoints"], int(options["generation"]))
    os.set_inheritable(WARDEN, False)
    _restore_files_limit(int(options["files"]))
    host_mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    top = crossing.highest()
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
        _serve(warden, parcel, host_mounts, top)


def _serve(warden: socket, parcel: handover.Parcel, host_mounts: int, top: int) -> None:
    request = json.loads(parcel.letter + b"\0".join(parcel.fields))
    named = dict(zip(request["fds"], parcel.fds, strict=True))
    answer: dict[str, object] = {"key": request["key"]}
    fds: list[int] = []
    failpoint("zygote.before-clone")
    try:
        steps = json.loads(_contents(named.pop("plan")))  # here, where the pages are warm: the child takes 0.2 ms more
        pid, pidfd = syscalls.clone3(request["flags"] | _FLAGS, exit_signal=0, cgroup=named.pop("group", -1),
                                     pidfd=True)
    except ValueError as error:
        answer |= {"stage": "plan", "errno": errno.EINVAL, "text": str(error), "exit_code": _SET_UP_FAILED}
    except KernelError as error:
        answer |= {"stage": error.stage, "errno": error.errno, "text": error.message, "exit_code": _SET_UP_FAILED}
    else:
        if pid == 0:
            if not request["more"]:  # one process more needs nothing of the host
                named["host_mounts"] = host_mounts
            _child(steps, named, top)
        answer["pid"] = pid
        fds = [pidfd, *([] if request["more"] else _namespaces(pid))]
    handover.close(parcel.fds)
    failpoint("zygote.after-clone")
    rights = [(SOL_SOCKET, SCM_RIGHTS, array.array("i", fds).tobytes())] if fds else []
    warden.sendmsg([json.dumps(answer).encode()], rights)
    handover.close(fds)


def _namespaces(pid: int) -> list[int]:
    """Descriptors that keep the child's namespaces; fewer if it is gone already."""
    fds: list[int] = []
    try:
        fds.extend(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in NAMESPACES)
    except FileNotFoundError:
        handover.close(fds)
        return []
    return fds


def _child(steps: list[list[object]], named: dict[str, int], top: int) -> None:
    """In the new process: never returns."""
    try:
        _arrange(steps, named, top)
    except BaseException as error:
        _report("set-up", getattr(error, "errno", 0) or errno.EIO, str(error), _SET_UP_FAILED)
    os._exit(_SET_UP_FAILED)


def _arrange(steps: list[list[object]], named: dict[str, int], top: int) -> None:
    """Every descriptor at its number: the streams, the status socket, then the others, and no more of them."""
    report = crossing.attach(named.pop("report")) if "report" in named else 0
    names = [*_STREAMS, *(name for name in named if name not in _STREAMS)]
    for number, fd in enumerate([_clear(named[name]) for name in names]):
        os.dup2(fd, number)
    os.set_inheritable(_STATUS, False)
    syscalls.close_range(len(names))
    failpoint("zygote.child")
    at = {name: number for number, name in enumerate(names)}
    shared = {name.removeprefix("share-"): number for name, number in at.items() if name.startswith("share-")}
    tasks = [number for name, number in at.items() if name.startswith("tasks")]
    context = apply.Context(tasks=tasks, status=_STATUS, place=at["place"], ready=_wait_for_go,
                            host_mounts=at.get("host_mounts", -1), report=report, top=top, shared=shared)
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
