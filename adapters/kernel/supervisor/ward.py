"""One process that the warden looks after, from the wish to start it to its grave: what both kinds have in common."""

import fcntl
import json
import os
import socket
from collections.abc import Sequence
from errno import ENXIO
from typing import Any, Protocol

from adapters.kernel import terminals
from adapters.kernel.child import crossing
from adapters.kernel.supervisor import handover, process, zygote
from adapters.kernel.supervisor.loop import Timer
from adapters.kernel.supervisor.output import PIPE_SIZE

PREPARING, CLONED, STARTED, ENDED = "preparing", "cloned", "started", "ended"
"""Phases: nothing of it has been executed and nothing has to survive; it has a pid, is set up and waits or executes;
it was executed; it is dead and its exit not yet on record."""

Key = tuple[str, int, str]
"""Container, attempt, and which exec: "" for the first process."""


class Group(Protocol):
    """The control groups of one run, in all hierarchies."""

    v2_fd: int
    tasks: list[int]

    def kill(self) -> None:
        """SIGKILL for everything inside."""

    def populated(self) -> bool:
        """Whether anything lives inside."""

    def pids(self) -> list[int]:
        """What lives inside."""

    def oom_kills(self) -> int:
        """How often memory ran out for something inside."""

    def remove(self) -> None:
        """Delete the groups; OSError EBUSY while something is inside."""

    def close_fds(self) -> None:
        """Close the descriptors that only a start needs."""


class Answer(Protocol):
    """Tells the one who asked; False when nobody is there any more."""

    def __call__(self, message: dict[str, Any], fds: Sequence[int] = ()) -> bool: ...


class Ward:
    """Descriptors are -1 where there is none. `waiters` are to be told about the start.

    `stdin`, `stdout`, `stderr` are our ends of pipes, `terminal` is ours of a terminal and `line` the process's: as
    long as we have that one, too, the terminal does not hang up when the process closes it for a while. As long as
    there is a `report`, `pid` and `pidfd` are those of the process that is to cross into a pid namespace, and what it
    has born there is known when it has ended. `crosses`: it becomes one more process in a pid namespace of others.
    """

    KEPT: tuple[str, ...] = ("stdin", "stdout", "stderr", "terminal", "status", "report", "pidfd")
    """What has to survive us, and is held by the keeper as well."""

    def __init__(self, id: str, attempt: int, exec_id: str = "") -> None:
        self.id = id
        self.attempt = attempt
        self.exec_id = exec_id
        self.phase = PREPARING
        self.crosses = bool(exec_id)
        self.group: Group | None = None
        self.pid = self.start_time = 0
        self.stdin = self.stdout = self.stderr = self.terminal = self.line = self.status = -1
        self.report = self.pidfd = -1
        self.waiters: list[Answer] = []
        self.request: dict[str, Any] = {}
        self.tries = 0
        self.recovered = False
        self.dead_since = 0.0
        self.ended_at = 0
        self.wait_status: int | None = None
        self.oom = False
        self.failure: dict[str, Any] | None = None
        self.deadline: Timer | None = None
        self._childs_ends: dict[str, int] = {}

    @property
    def key(self) -> Key:
        """What identifies it."""
        return self.id, self.attempt, self.exec_id

    @property
    def name(self) -> str:
        """The key as one word."""
        return f"{self.id}.{self.attempt}" + (f"/{self.exec_id}" if self.exec_id else "")

    def open_channels(self, devpts: int) -> None:
        """Fresh pipes, or a terminal of the instance `devpts`, and a status socket; the child's ends wait for
        `childs_ends`. Raises: OSError."""
        status, childs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._childs_ends = {"status": childs.detach()}
        self.status = status.detach()
        if self.crosses:
            self.report = crossing.new_report()
        if "terminal" in self.request:
            if devpts < 0:
                raise OSError(ENXIO, "the container was started by a version without terminals")
            rows, cols = self.request["terminal"]
            self.terminal, line = terminals.open_pair(devpts, rows, cols)
            self._childs_ends |= {"stdin": line, "stdout": line, "stderr": line}
            return
        self._childs_ends["stdin"] = self._open_input()
        for name in ("stdout", "stderr"):
            reading, writing = output_pipe()
            setattr(self, name, reading)
            self._childs_ends[name] = writing

    def _open_input(self) -> int:
        """The child's end; without an input nothing, which it will replace by its own null device."""
        if not self.request.get("stdin"):
            return os.dup(0)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(writing, False)
        self.stdin = writing
        return reading

    def childs_ends(self) -> dict[str, int]:
        """`status`, `stdin`, `stdout`, `stderr` for the child; they stay ours until `close_childs_ends`."""
        return self._childs_ends

    def close_childs_ends(self) -> None:
        """The child has them, or there will be no child."""
        ends, self._childs_ends = self._childs_ends, {}
        handover.close(sorted(set(ends.values())))

    def keep_line(self) -> None:
        """Open the process's end of its terminal for ourselves, too."""
        if self.terminal >= 0 and self.line < 0:
            self.line = terminals.peer(self.terminal)

    def held(self) -> handover.Held:
        """What a successor needs to go on with it."""
        fds = {name: fd for name in self.KEPT if (fd := getattr(self, name)) >= 0}
        return handover.Held(json.dumps(self._note()).encode(), fds)

    def _note(self) -> dict[str, Any]:
        return {"id": self.id, "attempt": self.attempt, "exec": self.exec_id, "pid": self.pid,
                "start": self.start_time, "status": self.wait_status}

    def take_back(self, note: dict[str, Any], fds: dict[str, int]) -> None:
        """Be what a former warden has left."""
        self.pid, self.start_time, self.wait_status = note["pid"], note["start"], note["status"]
        self.recovered = True
        for name, fd in fds.items():
            setattr(self, name, fd)
        self.crosses = self.crosses or self.report >= 0
        if self.pidfd >= 0:
            self.phase = CLONED if self.status >= 0 or self.report >= 0 else STARTED

    def open_fds(self) -> list[int]:
        """Everything but the pidfd, to be closed at the end; they are no longer ours then."""
        names = [name for name in (*self.KEPT, "line") if name != "pidfd" and getattr(self, name) >= 0]
        fds = [getattr(self, name) for name in names]
        for name in names:
            setattr(self, name, -1)
        return fds

    def adopt(self, pid: int) -> None:
        """Be the process that was born by the one we had, which has ended. Its parent is that one's: we, or the keeper
        if a former warden has started it. The keeper may have reaped it already, and then there is no pidfd: its number
        is nobody's, or that of a stranger."""
        self.pid, self.pidfd = pid, -1
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        if process.parent(pid) not in (os.getpid(), os.getppid()):
            return os.close(pidfd)
        self.pidfd, self.start_time = pidfd, process.start_time(pid)

    def send_go(self) -> None:
        """Let the child execute; a second time does no harm."""
        try:
            os.write(self.status, zygote.GO)
        except OSError:
            return  # it is dead, and that will be seen

    def read_status(self) -> tuple[bool, dict[str, Any] | None]:
        """(it was about to execute, its complaint), once the child's end is closed."""
        executing, complaint = False, None
        with socket.socket(fileno=os.dup(self.status)) as channel:
            while True:
                try:
                    message = channel.recv(1 << 16, socket.MSG_DONTWAIT)
                except ConnectionResetError:
                    continue  # it has not read our "go"; what it has said is still there
                except BlockingIOError:
                    break
                if not message:
                    break
                if message == zygote.EXECUTING:
                    executing = True
                else:
                    complaint = json.loads(message)
        return executing, complaint

    def exit(self, how: str = "") -> dict[str, Any]:
        """The record of how it ended."""
        status = self.wait_status
        number = os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else 0
        code = -1 if status is None else 128 + number if number else os.WEXITSTATUS(status)
        if not how:
            how = "unknown" if status is None else "oom" if self.oom and number == 9 else "signal" if number else "self"
        return {"id": self.id, "attempt": self.attempt, **({"exec": self.exec_id} if self.exec_id else {}),
                "pid": self.pid, "start": self.start_time, "code": code, "signal": number, "oom": self.oom, "how": how,
                "time": self.ended_at}


def output_pipe() -> tuple[int, int]:
    """(reading end, which does not block, writing end) of a pipe with much room."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reading, False)
    _enlarge(reading)
    return reading, writing


def _enlarge(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    except OSError:
        return  # above /proc/sys/fs/pipe-max-size: 64 KiB do as well
