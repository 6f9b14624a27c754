"""What is written down of one build: its own stream, and the entries of the cache that it finds and makes.

Small things that need not be known at once (a step was found in the cache, or only changed the configuration) wait for
the next append: a build that is all in the cache costs two.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from domain.build.events import CacheStored, CacheUsed
from domain.build.keys import Key, cause, step
from domain.build.streams import Build, Entry, fold_entry
from domain.errors import NotFound
from domain.images.model import Image
from domain.messages import Append, Event, Meta, Recorded, StreamId
from domain.ports.bus import Clock
from domain.ports.events import EventStore, Views
from domain.text.units import MINUTE
from workers.images import Images, More
from workers.unbroken import unbroken

Recording = Callable[[More], Awaitable[None]]
"""Something that appends; it is given what makes the rest of the batch."""
_FRESH = 10 * MINUTE
"""Using an entry again within this time is not worth an event."""


@dataclass(frozen=True, slots=True)
class _Sheet:
    """What goes into one append."""

    events: tuple[Event, ...]
    used: tuple[str, ...]
    also: tuple[Callable[[], Awaitable[Append]], ...]


class Ledger:
    """Appends to the stream of one build; nobody else does."""

    def __init__(self, id: str, store: EventStore, clock: Clock, meta: Meta) -> None:
        self.build = Build(id)
        self.meta = meta
        self._store, self._clock = store, clock
        self._waiting: list[Event] = []
        self._used: dict[str, None] = {}
        self._also: list[Callable[[], Awaitable[Append]]] = []
        self._lock = asyncio.Lock()

    def note(self, *events: Event) -> None:
        """To be written with what comes next."""
        self._waiting += events

    def use(self, key: str) -> None:
        """An entry of the cache was found, and was not used for a while."""
        self._used[key] = None

    def also(self, append: Callable[[], Awaitable[Append]]) -> None:
        """Something for another stream, to be written with what comes next."""
        self._also.append(append)

    async def write(self, *events: Event) -> None:
        """Write this, and what has waited. Raises: StorageError."""
        await self.write_with(self._append, *events)

    async def write_with(self, record: Recording, *events: Event) -> None:
        """Let `record` append this, and what has waited, together with something of its own. Who is called off
        meanwhile does not tear it: what was stored must also be known here, or nothing could be written after it."""
        await unbroken(self._write(record, events))

    async def end(self, outcome: Event) -> None:
        """Write how it has ended, and what has waited; nothing when it has ended already. Raises: StorageError."""
        await unbroken(self._write(self._append, (outcome,), last=True))

    async def _append(self, more: More) -> None:
        await self._store.append(await more(), self.meta)

    async def _write(self, record: Recording, events: Sequence[Event], *, last: bool = False) -> None:
        async with self._lock:
            if last and self.build.state not in ("absent", "running"):
                return
            waiting, used = self._waiting, self._used
            sheet = _Sheet((*waiting, *events), tuple(used), tuple(self._also))
            self._waiting, self._used, self._also = [], {}, []
            try:
                await record(lambda: self._batch(sheet))
            except BaseException:  # nothing of it is in the log: the wish itself may be among what has waited
                self._waiting, self._used = [*waiting, *self._waiting], used | self._used
                raise
            for event in sheet.events:
                told = Recorded(0, self.build.stream, self.build.version + 1, self._clock.now(), event, self.meta)
                self.build = self.build.after(told)

    async def _batch(self, sheet: _Sheet) -> Sequence[Append]:
        """What is to be appended now; asked again when somebody else has appended to an entry of the cache."""
        batch = [self.build.append(*sheet.events)] if sheet.events else []
        for key in sheet.used:
            entry = await load_entry(self._store, key)
            if entry.image_id:
                batch.append(entry.append(CacheUsed(build=self.build.id)))
        return [*batch, *[await append() for append in sheet.also]]


async def load_entry(store: EventStore, key: str) -> Entry:
    """What is kept under a key."""
    return fold_entry(key, await store.load(StreamId("cache", key)))


class Cache:
    """Finds what was built before. Nothing is decided here that an event does not say."""

    def __init__(self, store: EventStore, views: Views, images: Images, clock: Clock) -> None:
        self._store, self._views, self._images, self._clock = store, views, images, clock
        self._making: dict[str, asyncio.Lock] = {}

    def maker(self, key: Key) -> asyncio.Lock:
        """Two builds that need the same step: the second waits, and then finds it."""
        while len(self._making) > 1000:
            idle = next((digest for digest, lock in self._making.items() if not lock.locked()), None)
            if idle is None:
                break
            del self._making[idle]
        return self._making.setdefault(key.digest, asyncio.Lock())

    async def find(self, key: Key, ledger: Ledger) -> Image | None:
        """The image that is kept under a key."""
        row = await self._views.get("build_cache", key.digest)
        if row is None:
            return None
        try:
            image = await self._images.image(str(row["image_id"]))
        except NotFound:
            return None
        used = row["used"]
        if not isinstance(used, int) or self._clock.now() - used > _FRESH:
            ledger.use(key.digest)
        return image

    async def holds(self, key: Key) -> bool:
        """Whether something is kept under a key, wanted or not (`--no-cache`)."""
        return await self._views.get("build_cache", key.digest) is not None

    async def cause(self, text: str, key: Key) -> tuple[str, Image | None]:
        """Why it is not found: what has changed since the same step was built last; and the image of then, if that is
        still here."""
        rows = await self._views.select(
            "build_cache", where={"step": step(text)}, order="created", descending=True, limit=1
        )
        if not rows:
            return cause(None, key.parts), None
        listed = rows[0]["inputs"]
        listed = json.loads(listed) if isinstance(listed, str) else listed
        pairs = listed if isinstance(listed, list) else []
        told = cause(tuple((str(name), str(value)) for name, value in pairs), key.parts)
        try:
            return told, await self._images.image(str(rows[0]["image_id"]))
        except NotFound:
            return told, None

    async def storing(self, key: Key, text: str, image: Image, size: int, build: str, source: str = "") -> Append:
        """What keeps an image under a key."""
        entry = await load_entry(self._store, key.digest)
        event = CacheStored(
            image_id=image.id, step=step(text), text=text, inputs=key.parts, size=size, build=build, source=source
        )
        return entry.append(event)
