"""One run: attempt N of a container, from the wish to start it to its grave; what the warden knows about it."""

import fcntl
import json
import os
import socket
from collections.abc import Callable
from typing import Any, Protocol

from adapters.kernel.supervisor import handover, zygote
from adapters.kernel.supervisor.output import PIPE_SIZE, Output
from domain.logs import LOCAL, Keeping, Limits

PREPARING, CLONED, STARTED, ENDED = "preparing", "cloned", "started", "ended"
"""Phases: nothing of it has been executed and nothing has to survive; it has a pid, is set up and waits or executes;
it was executed; its first process is dead and its exit not yet on record."""

_STREAMS = {"stdout": 1, "stderr": 2}


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


class Run:
    """Descriptors are -1 where there is none. `waiters` are to be told about the start."""

    def __init__(self, id: str, attempt: int, directory: str, keeping: Keeping = LOCAL) -> None:
        self.id = id
        self.attempt = attempt
        self.directory = directory
        self.keeping = keeping
        self.phase = PREPARING
        self.group: Group | None = None
        self.pid = self.start_time = 0
        self.stdout = self.stderr = self.status = self.pidfd = -1
        self.namespaces: dict[str, int] = {}
        self.output = Output(directory, attempt, keeping.limits)
        self.waiters: list[Callable[[dict[str, Any]], None]] = []
        self.request: dict[str, Any] = {}
        self.tries = 0
        self.recovered = False
        self.dead_since = 0.0
        self.ended_at = 0
        self.wait_status: int | None = None
        self.oom = False
        self.failure: dict[str, Any] | None = None
        self._childs_ends: list[int] = []

    @property
    def key(self) -> tuple[str, int]:
        """What identifies the run."""
        return self.id, self.attempt

    @property
    def name(self) -> str:
        """The key as one word; also the name of its control group."""
        return f"{self.id}.{self.attempt}"

    @property
    def pipes(self) -> list[tuple[int, int]]:
        """(descriptor, stream) of what is still open."""
        return [(getattr(self, name), stream) for name, stream in _STREAMS.items() if getattr(self, name) >= 0]

    def open_channels(self) -> None:
        """Fresh pipes and a status socket; the child's ends wait for `childs_ends`."""
        status, childs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._childs_ends = [childs.detach()]
        self.status = status.detach()
        for name in _STREAMS:
            reading, writing = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(reading, False)
            _enlarge(reading)
            setattr(self, name, reading)
            self._childs_ends.append(writing)

    def childs_ends(self) -> list[int]:
        """Status socket, stdout, stderr for the child; they stay ours until `close_childs_ends`."""
        return self._childs_ends

    def close_childs_ends(self) -> None:
        """The child has them, or there will be no child."""
        handover.close(self._childs_ends)
        self._childs_ends = []

    def held(self) -> handover.Held:
        """What a successor needs to go on with this run."""
        names = ("stdout", "stderr", "status", "pidfd")
        fds = {name: fd for name in names if (fd := getattr(self, name)) >= 0}
        note = {"id": self.id, "attempt": self.attempt, "logs": self.directory, "log": pack(self.keeping),
                "pid": self.pid, "start": self.start_time, "lost": self.output.lost, "status": self.wait_status}
        return handover.Held(json.dumps(note).encode(), {**fds, **self.namespaces})

    @staticmethod
    def taken_back(held: handover.Held) -> "Run":
        """The run that a former warden has left."""
        note = json.loads(held.note)
        run = Run(note["id"], note["attempt"], note["logs"], unpack(note["log"]) if "log" in note else LOCAL)
        run.pid, run.start_time, run.output.lost = note["pid"], note["start"], note["lost"]
        run.wait_status = note["status"]
        run.recovered = True
        for name, fd in held.fds.items():
            if name in zygote.NAMESPACES:
                run.namespaces[name] = fd
            else:
                setattr(run, name, fd)
        if run.pidfd >= 0:
            run.phase = CLONED if run.status >= 0 else STARTED
        return run

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
        return {"id": self.id, "attempt": self.attempt, "pid": self.pid, "start": self.start_time, "code": code,
                "signal": number, "oom": self.oom, "how": how, "time": self.ended_at, "lost": self.output.lost,
                "dropped": self.output.dropped}


def pack(keeping: Keeping) -> list[Any]:
    """As it travels between processes."""
    return [keeping.driver, *keeping.limits]


def unpack(packed: Any) -> Keeping:
    """The reverse of `pack`. Raises: ValueError for anything else."""
    match packed:
        case ["local" | "json-file" | "none" as driver, int(size), int(files)] if size > 0 and files > 0:
            return Keeping(driver, Limits(size, files))
    raise ValueError("not a way to keep output")


def _enlarge(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    except OSError:
        return  # above /proc/sys/fs/pipe-max-size: 64 KiB do as well
