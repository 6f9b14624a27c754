"""Restarts that wait for their time; the waiting itself is in the log, so a crash forgets none."""

import asyncio
import logging

from domain.errors import LadingError, StorageError
from domain.lifecycle.exit import RestartScheduled
from domain.lifecycle.start import StartScheduled
from domain.messages import Recorded
from domain.ports.bus import Clock
from workers.mover import Caller, Mover

log = logging.getLogger(__name__)
AGAIN = 5.0
"""Seconds after which a restart is tried again that could not be written down."""


class Timers:
    """One task for each container that waits."""

    def __init__(self, mover: Mover, clock: Clock) -> None:
        self._mover, self._clock = mover, clock
        self._tasks: set[asyncio.Task[None]] = set()

    def notice(self, record: Recorded) -> None:
        """Begin to wait if the record is a scheduled restart."""
        if isinstance(record.event, RestartScheduled):
            task = asyncio.create_task(self._wait(record.stream.key, record.event, record.time))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _wait(self, id: str, scheduled: RestartScheduled, since: int) -> None:
        gone = (self._clock.now() - since) / 1e9
        await self._clock.sleep(min(max(0.0, scheduled.delay - gone), scheduled.delay))
        try:
            while not await self._start(id, scheduled.attempt):
                await self._clock.sleep(AGAIN)
        except LadingError as error:
            log.warning("the restart of %s: %s", id[:12], error)

    async def _start(self, id: str, attempt: int) -> bool:
        """Whether it is settled; a disk that is full now has room later."""
        try:
            await self._mover.accept(id, (StartScheduled(attempt=attempt),), Caller())
        except StorageError as error:
            log.warning("the restart of %s is tried again: %s", id[:12], error)
            return False
        return True

    def stop(self) -> None:
        """Forget all; the log remembers."""
        for task in self._tasks:
            task.cancel()
