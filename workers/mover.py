"""The mover: load, decide, append. Every change of a container passes through here and nowhere else.

One asyncio lock per stream keeps decisions in order; it is held while deciding and appending, never while the kernel
works, so that a `kill` gets through while a `stop` waits. The folds of recently used containers are kept; they are only
a copy of the log and are dropped when somebody else appended.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from weakref import WeakValueDictionary

from domain.container import TRANSIENT, Container, State
from domain.errors import Conflict
from domain.failpoints import failpoint
from domain.lifecycle import MACHINE
from domain.lifecycle.exec import ReportExecExit
from domain.lifecycle.exit import ReportExit
from domain.lifecycle.shortage import ReportMemoryKills
from domain.lifecycle.start import Adopt
from domain.lifecycle.update import Update, under_way
from domain.machine import settled_by
from domain.messages import Actor, Append, Command, Event, Meta, Recorded, StreamId
from domain.policies.follow_up import follow_up
from domain.ports.bus import Clock
from domain.ports.events import EventStore
from workers.unbroken import unbroken

More = Callable[[], Awaitable[Sequence[Append]]]
"""What else belongs into an append, decided anew for each try."""
KEPT = 4096
"""How many folds are kept in memory."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and the identity of the request (empty: not repeatable)."""

    actor: Actor = field(default_factory=Actor)
    command_id: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """What every event of this daemon carries: boot id and engine version."""

    boot: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """A decision that is in the log: the fold it was decided on, and the fold after it."""

    before: Container
    after: Container

    @property
    def intents(self) -> frozenset[int]:
        """Positions of the work that was asked for and is not done."""
        return frozenset(set(self.after.open) - set(self.before.open))


class Mover:
    """Owns the folds and the locks of all containers."""

    def __init__(self, store: EventStore, clock: Clock, origin: Origin) -> None:
        self._store, self._clock, self._origin = store, clock, origin
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._folds: OrderedDict[str, Container] = OrderedDict()
        self._caused: OrderedDict[int, list[Event]] = OrderedDict()
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    async def container(self, id: str) -> Container:
        """The fold of the stream as of now; a container without events is absent."""
        kept = self._folds.get(id)
        if kept is not None:
            self._folds.move_to_end(id)
            return kept
        container = MACHINE.fold(id, await self._store.load(_stream(id)))
        if (kept := self._folds.get(id)) is not None and kept.version > container.version:
            container = kept  # somebody has appended while we read, and who learns that later waits for the next change
        if container.version:
            self._keep(container)
        return container

    async def accept(
        self,
        id: str,
        commands: Sequence[Command],
        caller: Caller,
        *,
        reply: str | None = None,
        more: More | None = None,
    ) -> Moved:
        """Decide the commands one after the other and append all their events at once, with what `more` gives for other
        streams: it is asked again if one of those has moved meanwhile.

        Waits first until what ends by itself has ended. Raises: Refused, NotFound, NameTaken, StorageError.
        """
        while (moved := await self.accept_now(id, commands, caller, reply=reply, more=more)) is None:
            await self.until(id, lambda c: not _waits(c, commands))
        return moved

    async def accept_now(
        self, id: str, commands: Sequence[Command], caller: Caller, *, reply: str | None = None,
        more: More | None = None,
    ) -> Moved | None:
        """The same without waiting; None while something has to end by itself first."""
        async with self._lock(id):
            while not _waits(container := await self.container(id), commands):
                try:
                    also = await more() if more else ()
                    return Moved(container, await self._decide(container, commands, self.meta(caller), reply, also))
                except Conflict:
                    self._folds.pop(id, None)
        return None

    async def note(self, id: str, intent: int, command: Command) -> Container:
        """Decide something that belongs to the work of an open intent, and append it; nothing once that work has an
        outcome."""
        async with self._lock(id):
            while intent in (container := await self.container(id)).open:
                try:
                    return await self._decide(container, (command,), self.meta(Caller(), cause=intent), None)
                except Conflict:
                    self._folds.pop(id, None)
        return container

    async def report(self, id: str, fact: ReportExit | ReportExecExit | ReportMemoryKills | Adopt) -> Container:
        """Append what the kernel says; a fact that is not news gives no event."""
        while True:
            async with self._lock(id):
                container = await self.container(id)
                if container.state is not State.STARTING or isinstance(fact, ReportExecExit):
                    try:
                        return await self._decide(container, (fact,), self._meta_of(container, fact), None)
                    except Conflict:
                        self._folds.pop(id, None)
                        continue
            await self.until(id, lambda c: c.state is not State.STARTING)

    async def settle(self, id: str, intent: int, outcome: Event, *, more: Sequence[Append] = ()) -> Container:
        """Append the outcome of the intent at a position, with what follows from it; an outcome that comes too late
        (an exit has won, or it was told twice) is dropped. `more` goes into the same transaction."""
        async with self._lock(id):
            container = await self.container(id)
            meta = replace(self._meta_of(container), cause=intent)
            if intent not in settled_by(container.open, outcome, intent):
                return container
            after = _ahead(container, (outcome,), meta, self._clock.now())
            events = (outcome, *follow_up(after, outcome, self._clock.now()))
            return await self._append(container, events, meta, None, more)

    def outcomes(self, intents: frozenset[int]) -> Sequence[Event] | None:
        """What these intents have led to, if all of that was appended here and lately; None: read it in the log."""
        found = [self._caused.get(intent) for intent in sorted(intents)]
        return None if None in found else [event for events in found if events for event in events]

    def forget(self, id: str) -> None:
        """Drop the fold: somebody else may have appended."""
        self._folds.pop(id, None)

    async def until(
        self, id: str, ready: Callable[[Container], bool], timeout: float | None = None
    ) -> Container | None:
        """The first fold for which `ready` holds; None when `timeout` seconds have passed."""
        try:
            async with asyncio.timeout(timeout):
                while not ready(container := await self.container(id)):
                    await self._next_change(id)
                return container
        except TimeoutError:
            return None

    def meta(self, caller: Caller, *, cause: int = 0) -> Meta:
        """What every event says about where it comes from."""
        return Meta(
            actor=caller.actor,
            command_id=caller.command_id,
            cause=cause,
            boot=self._origin.boot,
            version=self._origin.version,
        )

    def _meta_of(self, container: Container, fact: object = None) -> Meta:
        """The end of another process was caused by its own request, everything else by the last stop or kill."""
        execution = container.execs.get(fact.exec_id) if isinstance(fact, ReportExecExit) else None
        return self.meta(Caller(), cause=container.requested if execution is None else execution.requested)

    async def _decide(
        self,
        container: Container,
        commands: Sequence[Command],
        meta: Meta,
        reply: str | None,
        more: Sequence[Append] = (),
    ) -> Container:
        events: list[Event] = []
        ahead = container
        for command in commands:
            decided = MACHINE.decide(ahead, command)
            ahead = _ahead(ahead, decided, meta, self._clock.now())
            events += decided
        return await self._append(container, tuple(events), meta, reply, more) if events else container

    async def _append(
        self,
        container: Container,
        events: tuple[Event, ...],
        meta: Meta,
        reply: str | None,
        more: Sequence[Append] = (),
    ) -> Container:
        """Not to be torn by a caller that goes away: what was stored must also be known here."""
        return await unbroken(self._append_whole(container, events, meta, reply, more))

    async def _append_whole(
        self, container: Container, events: tuple[Event, ...], meta: Meta, reply: str | None, more: Sequence[Append]
    ) -> Container:
        failpoint("mover.before-append")
        batch = (Append(_stream(container.id), container.version, events), *more)
        try:
            records = await self._store.append(batch, meta, reply=reply)
            failpoint("mover.after-append")
        except Exception:
            self._folds.pop(container.id, None)  # it may be stored all the same: who asks next reads it from the log
            self._wake(container.id)
            raise
        for record in records:
            if record.stream == _stream(container.id):
                container = MACHINE.evolve(container, record)
                self._remember_cause(record)
        self._keep(container)
        self._wake(container.id)
        return container

    def _remember_cause(self, record: Recorded) -> None:
        if record.meta.cause:
            self._caused.setdefault(record.meta.cause, []).append(record.event)
            while len(self._caused) > KEPT:
                self._caused.popitem(last=False)

    def _lock(self, id: str) -> asyncio.Lock:
        return self._locks.setdefault(id, asyncio.Lock())  # lives as long as somebody holds or awaits it

    def _keep(self, container: Container) -> None:
        self._folds[container.id] = container
        self._folds.move_to_end(container.id)
        while len(self._folds) > KEPT:
            self._folds.popitem(last=False)

    async def _next_change(self, id: str) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(id, set())
        waiting.add(future)
        try:
            await future
        finally:
            waiting.discard(future)
            if not waiting and self._waiting.get(id) is waiting:
                del self._waiting[id]

    def _wake(self, id: str) -> None:
        for future in tuple(self._waiting.get(id, ())):
            if not future.done():
                future.set_result(None)


def _waits(container: Container, commands: Sequence[Command]) -> bool:
    """Whether the commands cannot be decided yet. Changes of limits come one after the other: each says what was
    before, and the kernel may refuse the one that is under way."""
    limits = any(isinstance(command, Update) and command.limits for command in commands)
    return container.state in TRANSIENT or (limits and under_way(container))


def _stream(id: str) -> StreamId:
    return StreamId("container", id)


def _ahead(container: Container, events: Sequence[Event], meta: Meta, now: int) -> Container:
    """The fold as it will be, so that the next decision sees it; positions are not known yet."""
    for event in events:
        record = Recorded(0, _stream(container.id), container.version + 1, now, event, meta)
        container = MACHINE.evolve(container, record)
    return container
