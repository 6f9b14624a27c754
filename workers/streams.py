"""What containers write, to those who watch: read from the log files, woken by the supervisor's bell.

Bytes, never events. A slow watcher only delays its own reading; the container and the files do not notice, unless the
watcher holds the output: then rotation waits for it, and the container for rotation. A hold ends with its watcher.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol

from domain.container import Container, State
from domain.ports.logs import LogFrame, LogReader
from domain.ports.runtime import Watch

PATIENT = math.inf
"""A hold for a consumer that must get everything, however long it takes."""
STALLED = 10.0
"""A hold for a person: after so many seconds without any progress nobody waits any more."""
_EXPECTED = 10.0
_OVER = frozenset({State.REMOVED, State.DEAD})
_COMING = frozenset({State.STARTING, State.RESTARTING})


class Stories(Protocol):
    """The part of the mover that tells what becomes of a container."""

    async def container(self, id: str) -> Container:
        """The fold of its stream."""

    async def until(self, id: str, ready: Callable[[Container], bool]) -> Container | None:
        """As soon as it is true of the container."""


class Bells(Protocol):
    """The part of the runtime that tells when a container has written something."""

    def watch(
        self, id: str, *, hold: int | None = None, with_start: bool = False
    ) -> AbstractAsyncContextManager[Watch]:
        """See `domain.ports.Runtime`."""


class Begin(Enum):
    """Where to begin: as the window says, with what comes from now on, or with the run that was expected."""

    WINDOW = auto()
    NOW = auto()
    EXPECTED = auto()


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of the output: times in ns since the epoch, `tail` in lines."""

    since: int | None = None
    until: int | None = None
    tail: int | None = None
    begin: Begin = Begin.WINDOW


class Streams:
    """Follows containers' output."""

    def __init__(self, stories: Stories, bells: Bells, logs: LogReader) -> None:
        self._stories, self._bells, self._logs = stories, bells, logs
        self._expected: dict[str, _Expected] = {}

    @asynccontextmanager
    async def expecting(self, id: str) -> AsyncIterator[None]:
        """Hold what a run writes that is started inside, until the one who starts it follows it with a hold of his own
        (or does not come within ten seconds): not a byte is lost between the start and the first look."""
        position = await self._logs.end(id)
        self.forget(id)
        expected = self._expected[id] = _Expected(position, self._bells.watch(id, hold=position, with_start=True))
        await expected.begin()
        try:
            yield
        except BaseException:
            self._release(expected, id)
            raise
        asyncio.get_running_loop().call_later(_EXPECTED, self._release, expected, id)

    def forget(self, id: str) -> None:
        """Nobody will come."""
        if id in self._expected:
            self._release(self._expected[id], id)

    async def follow(
        self,
        id: str,
        window: Window,
        *,
        restarts: bool = False,
        hold: float | None = None,
        begun: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[LogFrame]:
        """Frames as they are written, until the present run has ended and all of it was read; with `restarts` until no
        other run follows.

        With `hold` nothing is deleted that the consumer has not taken, as long as it takes a frame within so many
        seconds (`PATIENT`, `STALLED`); what it has missed after that the next frame tells. `begun` is called as soon
        as nothing that is written from then on can be missed.
        """
        run = (await self._stories.container(id)).attempt
        over = _over_for_good if restarts else _over(run)
        ended = asyncio.ensure_future(self._stories.until(id, over))
        try:
            async with self._bells.watch(id, hold=None if hold is None else 0) as watch:
                start = await self._start(id, window.begin)

                def at(position: int) -> None:
                    if hold is not None:
                        watch.hold(position)
                    if window.begin is Begin.EXPECTED:
                        self.forget(id)
                    begun()

                frames = self._logs.frames(
                    id, since=window.since, until=window.until, tail=window.tail, start=start,
                    follow=_more(ended, watch), begun=at,
                )
                async for frame in frames if hold is None else _held(frames, watch, hold):
                    yield frame
        finally:
            ended.cancel()

    async def upcoming(
        self, id: str, *, run: int, hold: float, begun: Callable[[], None] = lambda: None
    ) -> AsyncIterator[LogFrame]:
        """Frames of a run from its first byte on, until it has ended; none when it does not come, because the container
        is removed. `begun` is called once nothing more of it can be missed: nothing at all if it has not begun then."""
        position = await self._logs.end(id)
        async with self._bells.watch(id, hold=position, with_start=True) as watch:
            begun()
            await self._stories.until(id, lambda c: c.attempt >= run or c.state in _OVER)
            ended = asyncio.ensure_future(self._stories.until(id, _over(run)))
            try:
                frames = self._logs.frames(id, start=position, follow=_more(ended, watch))
                async for frame in _held(frames, watch, hold):
                    yield frame
            finally:
                ended.cancel()

    async def stored(self, id: str, window: Window) -> AsyncIterator[LogFrame]:
        """Frames that there are now. While the container runs they are held as for a person."""
        if not (await self._stories.container(id)).pid:
            async for frame in self._logs.frames(id, since=window.since, until=window.until, tail=window.tail):
                yield frame
            return
        async with self._bells.watch(id, hold=0) as watch:
            frames = self._logs.frames(
                id, since=window.since, until=window.until, tail=window.tail, begun=watch.hold
            )
            async for frame in _held(frames, watch, STALLED):
                yield frame

    async def _start(self, id: str, begin: Begin) -> int | None:
        """The position to begin with; None if that is not what decides."""
        if begin is Begin.NOW:
            return await self._logs.end(id)
        expected = self._expected.get(id) if begin is Begin.EXPECTED else None
        return None if expected is None else expected.position

    def _release(self, expected: "_Expected", id: str) -> None:
        expected.end()
        if self._expected.get(id) is expected:
            del self._expected[id]


class _Expected:
    """A watch that is held until it is ended."""

    def __init__(self, position: int, watch: AbstractAsyncContextManager[Watch]) -> None:
        self.position = position
        self._watch = watch
        self._stack = AsyncExitStack()
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """It is in place when this returns."""
        await self._stack.enter_async_context(self._watch)
        self._task = asyncio.get_running_loop().create_task(self._hold())

    def end(self) -> None:
        """Let go."""
        self._over.set()

    async def _hold(self) -> None:
        async with self._stack:
            await self._over.wait()


async def _held(frames: AsyncIterator[LogFrame], watch: Watch, hold: float) -> AsyncIterator[LogFrame]:
    """The same frames. What the consumer has taken is held no more; nothing is when it does not come back in time, and
    what follows is again when it does."""
    loop = asyncio.get_running_loop()
    async for frame in frames:
        patience = None if hold == PATIENT else loop.call_later(hold, watch.hold, None)
        yield frame
        if patience is not None:
            patience.cancel()
        watch.hold(frame.position)


def _over(run: int) -> Callable[[Container], bool]:
    """Whether that run has ended, or never begun."""
    return lambda c: c.attempt > run or (c.state is not State.STARTING and not c.pid)


def _over_for_good(container: Container) -> bool:
    """Whether nothing runs, and no other run will begin by itself."""
    return not container.pid and container.state not in _COMING


def _more(ended: "asyncio.Future[Any]", watch: Watch) -> Callable[[], Awaitable[bool]]:
    """For the reader at the end of the file: wait for the bell or the end. After the end it may look once more, because
    the exit is reported when everything is written."""
    last_look = False
    # Not a wait for either of two: that costs two more turns of the loop, which are felt under the fingers.
    ended.add_done_callback(lambda _: watch.ring())

    async def more() -> bool:
        nonlocal last_look
        if last_look:
            return False
        await watch.bell()
        last_look = ended.done()
        return True

    return more
