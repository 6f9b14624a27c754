"""The event store and its views in memory: the same contract as the real ones, nothing durable.

Payloads are kept as the bytes that the real store would keep, so that an event that does not survive the disk does not
survive here either.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from domain.errors import Conflict, NameTaken
from domain.machine import settled_by
from domain.messages import Append, Event, Meta, Recorded, StreamId
from domain.ports.events import OpenIntent, Reply
from domain.projections.fold import Projection, Row
from domain.projections.replay import STILL, Replay, Shape, TemporalReplay, Values, is_temporal, replay, table_columns
from domain.stored import closed, from_bytes, sealed_bytes, to_bytes


@dataclass(slots=True)
class _Kept:
    """One event as it would lie on disk."""

    record: Recorded
    data: bytes
    secret: bytes


@dataclass(slots=True)
class _State:
    """Everything that a transaction changes."""

    log: list[_Kept] = field(default_factory=list)
    versions: dict[StreamId, int] = field(default_factory=dict)
    intents: dict[int, OpenIntent] = field(default_factory=dict)
    replies: dict[str, Reply] = field(default_factory=dict)


class MemoryEventStore:
    """The log of this host, for tests; projections are always up to date."""

    def __init__(self, projections: Sequence[Projection] = (), *, now: Callable[[], int] = time.time_ns) -> None:
        self.projections = tuple(projections)
        self._now = now
        self._state = _State()
        self.tables = {projection.name: _Table(projection) for projection in projections}
        self.views = MemoryViews(self.tables)

    async def load(self, stream: StreamId) -> Sequence[Recorded]:
        """All events of one stream in order; sealed fields readable while the stream's key exists."""
        return tuple(
            replace(kept.record, event=_event(kept, opened=True))
            for kept in self._state.log
            if kept.record.stream == stream
        )

    async def append(self, batch: Sequence[Append], meta: Meta, *, reply: str | None = None) -> Sequence[Recorded]:
        """Store all events of `batch`, or nothing (see the port)."""
        reply = reply if meta.command_id else None
        if reply is not None and meta.command_id in self._state.replies:
            raise Conflict(f"the command {meta.command_id} was carried out before")
        state, length, intents = self._state, len(self._state.log), dict(self._state.intents)
        versions = {each.stream: state.versions.get(each.stream, 0) for each in batch}
        try:
            records = [record for each in batch for record in self._append(each, meta)]
        except Exception:
            del state.log[length:]
            state.intents = intents
            state.versions.update(versions)
            for table in self.tables.values():
                table.undo()
            raise
        self._settle(records)
        if reply is not None:
            first, last = (records[0].position, records[-1].position) if records else (0, 0)
            self._state.replies[meta.command_id] = Reply(first, last, reply)
        return tuple(records)

    async def replied(self, command_id: str) -> Reply | None:
        """The stored reply of a command, if it was already carried out."""
        return self._state.replies.get(command_id)

    async def read(
        self, after: int, limit: int = 1000, *, streams: Sequence[StreamId] | None = None
    ) -> Sequence[Recorded]:
        """Up to `limit` events with a position above `after`, in order; sealed fields show their defaults."""
        found = [
            replace(kept.record, event=_event(kept, opened=False))
            for kept in self._state.log[max(after, 0) :]
            if streams is None or kept.record.stream in streams
        ]
        return tuple(found[:limit])

    async def open_intents(self) -> Sequence[OpenIntent]:
        """What is still to be done, oldest first."""
        return tuple(self._state.intents[position] for position in sorted(self._state.intents))

    async def head(self) -> int:
        """The position of the last event; 0 for an empty log."""
        return len(self._state.log)

    async def position_at(self, time: int) -> int:
        """The last position whose time (ns) is at or before `time`."""
        return sum(kept.record.time <= time for kept in self._state.log)

    async def caught_up(self) -> None:
        """Nothing to wait for."""

    def _settle(self, records: Sequence[Recorded]) -> None:
        for table in self.tables.values():
            table.settle()
        for dropped in (record for record in records if record.event.drops_key):
            for kept in self._state.log[: dropped.position]:
                if kept.record.stream == dropped.stream:
                    kept.secret = b""

    def _append(self, append: Append, meta: Meta) -> list[Recorded]:
        version = self._state.versions.get(append.stream, 0)
        if append.expected not in (version, None):
            raise Conflict(f"{append.stream} is at version {version}, not at {append.expected}")
        return [self._append_event(append.stream, event, meta) for event in append.events]

    def _append_event(self, stream: StreamId, event: Event, meta: Meta) -> Recorded:
        state = self._state
        version = state.versions[stream] = state.versions.get(stream, 0) + 1
        last = state.log[-1].record.time if state.log else 0
        record = Recorded(len(state.log) + 1, stream, version, max(self._now(), last + 1), event, meta)
        state.log.append(_Kept(record, to_bytes(event), sealed_bytes(event)))
        self._follow(record)
        return record

    def _follow(self, record: Recorded) -> None:
        event, state = record.event, self._state
        mine = {p: intent.kind for p, intent in state.intents.items() if intent.stream == record.stream}
        for position in settled_by(mine, event, record.meta.cause):
            del state.intents[position]
        if event.intent:
            state.intents[record.position] = OpenIntent(record.position, record.stream, event.stored_as)
        for table in self.tables.values():
            table.fold(replace(record, event=closed(event)))


class MemoryViews:
    """The projections' rows, for queries (port `Views`)."""

    def __init__(self, tables: dict[str, "_Table"]) -> None:
        self._tables = tables

    async def get(self, projection: str, key: str) -> Row | None:
        """One row by its key."""
        table = self._table(projection)
        rows = [row for row in table.rows(STILL - 1) if row[table.key] == key]
        return rows[0] if rows else None

    async def select(
        self,
        projection: str,
        *,
        where: dict[str, object] | None = None,
        prefix: tuple[str, str] | None = None,
        order: str = "",
        descending: bool = False,
        limit: int | None = None,
    ) -> Sequence[Row]:
        """Rows with equal columns (a value may be a list: any of them), a text column's prefix, in order."""
        table = self._table(projection)
        return table.chosen(STILL - 1, where or {}, prefix, order, descending=descending, limit=limit)

    async def at(
        self,
        projection: str,
        position: int,
        *,
        where: dict[str, object] | None = None,
        prefix: tuple[str, str] | None = None,
        order: str = "",
        descending: bool = False,
        limit: int | None = None,
    ) -> Sequence[Row]:
        """The same of a temporal projection, as its rows were after the event at a position."""
        table = self._table(projection)
        if not is_temporal(table.projection):
            raise LookupError(f"{projection} does not keep the past")
        return table.chosen(position, where or {}, prefix, order, descending=descending, limit=limit)

    def _table(self, name: str) -> "_Table":
        if name not in self._tables:
            raise LookupError(f"there is no projection {name!r}")
        return self._tables[name]


class _Table:
    """The rows of one projection, folded as they come."""

    def __init__(self, projection: Projection) -> None:
        self.projection = projection
        self.key = projection.columns[0].name
        self._shape = Shape(table_columns(projection))
        self._ended: list[Values] = []
        self._fold: Replay = replay(projection, self._ended.append)
        self._settled = 0
        self._before: list[tuple[str, Row | None, int]] = []

    def fold(self, record: Recorded) -> None:
        """Fold an event. Raises: NameTaken when a set rule says no."""
        for key in self.projection.keys(record):
            self._before.append((key, self._fold.rows.get(key), self._since.get(key, 0)))
        self._fold.feed((record,))
        for column in self.projection.columns:
            if column.unique:
                self._check(column.name, self.projection.keys(record))

    def rows(self, position: int) -> list[Row]:
        """The rows that held after the event at a position."""
        rows = [self._shape.restore(values) for values in (*self._ended, *self._fold.table())]
        if not is_temporal(self.projection):
            return list(rows)
        return [row for row in rows if int(str(row["from_pos"])) <= position < int(str(row["to_pos"]))]

    def chosen(
        self,
        position: int,
        where: dict[str, object],
        prefix: tuple[str, str] | None,
        order: str,
        *,
        descending: bool,
        limit: int | None,
    ) -> list[Row]:
        """The rows that a query asks for."""
        for name in (*where, *(prefix[:1] if prefix else ()), *([order] if order else ())):
            if name not in self._shape.names:
                raise LookupError(f"{self.projection.name} has no column {name!r}")
        rows = [row for row in self.rows(position) if all(_fits(row[name], value) for name, value in where.items())]
        if prefix is not None:
            rows = [
                row for row in rows if str(row[prefix[0]] or "").startswith(prefix[1]) and row[prefix[0]] is not None
            ]
        rows.sort(key=lambda row: str(row[self.key]), reverse=descending and not order)
        if order:
            rows.sort(key=lambda row: _rank(row[order]), reverse=descending)
        return rows if limit is None else rows[:limit]

    def settle(self) -> None:
        """What was folded stays."""
        self._before.clear()
        self._settled = len(self._ended)

    def undo(self) -> None:
        """Go back to what was settled."""
        del self._ended[self._settled :]
        for key, row, since in reversed(self._before):
            if row is None:
                self._fold.rows.pop(key, None)
                self._since.pop(key, None)
            else:
                self._fold.rows[key] = row
                self._since[key] = since
        self._before.clear()

    @property
    def _since(self) -> dict[str, int]:
        return self._fold.since if isinstance(self._fold, TemporalReplay) else {}

    def _check(self, column: str, keys: Sequence[str]) -> None:
        for key in keys:
            value = self._fold.rows.get(key, {}).get(column)
            for holder, row in self._fold.rows.items():
                if value is not None and holder != key and row.get(column) == value:
                    raise NameTaken(f"{column} {value!r} is taken by {holder}", holder=holder)


def _fits(found: object, wanted: object) -> bool:
    return found in wanted if isinstance(wanted, list | tuple) else found == wanted


def _rank(value: object) -> tuple[bool, int, str]:
    """NULLs first, as in the database."""
    return value is not None, value if isinstance(value, int) else 0, value if isinstance(value, str) else ""


def _event(kept: _Kept, *, opened: bool) -> Event:
    event = from_bytes(kept.record.event.stored_as, kept.data, opened=kept.secret if opened else b"")
    return kept.record.event if event is None else event
