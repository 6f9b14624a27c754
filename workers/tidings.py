"""Everything that happens, told once for all who listen.

One narrator tells each record, and whoever listens is given what fits him, however many they are: nobody but a listener
waits for that. Who does not keep up reads from the log what he has missed.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from domain.errors import LadingError
from domain.messages import Recorded
from domain.notices import Narrator, Notice
from domain.ports.events import EventStore
from domain.text.units import SECOND

MOST_WAITING = 1000
"""So many records wait for one listener; then he reads the log."""
_PAGE = 500
_AT_A_TIME, _PAUSE = 25, 0.005
Test = Callable[[Notice], bool]


@dataclass(frozen=True, slots=True)
class _Told:
    """What one record is to a listener."""

    position: int
    time: int
    notices: tuple[Notice, ...]


class Tidings:
    """What has happened on this host, and what happens."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._listeners: set[_Listener] = set()
        self._fresh: deque[Recorded] = deque()
        self._news = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def hear(self, record: Recorded) -> None:
        """A committed record, in order of position."""
        if self._listeners:
            self._fresh.append(record)
            self._news.set()

    async def follow(
        self, fits: Test, *, after: int | None = None, until: int | None = None, now: Callable[[], int] = time.time_ns
    ) -> AsyncGenerator[Notice, None]:
        """What fits of the records behind the position `after` (None: of what comes), and of what comes until a moment
        (ns; None: for ever). Raises: StorageError."""
        position, over = after, False
        while True:
            with self._listening(fits) as listener:
                head = await self._store.head()
                position = head if position is None else position
                narrator = Narrator()
                while position < head:
                    for record in await self._store.read(position, min(_PAGE, head - position)):
                        if until is not None and record.time > until:
                            return
                        position = record.position
                        for notice in await self._told(narrator, record):
                            if fits(notice):
                                yield notice
                if over:
                    return
                while (told := await listener.next(until, now)) is not None:
                    if until is not None and told.time > until:
                        return
                    if told.position > head:
                        position = told.position
                        for notice in told.notices:
                            yield notice
                over = not listener.behind  # his moment has come: what nobody has told him yet is in the log

    @contextmanager
    def _listening(self, fits: Test) -> "Iterator[_Listener]":
        listener = _Listener(fits)
        self._listeners.add(listener)
        if self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell())
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            if not self._listeners and self._telling is not None:
                self._telling.cancel()
                self._telling = None
                self._fresh.clear()

    async def _tell(self) -> None:
        narrator = Narrator()
        while True:
            await self._news.wait()
            self._news.clear()
            while self._fresh:
                record = self._fresh.popleft()
                try:
                    notices = await self._told(narrator, record)
                except LadingError:  # each listener meets it himself when he reads the log
                    narrator = Narrator()
                    for listener in self._listeners:
                        listener.fall_behind()
                    continue
                if notices:
                    await self._hand_out(record, notices)

    async def _hand_out(self, record: Recorded, notices: tuple[Notice, ...]) -> None:
        """A few listeners at a time: between them others have their turn, first of all who writes."""
        for place, listener in enumerate(tuple(self._listeners), 1):
            listener.take(record, notices)
            if place % _AT_A_TIME == 0:
                await asyncio.sleep(_PAUSE)
        await asyncio.sleep(0)

    async def _told(self, narrator: Narrator, record: Recorded) -> tuple[Notice, ...]:
        """A container's record is told after all that came before it."""
        stream = record.stream
        if stream.kind == "container" and record.version > 1 and not narrator.knows(stream.key):
            for earlier in await self._store.load(stream):
                if earlier.version >= record.version:
                    break
                narrator.tell(earlier)
        return narrator.tell(record)


class _Listener:
    """Somebody who waits for what fits; `behind` says that he has missed something."""

    def __init__(self, fits: Test) -> None:
        self._fits = fits
        self._waiting: deque[_Told] = deque()
        self._news = asyncio.Event()
        self.behind = False

    def take(self, record: Recorded, notices: tuple[Notice, ...]) -> None:
        """What a record is to clients."""
        fitting = tuple(notice for notice in notices if self._fits(notice))
        if not fitting or self.behind:
            return
        if len(self._waiting) >= MOST_WAITING:
            return self.fall_behind()
        self._waiting.append(_Told(record.position, record.time, fitting))
        self._news.set()

    def fall_behind(self) -> None:
        """Nothing more can be told; what waits is in the log as well."""
        self.behind = True
        self._waiting.clear()
        self._news.set()

    async def next(self, until: int | None, now: Callable[[], int]) -> _Told | None:
        """What comes next; None when the time is over, or he is behind."""
        while not self._waiting and not self.behind:
            self._news.clear()
            try:
                async with asyncio.timeout(None if until is None else max(until - now(), 0) / SECOND):
                    await self._news.wait()
            except TimeoutError:
                return None
        return self._waiting.popleft() if self._waiting else None
