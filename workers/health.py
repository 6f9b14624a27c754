"""Health: looks after running containers that have a check, each in a task of its own.

A probe is a process in the container like that of an exec, but no event: only a change of the verdict is one. Probes of
one container never overlap, those of many do not begin in the same moment, and none begins while a container is
paused or is being stopped. The last results are kept in memory; the verdict itself is in the log and survives us.
"""

import asyncio
import logging

from domain.container import LIVE, Container, State
from domain.errors import LadingError
from domain.health import Probe, Verdict, judged, pause
from domain.lifecycle.exit import Exited
from domain.lifecycle.health import ReportHealth, Status
from domain.lifecycle.remove import Removed
from domain.lifecycle.start import Adopted, Started
from domain.messages import Actor, Recorded
from domain.ports.bus import Clock
from domain.ports.runtime import ExitReport, Runtime
from domain.spec import HealthCheck
from workers.mover import Caller, Mover
from workers.probes import Probes

log = logging.getLogger(__name__)
POLICY = Actor(via="engine", user="policy")
"""In whose name a container that is not well is restarted or killed."""
SPREAD = 1 / 16
"""Share of a pause by which it may be longer: what was started together drifts apart."""
_STEPS = 1000


class Health:
    """Listens to the log: a start begins a watch, an exit ends it."""

    def __init__(self, mover: Mover, runtime: Runtime, clock: Clock) -> None:
        self._mover, self._clock = mover, clock
        self._probes = Probes(runtime, clock)
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._verdicts: dict[str, Verdict] = {}

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
        """The end of a process; says whether it was a probe."""
        return self._probes.ended(report)

    def verdict(self, id: str) -> Verdict | None:
        """What the probes of a container have found, as far as this daemon knows."""
        return self._verdicts.get(id)

    async def stop(self) -> None:
        """End all watches, and the probes that are under way."""
        watches = tuple(self._watches.values())
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        await self._probes.stop()

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
        stands_still = asyncio.ensure_future(self._mover.until(container.id, lambda c: c.state is not State.RUNNING))
        try:
            return await self._probes.look(container, check, stands_still)
        finally:
            stands_still.cancel()
            await asyncio.gather(stands_still, return_exceptions=True)


def _status(container: Container) -> Status:
    match container.health:
        case "healthy":
            return "healthy"
        case "unhealthy":
            return "unhealthy"
    return "starting"
