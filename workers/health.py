"""Health: looks after running containers that have a check, each in a task of its own.

A probe is a process in the container like that of an exec, but no event: only a change of the verdict is one. Probes of
one container never overlap, those of many do not begin in the same moment, and none begins while a container is
paused or is being stopped. The last results are kept in memory; the verdict itself is in the log and survives us.
"""

import asyncio
import contextlib
import logging
from typing import Any

from domain.container import LIVE, Container, State
from domain.errors import CommandFailed, KernelError, LadingError, NotFound, Refused, Unavailable
from domain.health import MOST_OUTPUT, TOO_LATE, Probe, Verdict, argv, judged, legible_output, pause
from domain.lifecycle.exit import Exited
from domain.lifecycle.health import ReportHealth, Status
from domain.lifecycle.remove import Removed
from domain.lifecycle.start import Adopted, Started
from domain.messages import Actor, Recorded
from domain.ports import Clock, ExitReport, Runtime
from domain.spec import ExecSpec, HealthCheck
from domain.text.units import go_duration
from workers.mover import Caller, Mover

log = logging.getLogger(__name__)
POLICY = Actor(via="engine", user="policy")
"""In whose name a container that is not well is restarted or killed."""
BEGUN_AT_ONCE = 8
"""Probes that are being started at the same moment; those that run are not limited."""
SPREAD = 1 / 16
"""Share of a pause by which it may be longer: what was started together drifts apart."""
KILL_PATIENCE = 10.0
LAST_WORDS = 0.5
"""Seconds in which the output of a probe that has ended is read to its end: a child of it may hold the pipe."""
_KILL = 9
_STEPS = 1000


class Health:
    """Listens to the log: a start begins a watch, an exit ends it."""

    def __init__(self, mover: Mover, runtime: Runtime, clock: Clock) -> None:
        self._mover, self._runtime, self._clock = mover, runtime, clock
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._ends: dict[str, asyncio.Future[int]] = {}
        self._begun = asyncio.Semaphore(BEGUN_AT_ONCE)

    def notice(self, record: Recorded) -> None:
        """One event of the log."""
        id = record.stream.key
        match record.event:
            case Started() | Adopted():
                self._forget(id)
                watch = asyncio.create_task(self._watch(record))
                self._watches[id] = watch
                watch.add_done_callback(lambda done: self._over(id, done))
            case Exited():
                self._forget(id)
            case Removed():
                self._verdicts.pop(id, None)

    def ended(self, report: ExitReport) -> bool:
        """The end of a process; says whether it was one of ours."""
        end = self._ends.get(report.exec_id)
        if end is None:
            return False
        if not end.done():
            end.set_result(report.code)
        return True

    def verdict(self, id: str) -> Verdict | None:
        """What the probes of a container have found, as far as this daemon knows."""
        return self._verdicts.get(id)

    async def stop(self) -> None:
        """End all watches, and the probes that are under way."""
        watches = tuple(self._watches.values())
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)

    def _forget(self, id: str) -> None:
        if (watch := self._watches.pop(id, None)) is not None:
            watch.cancel()

    def _over(self, id: str, watch: "asyncio.Task[None]") -> None:
        if self._watches.get(id) is watch:
            del self._watches[id]
        if not watch.cancelled() and (error := watch.exception()) is not None:
            log.error("the health of %s is not watched any more: %s", id[:12], error, exc_info=error)

    async def _watch(self, record: Recorded) -> None:
        """Look at a run until it ends. Its start may be told before the mover has folded it."""
        id, adopted = record.stream.key, isinstance(record.event, Adopted)
        container = await self._mover.until(id, lambda c: c.version >= record.version)
        assert container is not None
        check = container.settled.health
        if check is None or container.state not in LIVE:
            return
        self._verdicts[id] = verdict = Verdict(_status(container), container.health_streak)
        # After a restart of the daemon all watches begin at once: each somewhere in its pause.
        share = self._clock.choice(_STEPS) / _STEPS if adopted else 1.0
        while True:
            seconds = pause(verdict.status, check, container.started_at, self._clock.now())
            await self._clock.sleep(seconds * share * (1 + SPREAD * self._clock.choice(_STEPS) / _STEPS))
            share = 1.0
            await self._mover.until(id, lambda c: c.state is State.RUNNING)
            probe = await self._probe(container, check)
            if probe is not None:
                self._verdicts[id] = verdict = judged(verdict, probe, check, container.started_at)
                await self._report(container, check, verdict, probe)

    async def _report(self, container: Container, check: HealthCheck, verdict: Verdict, probe: Probe) -> None:
        if (await self._mover.container(container.id)).health == verdict.status:
            return
        changed = ReportHealth(
            attempt=container.attempt, status=verdict.status, streak=verdict.streak,
            exit_code=probe.exit_code, output=probe.output,
        )  # fmt: skip
        try:
            acts = verdict.status == "unhealthy" and check.action != "none"
            await self._mover.accept(container.id, (changed,), Caller(POLICY if acts else Actor()))
        except LadingError as error:
            log.warning("the health of %s: %s", container.id[:12], error)

    async def _probe(self, container: Container, check: HealthCheck) -> Probe | None:
        """One look; None when it says nothing: the container was paused or stopped meanwhile, or the supervisor is
        away."""
        exec_id, start = self._clock.new_id(), self._clock.now()
        end = self._ends[exec_id] = asyncio.get_running_loop().create_future()
        try:
            async with self._begun:
                await self._execute(container, exec_id, check)
            return await self._look(container.id, exec_id, check, start, end)
        except (NotFound, Unavailable):
            return None
        except LadingError as error:
            code = error.exit_code if isinstance(error, CommandFailed) else TOO_LATE
            return Probe(start, self._clock.now(), code, legible_output(error.message.encode()))
        finally:
            if not end.done():
                await self._kill(container.id, exec_id)
            del self._ends[exec_id]

    async def _execute(self, container: Container, exec_id: str, check: HealthCheck) -> None:
        spec = ExecSpec(argv=argv(check))
        await self._runtime.exec(container.id, container.attempt, exec_id, spec, container.settled, container.env)

    async def _look(
        self, id: str, exec_id: str, check: HealthCheck, start: int, end: "asyncio.Future[int]"
    ) -> Probe | None:
        """Wait for the end of a probe that was begun, not longer than it may take."""
        words = bytearray()
        reading = asyncio.ensure_future(self._read(id, exec_id, words))
        stands_still = asyncio.ensure_future(self._mover.until(id, lambda c: c.state is not State.RUNNING))
        either: set[asyncio.Future[Any]] = {end, stands_still}
        try:
            await asyncio.wait(either, timeout=check.timeout, return_when=asyncio.FIRST_COMPLETED)
            if stands_still.done() and not end.done():
                return None
            late = not end.done()
            if late:
                await self._kill(id, exec_id)
                await asyncio.wait({end}, timeout=KILL_PATIENCE)
            await asyncio.wait({reading}, timeout=LAST_WORDS)
            output = legible_output(bytes(words))
            if late:
                told = f"Health check exceeded timeout ({go_duration(check.timeout)})"
                return Probe(start, self._clock.now(), TOO_LATE, f"{told}: {output}" if output else told)
            return Probe(start, self._clock.now(), end.result(), output)
        finally:
            for task in (reading, stands_still):
                task.cancel()
            await asyncio.gather(reading, stands_still, return_exceptions=True)

    async def _read(self, id: str, exec_id: str, words: bytearray) -> None:
        """All output is taken, so that the probe does not wait for us; its beginning is kept."""
        async for frame in self._runtime.exec_output(id, exec_id):
            words += frame.data[: max(0, 4 * (MOST_OUTPUT + 1) - len(words))]

    async def _kill(self, id: str, exec_id: str) -> None:
        with contextlib.suppress(NotFound, KernelError, Unavailable, Refused):
            await self._runtime.exec_signal(id, exec_id, _KILL)


def _status(container: Container) -> Status:
    match container.health:
        case "healthy":
            return "healthy"
        case "unhealthy":
            return "unhealthy"
    return "starting"
