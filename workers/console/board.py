"""The list of all containers, kept between calls: only rows that an event has touched are read again.

What is kept is true because it is compared with the log, not because somebody was told: a call asks for the head of
the log first, and every container that has an event since the last call is read anew. To hear of records (`hear`) saves
reading them from the log, no more.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Sequence

from domain.messages import Recorded
from domain.ports.events import EventStore, Views
from domain.projections.fold import Row
from workers.console.containers import Listed, listed
from workers.console.sheet import Sheet

MOST = 20_000
"""So many rows are kept at most; a longer list is read anew for each call."""
_BEHIND = 2_000
"""So many events are read to find out what has changed; after more of them the rows are."""
_MANY = 500
_TRIES = 5


def _place(container: Listed) -> tuple[int, str]:
    """Newest first, as the projection orders them."""
    return -container.created_at, container.id


class Board:
    """The containers of this host. `sheet` is their default table."""

    def __init__(self, store: EventStore, views: Views) -> None:
        self._store, self._views = store, views
        self.sheet = Sheet()
        self._known: dict[str, Listed] = {}
        self._order: list[Listed] = []
        self._shown: tuple[Listed, ...] = ()
        self._position = -1
        self._dirty: set[str] = set()
        self._reading = asyncio.Lock()

    def hear(self, record: Recorded) -> None:
        """A committed record, told in order of position; others are ignored."""
        if record.position == self._position + 1:
            self._position += 1
            self._mark(record)

    async def rows(self) -> Sequence[Listed]:
        """All containers, newest first, as the projection has them now: one moment within the call."""
        async with self._reading:
            for _ in range(_TRIES):
                head = await self._store.head()
                if not await self._follow(head):
                    break
                if not self._dirty:
                    return self._shown
                await self._read_dirty()
                if await self._store.head() == head:
                    return self._shown
            return await self._read_all()

    def _mark(self, record: Recorded) -> None:
        if record.stream.kind == "container":
            self._dirty.add(record.stream.key)

    async def _follow(self, head: int) -> bool:
        """Know what has changed up to `head`; False when that is too much, or everything."""
        behind = head - self._position
        if self._position < 0 or not 0 <= behind <= _BEHIND or len(self._known) > MOST:
            return False
        if behind:
            for record in await self._store.read(self._position, behind):
                self._mark(record)
            self._position = max(self._position, head)
        return len(self._dirty) <= max(_MANY, len(self._known) // 4)

    async def _read_dirty(self) -> None:
        """One query, so that all of it holds at one moment; the number of its values is a power of two, so that there
        are few different statements."""
        ids = sorted(self._dirty)
        self._dirty.clear()
        wanted = ids + ids[-1:] * ((1 << (len(ids) - 1).bit_length()) - len(ids))
        try:
            rows = await self._views.select("containers", where={"id": wanted})
        except BaseException:
            self._dirty.update(ids)
            raise
        found = {str(row["id"]): listed(row) for row in rows}
        for id in ids:
            self._put(id, found.get(id))
        self._shown = tuple(self._order)

    def _put(self, id: str, container: Listed | None) -> None:
        before = self._known.pop(id, None)
        if before is not None:
            del self._order[bisect_left(self._order, _place(before), key=_place)]
        if container is not None:
            self._known[id] = container
            self._order.insert(bisect_left(self._order, _place(container), key=_place), container)

    async def _read_all(self) -> Sequence[Listed]:
        """Events that come between the head and the rows are seen twice, which does no harm."""
        self._position = -1
        head = await self._store.head()
        rows = await self._views.select("containers", order="created_at", descending=True)
        order = _listed(rows) if len(rows) <= _MANY else await asyncio.to_thread(_listed, rows)
        if len(order) > MOST:
            self._known, self._order, self._shown = {}, [], ()
            self.sheet.clear()
            return order
        self._order, self._shown = order, tuple(order)
        self._known = {container.id: container for container in order}
        self._dirty.clear()
        self._position = head
        return self._shown


def _listed(rows: Sequence[Row]) -> list[Listed]:
    return [listed(row) for row in rows]
