"""The kernel's side of containers."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from domain.network.setup import Place
from domain.ports.logs import LogFrame
from domain.resources import Resources
from domain.runtime.control import Control
from domain.spec import ContainerSpec, ExecSpec

NO_FILES: Mapping[str, str] = MappingProxyType({})
"""No files of its own."""


@dataclass(frozen=True, slots=True)
class StartedProcess:
    """The first process of a container: `start_time` in clock ticks since boot identifies the pid's owner."""

    pid: int
    start_time: int
    cgroup: str


@dataclass(frozen=True, slots=True)
class Victim:
    """A process that was killed for lack of memory; the name is its own choice."""

    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class MemoryKills:
    """So many processes of run `attempt` were killed for lack of memory up to now; `victims` are the last ones of them
    whose names are known, oldest first."""

    id: str
    attempt: int
    kills: int
    victims: tuple[Victim, ...] = ()


@dataclass(frozen=True, slots=True)
class ExitReport:
    """How the first process of attempt `attempt` of container `id` ended; `time` in ns since the epoch.

    `code` is the wait status as a shell shows it (128 + signal for signals); -1 when nobody knows. `how` is `self`,
    `signal`, `oom`, `reboot` or `unknown`. With an `exec_id` it is that process which ended, not the first one.
    `log_dropped` bytes of the container's output, of this run and earlier ones, were deleted by rotation up to then,
    `log_lost` of this run could not be stored at all. `kills` are those for lack of memory, if there were any.
    """

    id: str
    attempt: int
    pid: int
    start_time: int
    code: int
    signal: int
    oom: bool
    how: str
    time: int
    exec_id: str = ""
    log_dropped: int = 0
    log_lost: int = 0
    kills: MemoryKills | None = None


class Input(Protocol):
    """The input of a process, and its terminal if it has one. Several may be open on one process at a time."""

    async def write(self, data: bytes) -> None:
        """Returns when the kernel has taken all of it, which may mean waiting for a process that does not read.

        Raises: Refused when the input was ended or its process is gone.
        """

    async def end(self) -> None:
        """End the input for good, for every client: the process reads end of file. Nothing on a terminal, where that
        is a byte (^D)."""

    async def resize(self, rows: int, cols: int) -> None:
        """Tell the terminal its size (the kernel sends SIGWINCH); without a terminal nothing happens."""

    def close(self) -> None:
        """Let go of it; the process does not notice."""


class Watch(Protocol):
    """One who wants to know when a container writes."""

    async def bell(self) -> None:
        """Returns as soon as the container may have written something since the last time."""

    def ring(self) -> None:
        """Let `bell` return as if it had."""

    def hold(self, position: int | None) -> None:
        """From `position` on the watcher still needs the output; None: it needs nothing, take no care of it."""


class Runtime(Protocol):
    """Processes of containers. `key` of a run is (container id, attempt)."""

    async def start(
        self, id: str, attempt: int, spec: ContainerSpec, env: Sequence[str], layers: Sequence[str],
        *, size: tuple[int, int] = (0, 0), place: Place | None = None, files: Mapping[str, str] = NO_FILES
    ) -> StartedProcess:
        """Start the first process and return once it was executed. Twice with one key does the thing once.

        `size` is that of its terminal at first: rows and columns, zeros if nobody knows. `place` is its network, made
        by a `NetworkDriver`; without one `spec.network` says. `files` are to be found in it besides the usual ones, or
        instead of them: path → text.

        Raises: CommandFailed (126/127/125), KernelError, Unavailable. After an error nothing of the attempt is left.
        """

    async def exec(
        self, id: str, attempt: int, exec_id: str, exec: ExecSpec, spec: ContainerSpec, env: Sequence[str],
        *, size: tuple[int, int] = (0, 0)
    ) -> StartedProcess:
        """Start one more process in the container that run `attempt` is, with its confinement; return once it was
        executed. Twice with one `exec_id` does the thing once. Its end is reported like that of a first process.

        `env` is the container's environment with the exec's own on top. Raises: CommandFailed (126/127/125),
        NotFound (the run is over), KernelError, Unavailable.
        """

    def exec_output(self, id: str, exec_id: str) -> AsyncIterator["LogFrame"]:
        """What the process writes, to the one who asks first, until its end; it waits in the kernel's pipes, and so
        does the process in the end, for a taker who dawdles. What nobody asks for within some ten seconds, what a
        taker leaves who stops early, and all that comes when this daemon is gone, is dropped. Raises: NotFound."""

    async def exec_signal(self, id: str, exec_id: str, signal: int) -> None:
        """Send to that process; KILL reaches all of its process group, what it has started there as well. Raises
        NotFound when it has ended."""

    async def execs(self) -> dict[str, frozenset[str]]:
        """All live execs: container id → exec ids."""

    async def input(self, id: str, exec_id: str = "") -> Input:
        """The input of the first process, or of an exec. Raises: NotFound (it has ended), Refused (it was started
        without an input and without a terminal)."""

    async def signal(self, id: str, signal: int) -> None:
        """Send to the first process. Raises NotFound when it has ended."""

    async def kill_all(self, id: str) -> None:
        """SIGKILL for every process of the container, also frozen ones; no error when there is none."""

    async def freeze(self, id: str) -> None:
        """Returns when the kernel reports frozen. Raises NotFound, KernelError."""

    async def thaw(self, id: str) -> None:
        """Returns when every process runs again."""

    async def running(self) -> dict[str, tuple[int, StartedProcess]]:
        """All live first processes: container id → (attempt, process)."""

    async def place(self, id: str) -> Place:
        """The network that the first process of a container is in. Raises: NotFound when it does not run."""

    async def exits(self) -> Sequence[ExitReport]:
        """Exits that were reported and not acknowledged."""

    def on_exit(self, listener: Callable[[ExitReport], Awaitable[None]]) -> None:
        """Call `listener` for every exit, at least once, until acknowledged."""

    def on_memory_kills(self, listener: Callable[[MemoryKills], Awaitable[None]]) -> None:
        """Call `listener` when the kernel has killed in a container that lives on; sooner or later for every kill, and
        again for those of a time when nobody listened."""

    async def acknowledge(self, report: ExitReport) -> None:
        """The exit is in the log: forget it."""

    def watch(
        self, id: str, *, hold: int | None = None, with_start: bool = False
    ) -> AbstractAsyncContextManager[Watch]:
        """Hear the bell of a container, which need not exist yet; `with_start`: it begins with its next start.

        From position `hold` on (see `LogFrame`) nothing of its output is deleted by rotation, until the watch ends or
        lets go, or this daemon ends; where that takes more room than is allowed, the container waits.
        """

    async def remove(self, id: str) -> None:
        """Delete every trace: cgroups, writable layer. Twice is fine. Raises KernelError, naming the residue."""

    async def strays(self, known: set[str]) -> Sequence[str]:
        """Kill and delete what lies under our roots and belongs to no container in `known`; returns what was found."""

    async def check(self, spec: ContainerSpec) -> None:
        """Raises: InvalidValue for what a container needs of this host and will not find."""

    async def control(self, *, disks: bool = False) -> Control:
        """What the control groups of this host can limit; with `disks` also whether any of its disks heeds weights."""

    async def limit(self, id: str, before: Resources, after: Resources) -> None:
        """Change the limits of a container that runs; nothing for one that does not. Twice is fine.

        Raises: KernelError, naming what the kernel refuses; then the limits are those of `before`.
        """

    async def processes(self, id: str) -> Sequence[int]:
        """Host pids of all processes of the container."""

    async def rewrite_hosts(self, id: str, gone: frozenset[str], new: tuple[str, ...]) -> None:
        """Take these lines out of /etc/hosts of a container that runs, and put those in that it lacks; whatever else is
        there stays. Twice is fine. Raises KernelError."""

    async def writable_size(self, id: str) -> int:
        """Apparent bytes in the writable layer."""
