"""The append transaction: positions, chain, intents, replies and inline projections for a group of callers at once.

One caller's refusal leaves the others alone: its part is undone by a savepoint, its numbers were only pencilled in.
Everything in memory here (the tip of the chain, ids and versions of streams) is a copy of what was committed.
"""

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from adapters.sqlite import sealing
from adapters.sqlite.rows import Rows
from adapters.sqlite.tables import (
    COMMANDS,
    EVENTS,
    OPEN_INTENTS,
    ORIGINS,
    STREAMS,
    TYPES,
    delete_sql,
    insert_sql,
    select_sql,
)
from domain.chain import Head, data_hash, link, meta_hash
from domain.errors import Conflict, StorageError
from domain.failpoints import failpoint
from domain.machine import settled_by
from domain.messages import Append, Event, Meta, Recorded, StreamId
from domain.stored import closed, sealed_bytes, to_bytes, with_sealed

_INSERT_EVENT = insert_sql(EVENTS)
_INSERT_STREAM = insert_sql(STREAMS)
_INSERT_TYPE = insert_sql(TYPES)
_INSERT_ORIGIN = insert_sql(ORIGINS)
_INSERT_INTENT = insert_sql(OPEN_INTENTS)
_INSERT_COMMAND = insert_sql(COMMANDS)
_DELETE_INTENT = delete_sql(OPEN_INTENTS, "pos")
_SELECT_INTENTS = select_sql(OPEN_INTENTS, "stream", columns=("pos", "type"))
_SELECT_COMMAND = select_sql(COMMANDS, "id", columns=("first",))
_SELECT_STREAM = (
    "SELECT id, (SELECT max(version) FROM events WHERE events.stream = streams.id) FROM streams"
    " WHERE kind = ? AND key = ?"
)

_STREAMS_KEPT = 16_384
_ORIGINS_KEPT = 256

K = TypeVar("K")
V = TypeVar("V")

Outcome = tuple[Recorded, ...] | Exception


@dataclass(frozen=True, slots=True)
class Payload:
    """An event, encoded before it comes to the writer."""

    event: Event
    data: bytes
    secret: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """Encoded events for one stream."""

    stream: StreamId
    expected: int
    payloads: tuple[Payload, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """What one caller wants to have appended."""

    parts: tuple[Part, ...]
    meta: Meta
    origin: bytes
    command: bytes | None
    reply: str | None


def order(batch: Sequence[Append], meta: Meta, reply: str | None) -> Order:
    """Encode an append; runs with the caller, while the writer waits for the disk."""
    parts = tuple(
        Part(append.stream, append.expected, tuple(_payload(event) for event in append.events)) for append in batch
    )
    if reply is not None and not meta.command_id:
        reply = None
    return Order(parts, meta, origin_bytes(meta), meta.command_id.encode() or None, reply)


def origin_bytes(meta: Meta) -> bytes:
    """Actor, boot and version as one JSON array: `[via,user,uid,gid,pid,command,host,boot,version]`."""
    a = meta.actor
    values = [a.via, a.user, a.uid, a.gid, a.pid, a.command, a.host, meta.boot, meta.version]
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogateescape")


def _payload(event: Event) -> Payload:
    if not event.stored_as:
        raise TypeError(f"{type(event).__name__} has no stored name")
    return Payload(event, to_bytes(event), sealed_bytes(event))


class _Kept(OrderedDict[K, V]):
    """The most recently written entries."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def take_in(self, entries: dict[K, V]) -> None:
        for key, value in entries.items():
            self[key] = value
            self.move_to_end(key)
        while len(self) > self._limit:
            self.popitem(last=False)


@dataclass(slots=True)
class _Pencil:
    """The tip and the ids as they will be if this part of the transaction is kept."""

    tip: Head
    time: int
    below: "_Pencil | None" = None
    streams: dict[StreamId, tuple[int, int]] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    origins: dict[bytes, int] = field(default_factory=dict)

    def sheet(self) -> "_Pencil":
        """A sheet on top, to be inked in or thrown away."""
        return _Pencil(self.tip, self.time, self)

    def ink(self, sheet: "_Pencil") -> None:
        """Keep what is on the sheet."""
        self.tip, self.time = sheet.tip, sheet.time
        self.streams.update(sheet.streams)
        self.types.update(sheet.types)
        self.origins.update(sheet.origins)

    def stream(self, stream: StreamId) -> tuple[int, int] | None:
        """Id and version, if written above."""
        return self.streams.get(stream) or (self.below.stream(stream) if self.below else None)

    def type(self, name: str) -> int | None:
        """Id, if written above."""
        return self.types.get(name) or (self.below.type(name) if self.below else None)

    def origin(self, body: bytes) -> int | None:
        """Id, if written above."""
        return self.origins.get(body) or (self.below.origin(body) if self.below else None)


class Ledger:
    """Owns the tip of the log; used by the writer's thread alone."""

    def __init__(self, connection: sqlite3.Connection, inline: Sequence[Rows], now: Callable[[], int]) -> None:
        self._connection = connection
        self._inline = tuple(inline)
        self._now = now
        self._streams: _Kept[StreamId, tuple[int, int]] = _Kept(_STREAMS_KEPT)
        self._origins: _Kept[bytes, int] = _Kept(_ORIGINS_KEPT)
        self._types: dict[str, int] = {name: id for id, name in connection.execute("SELECT id, name FROM types")}
        self._names = {id: name for name, id in self._types.items()}
        last = connection.execute("SELECT pos, hash, ts FROM events ORDER BY pos DESC LIMIT 1").fetchone()
        self.tip = Head() if last is None else Head(last[0], last[1])
        self._time: int = 0 if last is None else last[2]
        self.keys_dropped = False
        self._disowned = False

    def store(self, orders: Sequence[Order]) -> Sequence[Outcome]:
        """Append for all callers in one transaction; each gets its records, or its own refusal.

        Raises: sqlite3.Error, or what a failpoint raises; then nothing is stored for anybody.
        """
        failpoint("store.before-begin")
        pencil = _Pencil(self.tip, self._time)
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._disown()
            outcomes = self._alone(pencil, orders[0]) if len(orders) == 1 else self._together(pencil, orders)
            failpoint("store.before-commit")
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        self._disowned = True
        self._adopt(pencil)
        failpoint("store.after-commit")
        return outcomes

    def _alone(self, pencil: _Pencil, order: Order) -> list[Outcome]:
        sheet = pencil.sheet()
        try:
            records = self._append(sheet, order)
        except sqlite3.Error:
            raise
        except Exception as refusal:
            self._roll_back()
            return [refusal]
        pencil.ink(sheet)
        return [records]

    def _together(self, pencil: _Pencil, orders: Sequence[Order]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for each in orders:
            sheet = pencil.sheet()
            self._connection.execute("SAVEPOINT caller")
            try:
                outcomes.append(self._append(sheet, each))
                pencil.ink(sheet)
            except sqlite3.Error:
                raise
            except Exception as refusal:
                self._connection.execute("ROLLBACK TO caller")
                outcomes.append(refusal)
            self._connection.execute("RELEASE caller")
        return outcomes

    def _disown(self) -> None:
        """Inline projections that are not written from here on must be folded anew by whoever knows them again."""
        if self._disowned:
            return
        kept = [rows.projection.name for rows in self._inline]
        marks = ",".join("?" * len(kept))
        self._connection.execute(
            f"DELETE FROM projections WHERE name NOT IN ({marks}) AND name NOT IN (SELECT name FROM cursors)", kept
        )

    def _roll_back(self) -> None:
        if self._connection.in_transaction:  # some errors make SQLite roll back by itself
            self._connection.execute("ROLLBACK")

    def _adopt(self, pencil: _Pencil) -> None:
        self.tip, self._time = pencil.tip, pencil.time
        self._streams.take_in(pencil.streams)
        self._origins.take_in(pencil.origins)
        self._types.update(pencil.types)
        self._names.update({id: name for name, id in pencil.types.items()})

    def _append(self, pencil: _Pencil, order: Order) -> tuple[Recorded, ...]:
        self._once(order)
        records: list[Recorded] = []
        for part in order.parts:
            records += self._append_part(pencil, order, part)
        failpoint("store.after-insert")
        if order.reply is not None:
            span = (records[0].position, records[-1].position) if records else (0, 0)
            self._connection.execute(_INSERT_COMMAND, (order.meta.command_id, *span, order.reply))
        return tuple(records)

    def _once(self, order: Order) -> None:
        if order.reply is None:
            return
        if self._connection.execute(_SELECT_COMMAND, (order.meta.command_id,)).fetchone() is not None:
            raise Conflict(f"the command {order.meta.command_id} was carried out before")

    def _append_part(self, pencil: _Pencil, order: Order, part: Part) -> list[Recorded]:
        id, version = self._stream(pencil, part.stream)
        if version != part.expected:
            raise Conflict(f"{part.stream} is at version {version}, not at {part.expected}")
        if not part.payloads:
            return []
        if not version:
            id = self._insert(_INSERT_STREAM, (None, part.stream.kind, part.stream.key))
        records = []
        for payload in part.payloads:
            version += 1
            record = self._append_event(pencil, order, part.stream, id, version, payload)
            self._follow(record, id, self._type(pencil, payload.event.stored_as))
            records.append(record)
        pencil.streams[part.stream] = (id, version)
        return records

    def _append_event(
        self, pencil: _Pencil, order: Order, stream: StreamId, id: int, version: int, payload: Payload
    ) -> Recorded:
        name, meta, data = payload.event.stored_as, order.meta, payload.data
        if payload.secret:
            data = with_sealed(data, sealing.seal(self._connection, id, stream, version, payload.secret))
        position, time = pencil.tip.position + 1, max(self._now(), pencil.time + 1)
        hashed = data_hash(data)
        about = meta_hash(order.origin, meta.cause, meta.correlation, order.command or b"")
        hash = link(pencil.tip.hash, position, str(stream).encode(), version, name.encode(), time, hashed, about)
        self._connection.execute(
            _INSERT_EVENT,
            (
                position,
                id,
                version,
                self._type(pencil, name),
                time,
                data,
                hashed,
                self._origin(pencil, order.origin),
                meta.cause,
                meta.correlation,
                order.command,
                hash,
            ),
        )
        pencil.tip, pencil.time = Head(position, hash), time
        return Recorded(position, stream, version, time, payload.event, meta)

    def _follow(self, record: Recorded, stream: int, type: int) -> None:
        """What an event brings with it: intents, keys, and the rows of the inline projections."""
        event = record.event
        if event.settles or event.settles_all:
            found = self._connection.execute(_SELECT_INTENTS, (stream,)).fetchall()
            if found:
                kinds = {position: self._name(kind) for position, kind in found}
                for position in sorted(settled_by(kinds, event, record.meta.cause)):
                    self._connection.execute(_DELETE_INTENT, (position,))
        if event.intent:
            self._connection.execute(_INSERT_INTENT, (record.position, stream, type))
        if event.drops_key:
            self.keys_dropped |= self._connection.execute(sealing.DROP_KEY, (stream,)).rowcount > 0
        visible = (
            record
            if not event.sealed
            else Recorded(record.position, record.stream, record.version, record.time, closed(event), record.meta)
        )
        for rows in self._inline:
            rows.fold(visible)

    def _stream(self, pencil: _Pencil, stream: StreamId) -> tuple[int, int]:
        known = pencil.stream(stream) or self._streams.get(stream)
        if known is not None:
            return known
        found = self._connection.execute(_SELECT_STREAM, (stream.kind, stream.key)).fetchone()
        if found is None:
            return 0, 0
        return found[0], found[1] or 0

    def _type(self, pencil: _Pencil, name: str) -> int:
        known = self._types.get(name) or pencil.type(name)
        if known is None:
            known = pencil.types[name] = self._insert(_INSERT_TYPE, (None, name))
            self._names[known] = name
        return known

    def _name(self, type: int) -> str:
        return self._names[type]

    def _origin(self, pencil: _Pencil, body: bytes) -> int:
        known = pencil.origin(body) or self._origins.get(body)
        if known is None:
            known = pencil.origins[body] = self._insert(_INSERT_ORIGIN, (None, body))
        return known

    def _insert(self, statement: str, values: tuple[object, ...]) -> int:
        id = self._connection.execute(statement, values).lastrowid
        if id is None:
            raise StorageError("the database gave no row id")
        return id
