"""The lifecycle worker: takes work from the bus, carries it out once, and tells the outcome.

The same work may be told many times. What is in hand is not begun again; what is done is answered from memory. After a
crash nothing is in memory, and each act is written so that it finds what was already done in the kernel.

A part of the engine that does not answer is waited for. Everything else that an act has not foreseen is a defect: after
`TRIES` of them the act is given up, and whoever asked is told (`workers.lifecycle.given_up`).
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from domain import subjects
from domain.container import Container
from domain.errors import LadingError, StorageError, Unavailable
from domain.messages import Recorded
from domain.ports.bus import Bus, Message
from workers.lifecycle import ACTS
from workers.lifecycle.given_up import GIVEN_UP, reason_of
from workers.lifecycle.hands import Hands
from workers.wire import Outcome, Work

log = logging.getLogger(__name__)
REMEMBERED = 1024
TRIES = 3
"""How often an act may fail in a way that nobody has foreseen, before it is given up."""

Find = Callable[[Work], Awaitable[tuple[Container, Recorded] | None]]


class Worker:
    """`find` gives the container and the intent of some work, or None when it has an outcome already."""

    def __init__(self, bus: Bus, host: str, hands: Hands, find: Find) -> None:
        self._bus, self._host, self._hands, self._find = bus, host, hands, find
        self._in_hand: set[int] = set()
        self._done: OrderedDict[int, bytes] = OrderedDict()
        self._defects: dict[int, int] = {}

    async def begin(self) -> None:
        """Subscribe to all work."""
        for kind in ACTS:
            await self._bus.serve(subjects.work(self._host, kind), self._take, queue="lifecycle")

    async def _take(self, message: Message) -> None:
        try:
            work = Work.decode(message.data)
        except Unavailable as error:
            log.warning("%s", error)
            return
        if work.position in self._in_hand:
            return
        if work.position not in self._done:
            self._in_hand.add(work.position)
            try:
                payload = await self._carry_out(work)
            finally:
                self._in_hand.discard(work.position)
            if payload is None:
                return
            self._remember(work.position, payload)
            self._defects.pop(work.position, None)
        await self._bus.publish(subjects.done(self._host, str(work.position)), self._done[work.position])

    async def _carry_out(self, work: Work) -> bytes | None:
        """The outcome as it travels; None when it is to be tried again as soon as it is told again."""
        found = await self._find(work)
        if found is None:
            return b""
        try:
            done = await ACTS[work.kind](*found, self._hands)
            return (done if isinstance(done, Outcome) else Outcome(done)).encode()
        except Unavailable as error:
            log.info("%s of %s waits: %s", work.kind, work.id[:12], error)
        except StorageError as error:  # its failure could not be stored either
            log.error("%s of %s: %s", work.kind, work.id[:12], error)
        except LadingError as error:
            log.error("%s of %s: %s", work.kind, work.id[:12], error)
            return await self._defect(work, *found, error)
        except Exception as error:
            log.exception("%s of %s", work.kind, work.id[:12])
            return await self._defect(work, *found, error)
        return None

    async def _defect(self, work: Work, container: Container, intent: Recorded, error: Exception) -> bytes | None:
        """Count it; the failure as it travels once there were enough of them."""
        count = self._defects[work.position] = self._defects.get(work.position, 0) + 1
        if count < TRIES:
            return None
        try:
            event = await GIVEN_UP[work.kind](container, intent, self._hands, reason_of(error))
        except Exception:
            log.exception("%s of %s cannot be given up", work.kind, work.id[:12])
            return None
        log.error("%s of %s is given up", work.kind, work.id[:12])
        return Outcome(event).encode()

    def _remember(self, position: int, payload: bytes) -> None:
        self._done[position] = payload
        while len(self._done) > REMEMBERED:
            self._done.popitem(last=False)
