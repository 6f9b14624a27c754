"""Who looks is recorded while he is answered: nobody waits for it, and nothing fails because it could not be stored.

    verb or route ── Reading ──→ Accesses.note ──→ Tally ──(now, or when a window is over)──→ append, in the background

`domain.accesses` decides what is recorded. A count that was not recorded yet is lost when the daemon is killed; when it
ends in good order it is not.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from domain.accesses import Access, Due, Tally
from domain.errors import LadingError
from domain.messages import Actor, Append, Event, Meta, StreamId, StreamKind
from domain.options import OptionError
from domain.ports.events import EventStore
from domain.text.units import SECOND
from workers.mover import Origin

log = logging.getLogger(__name__)


class Register(Protocol):
    """Takes down who looks."""

    def note(self, actor: Actor, what: str, object: StreamId | None, refused: str = "") -> None:
        """Somebody has asked for `what` about an object (None: the host), and was refused with a reason or was not."""

    async def settled(self) -> None:
        """Returns when everything that was recorded until now can be read."""

    async def end(self) -> None:
        """Record what was only counted so far; nothing is noted after it."""


class Unrecorded:
    """Takes nothing down: for who does not want it, and where there is no engine."""

    def note(self, actor: Actor, what: str, object: StreamId | None, refused: str = "") -> None:
        """Nothing."""

    async def settled(self) -> None:
        """At once."""

    async def end(self) -> None:
        """Nothing."""


class Accesses:
    """The register of one host."""

    def __init__(
        self, store: EventStore, host: str, origin: Origin, *, now: Callable[[], int] = time.time_ns,
        tally: Tally | None = None,
    ) -> None:
        self._store, self._origin, self._now = store, origin, now
        self._host = StreamId("host", host)
        self._tally = tally or Tally()
        self._due: list[Due] = []
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    def note(self, actor: Actor, what: str, object: StreamId | None, refused: str = "") -> None:
        """See Register."""
        if not self._ended:
            self._take(self._tally.note(Access(actor, what, object or self._host, refused), self._now()))

    async def settled(self) -> None:
        """See Register."""
        if self._writing is not None:
            await asyncio.shield(self._writing)

    async def end(self) -> None:
        """See Register."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        self._take(self._tally.drain())
        await self.settled()

    def _take(self, due: Sequence[Due]) -> None:
        self._due += due
        if self._due and self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())
        if self._timer is None and not self._ended and (ends := self._tally.ends) is not None:
            seconds = max(ends - self._now(), 0) / SECOND
            self._timer = asyncio.get_running_loop().call_later(seconds, self._close)

    def _close(self) -> None:
        """Windows may be over."""
        self._timer = None
        self._take(self._tally.close(self._now()))

    async def _write(self) -> None:
        """All that is due, until nothing is."""
        try:
            while self._due:
                due, self._due = self._due, []
                for actor, batch in _batches(due):
                    await self._append(actor, batch)
        finally:
            self._writing = None

    async def _append(self, actor: Actor, batch: Sequence[Append]) -> None:
        meta = Meta(actor=actor, boot=self._origin.boot, version=self._origin.version)
        try:
            await self._store.append(batch, meta)
        except LadingError as error:
            log.error("who has looked at %s could not be recorded: %s", ", ".join(_about(batch)), error)
        except Exception:  # a defect here must not keep others from being recorded
            log.exception("who has looked at %s could not be recorded", ", ".join(_about(batch)))


def _batches(due: Sequence[Due]) -> list[tuple[Actor, list[Append]]]:
    """One append for each who asks; it does not matter what a stream is at, for these facts depend on none before."""
    found: dict[Actor, dict[StreamId, list[Event]]] = {}
    for each in due:
        found.setdefault(each.actor, {}).setdefault(each.stream, []).append(each.event)
    return [(actor, [Append(stream, None, tuple(events)) for stream, events in streams.items()])
            for actor, streams in found.items()]


def _about(batch: Sequence[Append]) -> list[str]:
    return [each.stream.key for each in batch[:5]]


class Reading:
    """One request that may only look, on its way: what it asks for (nothing: it is no such request), and about which
    objects. It is noted once, when its answer begins or it is refused."""

    def __init__(self, register: Register, actor: Actor, what: str) -> None:
        self._register, self._actor, self._what = register, actor, what
        self._about: dict[StreamId, None] = {}
        self._noted = self._missed = False

    def about(self, kind: StreamKind, key: str) -> None:
        """The answer is, or would be, about this object; without any it is about the host."""
        self._about[StreamId(kind, key)] = None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Around the answer. What cannot be read is no question yet. Who goes away while he is answered, or before, has
        asked all the same, and nobody knows how much he has seen."""
        try:
            yield
        except OptionError:
            raise
        except LadingError as error:
            self.refused(error.message)
            raise
        except asyncio.CancelledError:
            self.answered()
            raise
        self.answered()

    def answered(self) -> None:
        """The answer begins, or is complete. Twice is fine."""
        if not self._noted:
            self._note("")

    def refused(self, reason: str) -> None:
        """It is not answered; does nothing once its answer has begun."""
        if not self._noted:
            self._note(reason)

    def missed(self, reason: str) -> None:
        """One of several objects is not there, or cannot be told: the host's own to know."""
        self._missed = True
        if self._what:
            self._register.note(self._actor, self._what, None, reason)

    def _note(self, refused: str) -> None:
        self._noted = True
        if self._what:
            for object in self._about or (() if self._missed else (None,)):
                self._register.note(self._actor, self._what, object, refused)
