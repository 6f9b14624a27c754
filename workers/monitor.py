"""The monitor: exits that the supervisor has written down become events; only then it may forget them."""

import logging
from collections.abc import Callable

from domain.container import State
from domain.failpoints import failpoint
from domain.lifecycle.exec import ReportExecExit
from domain.lifecycle.exit import ReportExit
from domain.lifecycle.shortage import ReportMemoryKills
from domain.ports.runtime import ExitReport, MemoryKills, Runtime
from workers.mover import Mover

log = logging.getLogger(__name__)


class Monitor:
    """Told at least once of each exit; `probes` takes those of health checks, which are no events."""

    def __init__(self, mover: Mover, runtime: Runtime, probes: Callable[[ExitReport], bool]) -> None:
        self._mover, self._runtime, self._probes = mover, runtime, probes

    def begin(self) -> None:
        """Listen from now on; exits of the time when no daemon ran come first."""
        self._runtime.on_exit(self.exited)
        self._runtime.on_memory_kills(self.short)

    async def exited(self, report: ExitReport) -> None:
        """Append the exit, then acknowledge it."""
        if self._probes(report):
            await self._runtime.acknowledge(report)
            return
        failpoint("monitor.before-append")
        container = await self._mover.container(report.id)
        if container.state is State.ABSENT:
            log.warning("an exit of %s, which is in no log", report.id[:12])
        else:
            if report.kills is not None:
                await self.short(report.kills)
            await self._mover.report(report.id, fact(report))
        failpoint("monitor.before-acknowledge")
        await self._runtime.acknowledge(report)

    async def short(self, kills: MemoryKills) -> None:
        """Append who was killed for lack of memory, as far as that is news."""
        container = await self._mover.container(kills.id)
        if container.state is not State.ABSENT:
            victims = tuple((victim.pid, victim.name) for victim in kills.victims)
            report = ReportMemoryKills(attempt=kills.attempt, kills=kills.kills, victims=victims)
            await self._mover.report(kills.id, report)


def fact(report: ExitReport) -> ReportExit | ReportExecExit:
    """The report as the domain decides on it."""
    if report.exec_id:
        return ReportExecExit(
            exec_id=report.exec_id, pid=report.pid, start_time=report.start_time, code=report.code,
            signal=report.signal, how=report.how, time=report.time,
        )  # fmt: skip
    return ReportExit(
        attempt=report.attempt, code=report.code, signal=report.signal, oom=report.oom, how=report.how,
        time=report.time, log_dropped=report.log_dropped, log_lost=report.log_lost,
    )  # fmt: skip
