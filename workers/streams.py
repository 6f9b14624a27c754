"""What containers write, to those who watch: read from the log files, woken by the supervisor's bell.

Bytes, never events. A slow watcher only delays its own reading; the container and the files do not notice.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from domain.container import State
from domain.ports import LogFrame, LogReader
from workers.mover import Mover


class Bells(Protocol):
    """The part of the runtime that tells when a container has written something."""

    def watch(self, id: str) -> AbstractAsyncContextManager[asyncio.Event]:
        """An event that is set after every write; the watcher clears it."""


class Streams:
    """Follows containers' output."""

    def __init__(self, mover: Mover, bells: Bells, logs: LogReader) -> None:
        self._mover, self._bells, self._logs = mover, bells, logs

    async def follow(
        self,
        id: str,
        *,
        since: int | None = None,
        until: int | None = None,
        tail: int | None = None,
        attempt: int | None = None,
    ) -> AsyncIterator[LogFrame]:
        """Frames as they are written, until the run `attempt` (the present one) has ended and all of it was read."""
        container = await self._mover.container(id)
        run = container.attempt if attempt is None else attempt
        ended = asyncio.ensure_future(self._mover.until(id, lambda c: over(c.attempt, c.state, c.pid, run)))
        try:
            async with self._bells.watch(id) as bell:
                more = _more(ended, bell)
                async for frame in self._logs.frames(id, since=since, until=until, tail=tail, follow=more):
                    yield frame
        finally:
            ended.cancel()


def over(attempt: int, state: State, pid: int, run: int) -> bool:
    """Whether the run has ended (or never begun)."""
    return attempt > run or (state is not State.STARTING and not pid)


def _more(ended: "asyncio.Future[Any]", bell: asyncio.Event) -> Callable[[], Awaitable[bool]]:
    """For the reader at the end of the file: wait for the bell or the end. After the end it may look once more, because
    the exit is reported when everything is written."""
    last_look = False

    async def more() -> bool:
        nonlocal last_look
        if last_look:
            return False
        ring = asyncio.ensure_future(bell.wait())
        waiting: set[asyncio.Future[Any]] = {ring, ended}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ring.cancel()
        bell.clear()
        last_look = ended.done()
        return True

    return more
