"""Probes: processes that look after the health of a container. They are begun and ended like execs, but are no events.

A probe is always ended: by itself, when its time is over, with its container, or by the next daemon's recovery.
"""

import asyncio
import contextlib
from typing import Any

from domain.container import Container
from domain.errors import CommandFailed, KernelError, LadingError, NotFound, Refused, Unavailable
from domain.health import MOST_OUTPUT, TOO_LATE, Probe, argv, legible_output
from domain.ports.bus import Clock
from domain.ports.runtime import ExitReport, Runtime
from domain.spec import ExecSpec, HealthCheck
from domain.text.units import go_duration

BEGUN_AT_ONCE = 8
"""Probes that are being begun at the same moment; those that run are not limited."""
BEGIN_PATIENCE = 10.0
"""Seconds after which a probe that could not begin makes room: its container was frozen, or the host has no time."""
KILL_PATIENCE = 10.0
LAST_WORDS = 0.5
"""Seconds in which the output of a probe that has ended is read to its end: a child of it may hold the pipe."""
_KILL = 9

End = asyncio.Future[int]
"""The exit code of a probe, once it is known."""


class Probes:
    """All probes that are under way."""

    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime, self._clock = runtime, clock
        self._ends: dict[str, End] = {}
        self._begun = asyncio.Semaphore(BEGUN_AT_ONCE)
        self._late: dict[str, asyncio.Task[None]] = {}

    def ended(self, report: ExitReport) -> bool:
        """The end of a process; says whether it was one of ours."""
        end = self._ends.get(report.exec_id)
        if end is None:
            return False
        if not end.done():
            end.set_result(report.code)
        return True

    async def look(self, container: Container, check: HealthCheck, stands_still: "asyncio.Future[Any]") -> Probe | None:
        """One look; None when it says nothing: `stands_still` came first (the container was paused or stopped), or the
        supervisor is away. A container in which one still waits for its beginning gets no second one."""
        if container.id in self._late:
            return None
        exec_id, start = self._clock.new_id(), self._clock.now()
        end = self._ends[exec_id] = asyncio.get_running_loop().create_future()
        try:
            if not await self._begin(container, exec_id, check, stands_still):
                return None
            return await self._watch(container.id, exec_id, check, start, end, stands_still)
        except (NotFound, Unavailable):
            return None
        except LadingError as error:
            code = error.exit_code if isinstance(error, CommandFailed) else TOO_LATE
            return Probe(start, self._clock.now(), code, legible_output(error.message.encode()))
        finally:
            if not end.done():
                await self._kill(container.id, exec_id)
            del self._ends[exec_id]

    async def stop(self) -> None:
        """Wait no longer for probes that could not begin."""
        late = tuple(self._late.values())
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _begin(
        self, container: Container, exec_id: str, check: HealthCheck, stands_still: "asyncio.Future[Any]"
    ) -> bool:
        """Whether it was executed; one that begins later than anybody wants is ended at once."""
        spec = ExecSpec(argv=argv(check))
        async with self._begun:
            beginning = asyncio.ensure_future(
                self._runtime.exec(container.id, container.attempt, exec_id, spec, container.settled, container.env)
            )
            try:
                await _first(beginning, stands_still, timeout=BEGIN_PATIENCE)
            finally:
                if not beginning.done():
                    late = asyncio.create_task(self._end_late(beginning, container.id, exec_id))
                    self._late[container.id] = late
                    late.add_done_callback(lambda _: self._late.pop(container.id))
        if not beginning.done():
            return False
        await beginning
        return True

    async def _end_late(self, beginning: "asyncio.Future[Any]", id: str, exec_id: str) -> None:
        with contextlib.suppress(LadingError):
            await beginning
            await self._kill(id, exec_id)

    async def _watch(
        self, id: str, exec_id: str, check: HealthCheck, start: int, end: End, stands_still: "asyncio.Future[Any]"
    ) -> Probe | None:
        """Wait for the end of a probe that was begun, not longer than it may take."""
        words = bytearray()
        reading = asyncio.ensure_future(self._read(id, exec_id, words))
        try:
            await _first(end, stands_still, timeout=check.timeout)
            late = not end.done()
            if late and stands_still.done():
                return None
            if late:
                await self._kill(id, exec_id)
                await asyncio.wait({end}, timeout=KILL_PATIENCE)
            await asyncio.wait({reading}, timeout=LAST_WORDS)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        output = legible_output(bytes(words))
        if not late:
            return Probe(start, self._clock.now(), end.result(), output)
        told = f"Health check exceeded timeout ({go_duration(check.timeout)})"
        return Probe(start, self._clock.now(), TOO_LATE, f"{told}: {output}" if output else told)

    async def _read(self, id: str, exec_id: str, words: bytearray) -> None:
        """All output is taken, so that the probe does not wait for us; its beginning is kept."""
        async for frame in self._runtime.exec_output(id, exec_id):
            words += frame.data[: max(0, 4 * (MOST_OUTPUT + 1) - len(words))]

    async def _kill(self, id: str, exec_id: str) -> None:
        with contextlib.suppress(NotFound, KernelError, Unavailable, Refused):
            await self._runtime.exec_signal(id, exec_id, _KILL)


async def _first(one: "asyncio.Future[Any]", other: "asyncio.Future[Any]", *, timeout: float) -> None:
    await asyncio.wait({one, other}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
