"""The relay: what was committed goes to the bus in order of position, and work is handed out until it has an outcome.

The bus is allowed to lose everything. Work is told again every `AGAIN` seconds, and at once after a reconnect, until
its outcome is in the log; the worker does a thing once however often it is told. Live events are only told once: who
misses one reads it from the log.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from domain import subjects
from domain.errors import InvalidValue, LadingError, Unavailable
from domain.failpoints import failpoint
from domain.messages import Recorded
from domain.ports.bus import Bus, Message
from domain.ports.events import OpenIntent
from workers.wire import Outcome, Work

log = logging.getLogger(__name__)
AGAIN = 2.0
"""Seconds after which work without an outcome is told again."""
_MOMENT = 0.001
"""Seconds after which live events are told: whoever waits for what they are about comes first, and several of them
leave in one go."""
_LAST_SECONDS = 1.0
"""For so long the end of the daemon waits for a bus that does not take the last of them."""


class Relay:
    """Publishes records and owns the work that is under way."""

    def __init__(self, bus: Bus, host: str, head: int) -> None:
        self._bus, self._host = bus, host
        self._next = head + 1
        self._settle: Callable[[Work, Outcome], Awaitable[None]] | None = None
        self._early: dict[int, Recorded] = {}
        self._queue: asyncio.Queue[Recorded] = asyncio.Queue()
        self._news: deque[Recorded] = deque()
        self._untold = asyncio.Event()
        self._open: dict[int, Work] = {}
        self._intents: dict[int, Recorded] = {}
        self._kinds: frozenset[str] = frozenset()
        self._listeners: list[Callable[[Recorded], None]] = []
        self.head = head

    def listen(self, listener: Callable[[Recorded], None]) -> None:
        """Call `listener` with every record in order of position."""
        self._listeners.append(listener)

    def publish(self, records: Sequence[Recorded]) -> None:
        """Take committed records; they leave once and in order of position, in whatever order commits were told."""
        self._early |= {record.position: record for record in records if record.position >= self._next}
        while (record := self._early.pop(self._next, None)) is not None:
            self._queue.put_nowait(record)
            self.head = self._next
            self._next += 1

    async def begin(self, kinds: frozenset[str], settle: Callable[[Work, Outcome], Awaitable[None]]) -> None:
        """Listen for outcomes and give them to `settle`; `kinds` are the intents that workers carry out."""
        self._kinds, self._settle = kinds, settle
        await self._bus.serve(subjects.done(self._host, "*"), self._done)

    async def run(self) -> None:
        """Publish until cancelled: work at once, for somebody waits for it; what happened a moment later."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._hand_out_news())
            both.create_task(self._tell_news())

    async def _hand_out_news(self) -> None:
        while True:
            record = await self._queue.get()
            for listener in self._listeners:
                listener(record)
            self._news.append(record)
            self._untold.set()
            if record.event.intent and record.event.stored_as in self._kinds:
                self._intents[record.position] = record
                await self.hand_out(OpenIntent(record.position, record.stream, record.event.stored_as))

    async def _tell_news(self) -> None:
        while True:
            await self._untold.wait()
            await asyncio.sleep(_MOMENT)
            self._untold.clear()
            await self._tell_waiting()

    async def _tell_waiting(self) -> None:
        while self._news:
            await self._tell_event(self._news.popleft())

    async def end(self) -> None:
        """Tell of what was committed last, after `run` was cancelled; work is left to the next daemon. A bus that takes
        nothing is not waited for: the log has it all."""
        while not self._queue.empty():
            self._news.append(self._queue.get_nowait())
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await self._tell_waiting()

    def intent(self, position: int) -> Recorded | None:
        """The intent there, if it was committed while we ran and has no outcome yet: who carries it out in this process
        need not read it from the log."""
        return self._intents.get(position)

    async def hand_out(self, intent: OpenIntent) -> None:
        """Give the work to a worker; it is told again until an outcome is in the log."""
        work = Work(intent.position, intent.stream.key, intent.kind)
        self._open[work.position] = work
        await self._send(work)

    async def insist(self) -> None:
        """Tell all open work again, for ever."""
        while True:
            await asyncio.sleep(AGAIN)
            await self.tell_again()

    async def tell_again(self) -> None:
        """Tell all open work at once, as after a reconnect."""
        for work in tuple(self._open.values()):
            await self._send(work)

    async def _send(self, work: Work) -> None:
        await self._tell(subjects.work(self._host, work.kind), work.encode())

    async def _tell_event(self, record: Recorded) -> None:
        subject = subjects.event(self._host, record.stream.kind, record.stream.key, record.event.stored_as)
        try:
            await self._tell(subject, live(record))
        except InvalidValue:  # an image may say megabytes about itself, and a message has a limit
            await self._tell(subject, live(record, whole=False))

    async def _tell(self, subject: str, payload: bytes) -> None:
        try:
            failpoint("relay.before-telling")
            await self._bus.publish(subject, payload)
        except Unavailable:
            log.debug("the bus is away: %s was not told", subject)

    async def _done(self, message: Message) -> None:
        position = int(message.subject.rpartition(".")[2])
        work = self._open.get(position)
        if work is None or self._settle is None:
            return
        try:
            await self._settle(work, Outcome.decode(message.data))
        except LadingError as error:
            log.error("the outcome of %s %s could not be stored: %s", work.kind, work.id[:12], error)
            return
        self._open.pop(position, None)
        self._intents.pop(position, None)


def live(record: Recorded, *, whole: bool = True) -> bytes:
    """A record as it travels: CloudEvents attribute names; sealed fields are left out, and unless it is `whole` all of
    its data."""
    event = record.event
    document = {
        "id": str(record.position),
        "type": event.stored_as,
        "subject": str(record.stream),
        "version": record.version,
        "time": record.time,
        "data": event.model_dump(mode="json", exclude=set(event.sealed)) if whole else None,
        "actor": {"user": record.meta.actor.user, "uid": record.meta.actor.uid, "command": record.meta.actor.command},
    }
    return json.dumps(document).encode()
