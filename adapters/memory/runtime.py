"""A Runtime without processes: what a command does is looked up in a table; the same wishes, the same answers.

    MemoryRuntime({"web": Behaviour(lasts=True, handles=frozenset({15}))})

Commands it knows by itself, as a busybox has them: `true`, `false`, `sh -c "exit N"`, and `sleep`, which lasts and,
like every first process without handlers, only hears KILL. Anything else is not found (127). Pids, times and start
times count upwards, so a test sees the same numbers each time.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from domain.errors import CommandFailed, InvalidValue, LadingError, NotFound
from domain.ports import ExitReport, StartedProcess
from domain.spec import ContainerSpec

log = logging.getLogger(__name__)
KILL = 9
_RETRY_PAUSE = 0.01
_HEXADECIMAL = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a command does: fail to start, end at once with `code`, or last until KILL or a signal that it `handles`."""

    code: int = 0
    lasts: bool = False
    handles: frozenset[int] = frozenset()
    fails: LadingError | None = None
    size: int = 0


@dataclass(slots=True)
class _Run:
    process: StartedProcess
    behaviour: Behaviour
    alive: bool = True
    frozen: bool = False


class MemoryRuntime:
    """See `domain.ports.Runtime`. It outlives daemons as the warden does: give the same object to the next one."""

    def __init__(self, behaviours: Mapping[str, Behaviour] | None = None) -> None:
        self._behaviours = dict(behaviours or {})
        self._runs: dict[tuple[str, int], _Run] = {}
        self._exits: dict[tuple[str, int], ExitReport] = {}
        self._sizes: dict[str, int] = {}
        self._pids = itertools.count(1000)
        self._ticks = itertools.count(1)
        self._listener: Callable[[ExitReport], Awaitable[None]] | None = None
        self._telling: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._bells: dict[str, set[asyncio.Event]] = {}
        self._lost: Callable[[], Awaitable[None]] | None = None
        self.starts: list[tuple[str, int]] = []

    async def start(self, id: str, attempt: int, spec: ContainerSpec, env: Sequence[str],
                    layers: Sequence[str]) -> StartedProcess:
        """See the port."""
        known = self._runs.get((_checked(id), attempt))
        if known is not None:
            return known.process
        behaviour = self._behaviour(spec.argv)
        if behaviour.fails is not None:
            raise behaviour.fails
        process = StartedProcess(next(self._pids), next(self._ticks), f"lading-memory/{id}.{attempt}")
        self._runs[id, attempt] = _Run(process, behaviour)
        self._sizes[id] = self._sizes.get(id, 0) + behaviour.size
        self.starts.append((id, attempt))
        self._ring(id)
        if not behaviour.lasts:
            asyncio.get_running_loop().call_soon(self._end, (id, attempt), behaviour.code, 0)
        return process

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
        self._alive(id)[1].frozen = True

    async def thaw(self, id: str) -> None:
        """See the port."""
        self._alive(id)[1].frozen = False

    async def running(self) -> dict[str, tuple[int, StartedProcess]]:
        """See the port."""
        return {id: (attempt, run.process) for (id, attempt), run in self._runs.items() if run.alive}

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

    async def acknowledge(self, report: ExitReport) -> None:
        """See the port."""
        self._exits.pop((report.id, report.attempt), None)

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
        return [self._runs[key].process.pid for key in self._living(id)]

    async def writable_size(self, id: str) -> int:
        """See the kernel's runtime."""
        return self._sizes.get(_checked(id), 0)

    @asynccontextmanager
    async def watch(self, id: str) -> AsyncIterator[asyncio.Event]:
        """See the kernel's runtime."""
        bell = asyncio.Event()
        self._bells.setdefault(_checked(id), set()).add(bell)
        try:
            yield bell
        finally:
            self._bells[id].discard(bell)

    def end(self, id: str, code: int = 0, *, oom: bool = False) -> None:
        """The first process ends by itself, with `code`; or because memory ran out."""
        key, _ = self._alive(id)
        self._end(key, 128 + KILL if oom else code, KILL if oom else 0, how="oom" if oom else "")

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
            case ["sh", "-c", script] if script.startswith("exit "):
                return Behaviour(code=int(script.removeprefix("exit ")))
        missing = CommandFailed(f'exec: "{argv[0]}": executable file not found in $PATH', exit_code=127)
        return Behaviour(fails=missing)

    def _living(self, id: str) -> list[tuple[str, int]]:
        checked = _checked(id)
        return [key for key, run in self._runs.items() if key[0] == checked and run.alive]

    def _alive(self, id: str) -> tuple[tuple[str, int], _Run]:
        for key in self._living(id):
            return key, self._runs[key]
        raise NotFound(f"container {id[:12]} is not running")

    def _end(self, key: tuple[str, int], code: int, signal: int, how: str = "") -> None:
        run = self._runs[key]
        if not run.alive:
            return
        run.alive = False
        report = ExitReport(
            id=key[0], attempt=key[1], pid=run.process.pid, start_time=run.process.start_time, code=code, signal=signal,
            oom=how == "oom", how=how or ("signal" if signal else "self"), time=next(self._ticks) * 1_000_000_000)
        self._exits[key] = report
        self._ring(key[0])
        self._tell(report)

    def _tell_pending(self) -> None:
        for report in self._exits.values():
            self._tell(report)

    def _tell(self, report: ExitReport) -> None:
        key = report.id, report.attempt
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
        for bell in self._bells.get(id, ()):
            bell.set()


def _checked(id: str) -> str:
    if not id or not _HEXADECIMAL.issuperset(id):
        raise InvalidValue("a container id is hexadecimal")
    return id
