"""At start: compare the log with the kernel, and append what was missed, until both agree again.

For every container the log thinks of as alive there are four cases: its process is there (adopt it), its exit is in
the supervisor's journal (report it), the host was rebooted (it ended then), or nothing is known (end what may be left
and say so). The same holds for the other processes that were executed in it. Intents without outcome are then handed
out again: every act finds what was already done.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from domain.container import LIVE, Container, Execution, State
from domain.errors import IllegalTransition, LadingError, NotFound, StorageError
from domain.lifecycle.exec import ReportExecExit
from domain.lifecycle.exit import ReportExit
from domain.lifecycle.remove import Remove
from domain.lifecycle.start import Adopt, Start
from domain.policies.restart import wanted_after_boot
from domain.ports.bus import Clock
from domain.ports.events import EventStore, OpenIntent, Views
from domain.ports.runtime import ExitReport, Runtime, StartedProcess
from domain.spec import lenders
from workers.monitor import fact
from workers.mover import Caller, Mover

log = logging.getLogger(__name__)
AT_ONCE = 64
"""Containers that are compared at the same time: their events share commits."""

REBOOT_CODE = 255
_LENDER_PATIENCE = 30.0

_MAY_RUN = frozenset({*(state.value for state in LIVE), State.REMOVING.value, State.DEAD.value})
"""States whose process may be there. The rows are written with the events: thousands of stopped ones are not folded."""


@dataclass(slots=True)
class Found:
    """What the comparison took, as it goes into the host's stream."""

    counts: dict[str, int] = field(default_factory=dict)

    def count(self, what: str, by: int = 1) -> None:
        """One more."""
        self.counts[what] = self.counts.get(what, 0) + by


@dataclass(frozen=True, slots=True)
class Kernel:
    """What is really there."""

    boot: str
    running: dict[str, tuple[int, StartedProcess]]
    execs: dict[str, frozenset[str]]
    exits: dict[tuple[str, int, str], ExitReport]


class Reconciler:
    """Runs once, before the first wish is taken."""

    def __init__(
        self, store: EventStore, views: Views, mover: Mover, runtime: Runtime, clock: Clock, boot: str
    ) -> None:
        self._store, self._views, self._mover = store, views, mover
        self._runtime, self._clock, self._boot = runtime, clock, boot

    async def compare(self) -> Found:
        """Bring the log up to what the kernel says."""
        found = Found()
        kernel = await self._look()
        rows = await self._views.select("containers")
        await self._each([str(row["id"]) for row in rows if row["state"] in _MAY_RUN or row["execs"]], kernel, found)
        strays = await self._runtime.strays({str(row["id"]) for row in rows})
        found.count("strays", len(strays))
        return found

    async def unfinished(self) -> Sequence[OpenIntent]:
        """Intents of containers that have no outcome; dead containers are asked to vanish once more."""
        return [intent for intent in await self._store.open_intents() if intent.stream.kind == "container"]

    async def retry_dead(self) -> None:
        """A container that could not be removed gets another try."""
        for row in await self._views.select("containers", where={"state": State.DEAD.value}):
            try:
                await self._mover.accept(str(row["id"]), (Remove(force=True),), Caller())
            except LadingError as error:
                log.warning("%s is not removed: %s", str(row["id"])[:12], error)

    async def start_again(self, ids: Iterable[str]) -> None:
        """After a reboot, the containers whose policy wants it are started. They come oldest first: who shares a
        namespace of another one is younger than that, and waits until it runs."""
        for id in ids:
            container = await self._mover.container(id)
            if container.state is State.EXITED and wanted_after_boot(container):
                for lender in lenders(container.settled):
                    await self._mover.until(lender, lambda c: c.state is not State.STARTING, _LENDER_PATIENCE)
                try:
                    await self._mover.accept(id, (Start(),), Caller())
                except LadingError as error:
                    log.warning("%s was not started after the reboot: %s", id[:12], error)

    async def _look(self) -> Kernel:
        running = await self._runtime.running()  # first: who ends in between is in both answers, not in none
        execs = await self._runtime.execs()
        exits = {(report.id, report.attempt, report.exec_id): report for report in await self._runtime.exits()}
        return Kernel(self._boot, running, execs, exits)

    async def _each(self, ids: Sequence[str], kernel: Kernel, found: Found) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(id: str) -> None:
            async with gate:
                try:
                    container = await self._mover.container(id)
                except (StorageError, IllegalTransition) as error:
                    log.error("the story of %s cannot be read, it is left alone: %s", id[:12], error)
                    found.count("damaged")
                    return
                if container.state in LIVE or container.pid:
                    await self._mover.report(id, await self._judge(container, kernel, found))
                for exec_id, execution in container.execs.items():
                    await self._exec(container, exec_id, execution, kernel, found)
                await self._end_probes(container, kernel, found)

        await asyncio.gather(*(one(id) for id in ids))

    async def _exec(
        self, container: Container, exec_id: str, execution: Execution, kernel: Kernel, found: Found
    ) -> None:
        """A process that was executed: it lives, its end is reported, or nothing is known of it. One whose request has
        no outcome yet is left to the work that is handed out again."""
        report = kernel.exits.get((container.id, execution.attempt, exec_id))
        if report is not None:
            await self._mover.report(container.id, fact(report))
        elif execution.pid and exec_id not in kernel.execs.get(container.id, ()):
            rebooted = container.boot != kernel.boot
            end = unknown_end(exec_id, execution, self._clock.now(), how="reboot" if rebooted else "unknown")
            await self._mover.report(container.id, end)
            found.count("lost execs")

    async def _end_probes(self, container: Container, kernel: Kernel, found: Found) -> None:
        """What was executed and is in no log: a probe of the health check whose daemon has died."""
        for exec_id in kernel.execs.get(container.id, frozenset()) - set(container.execs):
            with contextlib.suppress(NotFound):
                await self._runtime.exec_signal(container.id, exec_id, 9)
                found.count("left probes")

    async def _judge(self, container: Container, kernel: Kernel, found: Found) -> ReportExit | ReportExecExit | Adopt:
        attempt, process = kernel.running.get(container.id, (0, None))
        if process and attempt == container.attempt and process.start_time == container.start_time:
            found.count("adopted")
            return Adopt(attempt=attempt, pid=process.pid, start_time=process.start_time, boot=kernel.boot)
        report = kernel.exits.get((container.id, container.attempt, ""))
        if report is not None:
            found.count("ended")
            return fact(report)
        if container.boot != kernel.boot:
            found.count("rebooted")
            return ReportExit(attempt=container.attempt, code=REBOOT_CODE, how="reboot", time=self._clock.now())
        await self._runtime.kill_all(container.id)
        found.count("lost")
        return ReportExit(attempt=container.attempt, code=137, signal=9, how="unknown", time=self._clock.now())


def unknown_end(exec_id: str, execution: Execution, now: int, *, how: str = "unknown") -> ReportExecExit:
    """The end of a process of which nobody has kept the status: nothing but KILL can have ended it."""
    return ReportExecExit(
        exec_id=exec_id, pid=execution.pid, start_time=execution.start_time, code=137, signal=9, how=how, time=now
    )
