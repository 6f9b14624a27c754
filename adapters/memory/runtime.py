"""A Runtime without processes: what a command does is looked up in a table; the same wishes, the same answers.

    MemoryRuntime({"web": Behaviour(lasts=True, handles=frozenset({15}))})

Commands it knows by itself, as a busybox has them: `true`, `false`, `echo`, `sh -c "exit N"`, `cat`, which writes what
it reads until its input ends, and `sleep`, which lasts. Like every first process without handlers these only hear KILL
there; as an exec any signal ends them. Anything else is not found (127). Pids, times and start times count upwards, so
a test sees the same numbers each time.

What first processes write is in `written`, what execs write goes to whoever asks. A terminal is a stream without
settings: its echo and its line discipline are not played, but for ^D, which ends a command that reads.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from errno import EBUSY

from domain.errors import CommandFailed, InvalidValue, KernelError, LadingError, NotFound, Refused
from domain.network.files import changed_hosts
from domain.network.setup import Place
from domain.ports.logs import LogFrame
from domain.ports.runtime import NO_FILES, ExitReport, MemoryKills, StartedProcess
from domain.resources import Resources
from domain.runtime.control import Control
from domain.runtime.request import cannot_join
from domain.spec import ContainerSpec, ExecSpec, shared_namespaces

log = logging.getLogger(__name__)
KILL = 9
END_OF_INPUT = b"\x04"
PIPE_SIZE = 1 << 16
CONTROL = Control(
    versions=dict.fromkeys(("cpu", "cpuset", "io", "memory", "pids"), 2),
    files=frozenset({"cpu.max", "cpu.weight", "cpuset.cpus", "cpuset.mems", "io.max", "io.weight", "memory.low",
                     "memory.max", "memory.swap.max", "pids.max"}),
    processors=frozenset(range(4)),
    nodes=frozenset({0}),
)
_IGNORED = frozenset({0, 17, 18, 23, 28})  # CHLD, CONT, URG, WINCH: what a process without a handler does not notice
_RETRY_PAUSE = 0.01
_HEXADECIMAL = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a command does: fail to start, end at once with `code`, or last until KILL or a signal that it `handles`.

    It `says` something at first; one that `echoes` lasts as long as it has an input, and writes what it reads.
    """

    code: int = 0
    lasts: bool = False
    handles: frozenset[int] = frozenset()
    fails: LadingError | None = None
    size: int = 0
    says: bytes = b""
    echoes: bool = False


@dataclass(slots=True)
class _Process:
    """`unread` counts the bytes that wait in its input, `guest_of` is the container in whose pid namespace it is;
    `changed` is set whenever one who waits should look again."""

    process: StartedProcess
    behaviour: Behaviour
    tty: bool = False
    readable: bool = False
    ended: bool = False
    terminal_size: tuple[int, int] = (0, 0)
    alive: bool = True
    frozen: bool = False
    unread: int = 0
    frames: list[LogFrame] = field(default_factory=list)
    taken: bool = False
    guest_of: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class MemoryRuntime:
    """See `domain.ports.Runtime`. It outlives daemons as the warden does: give the same object to the next one."""

    def __init__(self, behaviours: Mapping[str, Behaviour] | None = None) -> None:
        self._behaviours = dict(behaviours or {})
        self._runs: dict[tuple[str, int], _Process] = {}
        self._execs: dict[tuple[str, int, str], _Process] = {}
        self._exits: dict[tuple[str, int, str], ExitReport] = {}
        self._sizes: dict[str, int] = {}
        self.short: Callable[[MemoryKills], Awaitable[None]] | None = None
        self.limits: dict[str, Resources] = {}
        self.unwritable: set[str] = set()
        self.absent: set[str] = set()
        self._pids = itertools.count(1000)
        self._ticks = itertools.count(1)
        self._listener: Callable[[ExitReport], Awaitable[None]] | None = None
        self._telling: dict[tuple[str, int, str], asyncio.Task[None]] = {}
        self.watches: dict[str, list[MemoryWatch]] = {}
        self._lost: Callable[[], Awaitable[None]] | None = None
        self.starts: list[tuple[str, int]] = []
        self.places: dict[tuple[str, int], Place | None] = {}
        """Which network each run was given."""
        self.files: dict[str, Mapping[str, str]] = {}
        """Container id → files that depend on its network, as of its last start."""
        self.environments: dict[str, tuple[str, ...]] = {}
        """Container id → its variables then."""
        self.executed: list[tuple[str, str, ExecSpec, tuple[str, ...]]] = []
        """(container id, exec id, what was asked for, environment) of each exec that was begun."""
        self.written: dict[str, list[LogFrame]] = {}
        """Container id → what its first processes have written, oldest first."""

    async def start(self, id: str, attempt: int, spec: ContainerSpec, env: Sequence[str], layers: Sequence[str],
                    *, size: tuple[int, int] = (0, 0), place: Place | None = None, files: Mapping[str, str] = NO_FILES
                    ) -> StartedProcess:
        """See the port."""
        known = self._runs.get((_checked(id), attempt))
        if known is not None:
            return known.process
        for kind, lender in shared_namespaces(spec).items():
            if not list(self._living(lender)):
                raise CommandFailed(cannot_join(kind, lender), exit_code=125)
        run = self._begin(f"{id}.{attempt}", spec.argv, tty=spec.tty, stdin=spec.stdin, size=size)
        run.guest_of = shared_namespaces(spec).get("pid", "")
        self._runs[id, attempt] = run
        self._sizes[id] = self._sizes.get(id, 0) + run.behaviour.size
        self.starts.append((id, attempt))
        self.places[id, attempt] = place
        self.files[id] = files
        self.environments[id] = tuple(env)
        self._write(id, run, run.behaviour.says)
        self._ring(id)
        if not _stays(run):
            asyncio.get_running_loop().call_soon(self._end, (id, attempt), run.behaviour.code, 0)
        return run.process

    async def exec(self, id: str, attempt: int, exec_id: str, exec: ExecSpec, spec: ContainerSpec, env: Sequence[str],
                   *, size: tuple[int, int] = (0, 0)) -> StartedProcess:
        """See the port."""
        known = self._execs.get((_checked(id), attempt, exec_id))
        if known is not None:
            return known.process
        if self._alive(id)[0] != (id, attempt):
            raise NotFound(f"that run of container {id[:12]} is over")
        run = self._begin(f"{id}.{attempt}", exec.argv, tty=exec.tty, stdin=exec.stdin, size=size)
        self._execs[id, attempt, exec_id] = run
        self.executed.append((id, exec_id, exec, tuple(env)))
        self._write("", run, run.behaviour.says)
        if not _stays(run):
            asyncio.get_running_loop().call_soon(self._end_exec, (id, attempt, exec_id), run.behaviour.code, 0)
        return run.process

    async def exec_output(self, id: str, exec_id: str) -> AsyncIterator[LogFrame]:
        """See the port."""
        run = self._exec(id, exec_id)
        if run.taken:
            raise NotFound(f"the output of exec {exec_id[:12]} has gone to somebody else")
        run.taken = True
        while run.frames or run.alive:
            run.changed.clear()
            while run.frames:
                yield run.frames.pop(0)
            if run.alive:
                await run.changed.wait()

    async def exec_signal(self, id: str, exec_id: str, signal: int) -> None:
        """See the port."""
        run = self._exec(id, exec_id)
        if not run.alive:
            raise NotFound(f"exec {exec_id[:12]} has ended")
        if signal == KILL or (signal not in _IGNORED and not run.frozen):
            key = next(key for key, known in self._execs.items() if known is run)
            self._end_exec(key, 128 + signal, signal)

    async def input(self, id: str, exec_id: str = "") -> "MemoryInput":
        """See the port."""
        run = self._exec(id, exec_id) if exec_id else self._alive(id)[1]
        if not run.alive:
            raise NotFound(f"exec {exec_id[:12]} has ended")
        if not run.tty and not run.readable:
            raise Refused("it was started without an input")
        return MemoryInput(self, id, run)

    def terminal_size(self, id: str, exec_id: str = "") -> tuple[int, int]:
        """Rows and columns of a terminal as they were set last."""
        return (self._exec(id, exec_id) if exec_id else self._alive(id)[1]).terminal_size

    async def signal(self, id: str, signal: int) -> None:
        """See the port."""
        key, run = self._alive(id)
        if signal == KILL or (signal in run.behaviour.handles and not run.frozen):
            self._end(key, 128 + signal, signal)

    async def kill_all(self, id: str) -> None:
        """See the port."""
        for key in self._living(id):
            self._end(key, 128 + KILL, KILL)

    async def freeze(self, id: str) -> None:
        """See the port."""
        for process in self._inside(id):
            process.frozen = True

    async def thaw(self, id: str) -> None:
        """See the port."""
        for process in self._inside(id):
            process.frozen = False
            process.changed.set()

    async def running(self) -> dict[str, tuple[int, StartedProcess]]:
        """See the port."""
        return {id: (attempt, run.process) for (id, attempt), run in self._runs.items() if run.alive}

    async def place(self, id: str) -> Place:
        """See the port; a run without a network of its own has one by its pid."""
        running = (await self.running()).get(id)
        if running is None:
            raise NotFound(f"container {id[:12]} is not running")
        attempt, process = running
        return self.places.get((id, attempt)) or Place(f"/proc/{process.pid}/ns/net", process.pid)

    async def check(self, spec: ContainerSpec) -> None:
        """See the port: there is everything, but for what `absent` names."""
        gone = sorted(self.absent & {mount.source for mount in spec.mounts})
        if gone:
            raise InvalidValue(f"invalid mount config: bind source path does not exist: {gone[0]}")

    async def control(self, *, disks: bool = False) -> Control:
        """See the port: everything, as version 2 has it."""
        return CONTROL

    async def limit(self, id: str, before: Resources, after: Resources) -> None:
        """See the port; a limit that `unwritable` names is refused."""
        refused = sorted(name for name in self.unwritable if getattr(before, name) != getattr(after, name))
        if refused:
            raise KernelError(f"{refused[0]}: Device or resource busy", errno=EBUSY, stage="write", path=refused[0])
        if any(owner == id and run.alive for (owner, _), run in self._runs.items()):
            self.limits[id] = after

    async def execs(self) -> dict[str, frozenset[str]]:
        """See the port."""
        living = [(id, exec_id) for (id, _, exec_id), run in self._execs.items() if run.alive]
        return {id: frozenset(e for owner, e in living if owner == id) for id, _ in living}

    async def exits(self) -> Sequence[ExitReport]:
        """See the port."""
        return list(self._exits.values())

    def on_exit(self, listener: Callable[[ExitReport], Awaitable[None]]) -> None:
        """See the port."""
        self._listener = listener
        asyncio.get_running_loop().call_soon(self._tell_pending)

    def on_lost(self, callback: Callable[[], Awaitable[None]]) -> None:
        """See the kernel's runtime."""
        self._lost = callback

    async def lose(self) -> None:
        """What the death of keeper and warden at once does: every process is ended, its status unknown."""
        for key in [key for key, run in self._runs.items() if run.alive]:
            self._end(key, 128 + KILL, KILL, how="unknown")
        if self._lost is not None:
            await self._lost()

    def on_memory_kills(self, listener: Callable[[MemoryKills], Awaitable[None]]) -> None:
        """See the port."""
        self.short = listener

    async def acknowledge(self, report: ExitReport) -> None:
        """See the port."""
        self._exits.pop((report.id, report.attempt, report.exec_id), None)

    async def remove(self, id: str) -> None:
        """See the port."""
        await self.kill_all(id)
        self._sizes.pop(id, None)

    async def strays(self, known: set[str]) -> Sequence[str]:
        """See the port."""
        here = {id for (id, _), run in self._runs.items() if run.alive} | set(self._sizes)
        found = sorted(here - known)
        for id in found:
            await self.remove(id)
        return found

    async def processes(self, id: str) -> Sequence[int]:
        """See the port."""
        return [process.process.pid for process in self._inside(id)] if self._living(id) else []

    async def rewrite_hosts(self, id: str, gone: frozenset[str], new: tuple[str, ...]) -> None:
        """See the port."""
        before = self.files.get(_checked(id), {})
        self.files[id] = {**before, "/etc/hosts": changed_hosts(before.get("/etc/hosts", ""), gone, new)}

    async def writable_size(self, id: str) -> int:
        """See the kernel's runtime."""
        return self._sizes.get(_checked(id), 0)

    @asynccontextmanager
    async def watch(self, id: str, *, hold: int | None = None,
                    with_start: bool = False) -> AsyncIterator["MemoryWatch"]:
        """See the port."""
        watch = MemoryWatch(hold)
        self.watches.setdefault(_checked(id), []).append(watch)
        try:
            yield watch
        finally:
            self.watches[id].remove(watch)

    def end(self, id: str, code: int = 0, *, oom: bool = False) -> None:
        """The first process ends by itself, with `code`; or because memory ran out."""
        key, _ = self._alive(id)
        self._end(key, 128 + KILL if oom else code, KILL if oom else 0, how="oom" if oom else "")

    def read(self, id: str, run: _Process, data: bytes) -> None:
        """The process takes `data` from its input, or lets it lie there."""
        if not run.behaviour.echoes:
            run.unread += len(data)
            return
        before, end, _ = data.partition(END_OF_INPUT) if run.tty else (data, b"", b"")
        self._write("" if run in self._execs.values() else id, run, before)
        if end:
            self.finish(id, run)

    def finish(self, id: str, run: _Process) -> None:
        """Its input ends; one that does nothing but read ends with it."""
        run.ended = True
        run.changed.set()
        if not run.behaviour.echoes:
            return
        for key, known in [*self._runs.items()]:
            if known is run:
                self._end(key, run.behaviour.code, 0)
        for exec_key, known in [*self._execs.items()]:
            if known is run:
                self._end_exec(exec_key, run.behaviour.code, 0)

    def _begin(self, group: str, argv: Sequence[str], *, tty: bool, stdin: bool, size: tuple[int, int]) -> _Process:
        behaviour = self._behaviour(argv)
        if behaviour.fails is not None:
            raise behaviour.fails
        process = StartedProcess(next(self._pids), next(self._ticks), f"lading-memory/{group}")
        return _Process(process, behaviour, tty=tty, readable=stdin, terminal_size=size)

    def _write(self, id: str, run: _Process, data: bytes) -> None:
        """To the log of container `id`; of an exec (no id) to whoever takes it."""
        if not data:
            return
        frame = LogFrame(next(self._ticks) * 1_000_000_000, 1, data)
        if id:
            self.written.setdefault(id, []).append(frame)
            self._ring(id)
        else:
            run.frames.append(frame)
            run.changed.set()

    def _exec(self, id: str, exec_id: str) -> _Process:
        for (owner, _, known), run in reversed(self._execs.items()):
            if (owner, known) == (_checked(id), exec_id):
                return run
        raise NotFound(f"container {id[:12]} has no exec {exec_id[:12]}")

    def _behaviour(self, argv: Sequence[str]) -> Behaviour:
        name = argv[0].rpartition("/")[2]
        if name in self._behaviours:
            return self._behaviours[name]
        match [name, *argv[1:]]:
            case ["true"]:
                return Behaviour()
            case ["false"]:
                return Behaviour(code=1)
            case ["sleep", _]:
                return Behaviour(lasts=True)
            case ["cat"]:
                return Behaviour(echoes=True)
            case ["echo", *words]:
                return Behaviour(says=" ".join(words).encode() + b"\n")
            case ["sh", "-c", script] if script.startswith("exit "):
                return Behaviour(code=int(script.removeprefix("exit ")))
        missing = CommandFailed(f'exec: "{argv[0]}": executable file not found in $PATH', exit_code=127)
        return Behaviour(fails=missing)

    def _inside(self, id: str) -> list[_Process]:
        """All living processes of a container, the first one first. Raises: NotFound."""
        key, first = self._alive(id)
        return [first, *(run for exec_key, run in self._execs.items() if exec_key[:2] == key and run.alive)]

    def _living(self, id: str) -> list[tuple[str, int]]:
        checked = _checked(id)
        return [key for key, run in self._runs.items() if key[0] == checked and run.alive]

    def _alive(self, id: str) -> tuple[tuple[str, int], _Process]:
        for key in self._living(id):
            return key, self._runs[key]
        raise NotFound(f"container {id[:12]} is not running")

    def _end(self, key: tuple[str, int], code: int, signal: int, how: str = "") -> None:
        """The end of a first process is that of everything in the container."""
        run = self._runs[key]
        if not run.alive:
            return
        run.alive = False
        for exec_key in [exec_key for exec_key in self._execs if exec_key[:2] == key]:
            self._end_exec(exec_key, 128 + KILL, KILL)
        for guest in [guest for guest, other in self._runs.items() if other.guest_of == key[0]]:
            self._end(guest, 128 + KILL, KILL)
        self._record((*key, ""), run, code, signal, how)
        self._ring(key[0])

    def _end_exec(self, key: tuple[str, int, str], code: int, signal: int) -> None:
        run = self._execs[key]
        if run.alive:
            run.alive = False
            self._record(key, run, code, signal)

    def _record(self, key: tuple[str, int, str], run: _Process, code: int, signal: int, how: str = "") -> None:
        run.changed.set()
        report = ExitReport(
            id=key[0], attempt=key[1], pid=run.process.pid, start_time=run.process.start_time, code=code, signal=signal,
            oom=how == "oom", how=how or ("signal" if signal else "self"), time=next(self._ticks) * 1_000_000_000,
            exec_id=key[2])
        self._exits[key] = report
        self._tell(report)

    def _tell_pending(self) -> None:
        for report in self._exits.values():
            self._tell(report)

    def _tell(self, report: ExitReport) -> None:
        key = report.id, report.attempt, report.exec_id
        if self._listener is not None and key not in self._telling:
            task = asyncio.get_running_loop().create_task(self._until_heard(report))
            self._telling[key] = task
            task.add_done_callback(lambda _: self._telling.pop(key, None))

    async def _until_heard(self, report: ExitReport) -> None:
        while self._listener is not None:
            try:
                return await self._listener(report)
            except LadingError:
                log.debug("the exit of %s was not taken", report.id[:12])
                await asyncio.sleep(_RETRY_PAUSE)

    def _ring(self, id: str) -> None:
        for watch in self.watches.get(id, ()):
            watch.rung.set()


class MemoryWatch:
    """See `domain.ports.Watch`; `held` is for tests to look at."""

    def __init__(self, hold: int | None) -> None:
        self.held = hold
        self.rung = asyncio.Event()

    async def bell(self) -> None:
        """See the port."""
        await self.rung.wait()
        self.rung.clear()

    def ring(self) -> None:
        """See the port."""
        self.rung.set()

    def hold(self, position: int | None) -> None:
        """See the port."""
        self.held = position


class MemoryInput:
    """See `domain.ports.Input`. What a process does not read waits in a pipe; when that is full the writer waits."""

    def __init__(self, runtime: MemoryRuntime, id: str, run: _Process) -> None:
        self._runtime, self._id, self._run = runtime, id, run

    async def write(self, data: bytes) -> None:
        """See the port."""
        while self._open() and self._is_full_for(data):
            self._run.changed.clear()
            await self._run.changed.wait()
        if not self._open():
            raise Refused("its input has ended")
        self._runtime.read(self._id, self._run, data)

    async def end(self) -> None:
        """See the port."""
        if self._open() and not self._run.tty:
            self._runtime.finish(self._id, self._run)

    async def resize(self, rows: int, cols: int) -> None:
        """See the port."""
        if self._run.tty:
            self._run.terminal_size = rows, cols

    def close(self) -> None:
        """See the port."""

    def _open(self) -> bool:
        return self._run.alive and not self._run.ended

    def _is_full_for(self, data: bytes) -> bool:
        run = self._run
        return run.frozen or (not run.behaviour.echoes and run.unread + len(data) > PIPE_SIZE)


def _stays(run: _Process) -> bool:
    """Whether it does not end right away; one that reads nothing but /dev/null has soon read it all."""
    return run.behaviour.lasts or (run.behaviour.echoes and (run.tty or run.readable))


def _checked(id: str) -> str:
    if not id or not _HEXADECIMAL.issuperset(id):
        raise InvalidValue("a container id is hexadecimal")
    return id
