"""The append transaction: positions, chain, intents, replies and inline projections for a group of callers at once.

Everything is worked out in memory first, caller by caller, each on a sheet of its own: a refused caller's sheet is
thrown away and the others never notice. Only then the rows are written, all together. What stays in memory between
transactions (the tip of the chain, ids, versions of streams, open intents) is a copy of what was committed.
"""

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, TypeVar

from adapters.sqlite import sealing
from adapters.sqlite.rows import Rows
from adapters.sqlite.tables import (
    COMMANDS,
    EVENTS,
    KEYS,
    OPEN_INTENTS,
    ORIGINS,
    STREAMS,
    TYPES,
    delete_sql,
    insert_sql,
    select_sql,
)
from domain.chain import Head, data_hash, link, meta_hash
from domain.errors import Conflict
from domain.failpoints import failpoint
from domain.machine import settled_by
from domain.messages import Actor, Append, Event, Meta, Recorded, StreamId
from domain.projections.replay import cares
from domain.stored import closed, sealed_bytes, to_bytes, with_sealed

_INSERT_EVENT = insert_sql(EVENTS)
_INSERT_STREAM = insert_sql(STREAMS)
_INSERT_TYPE = insert_sql(TYPES)
_INSERT_ORIGIN = insert_sql(ORIGINS)
_INSERT_INTENT = insert_sql(OPEN_INTENTS)
_DELETE_INTENT = delete_sql(OPEN_INTENTS, "pos")
_INSERT_COMMAND = insert_sql(COMMANDS)
_SELECT_COMMAND = select_sql(COMMANDS, "id", columns=("first",))
_INSERT_KEY = insert_sql(KEYS)
_DELETE_KEY = delete_sql(KEYS, "stream")
_SELECT_STREAM = (
    "SELECT id, (SELECT max(version) FROM events WHERE events.stream = streams.id) FROM streams"
    " WHERE kind = ? AND key = ?"
)

_COMPACT = json.JSONEncoder(separators=(",", ":")).encode
_STREAMS_KEPT = 16_384
_ORIGINS_KEPT = 256

K = TypeVar("K")
V = TypeVar("V")

Outcome = tuple[Recorded, ...] | Exception
Intents = Mapping[int, str]


class Payload(NamedTuple):
    """An event, encoded before it comes to the writer; `secret` are its sealed fields."""

    event: Event
    data: bytes
    secret: bytes


class Part(NamedTuple):
    """Encoded events for one stream."""

    stream: StreamId
    expected: int
    payloads: tuple[Payload, ...]


class Order(NamedTuple):
    """What one caller wants to have appended."""

    parts: tuple[Part, ...]
    meta: Meta
    origin: bytes
    meta_hash: bytes
    command: bytes | None
    reply: str | None


def order(batch: Sequence[Append], meta: Meta, reply: str | None) -> Order:
    """Encode an append; runs with the caller, while the writer waits for the disk."""
    parts = tuple([Part(each.stream, each.expected, tuple(map(_payload, each.events))) for each in batch])
    command = meta.command_id.encode() or None
    origin = origin_bytes(meta)
    about = meta_hash(origin, meta.cause, meta.correlation, command or b"")
    return Order(parts, meta, origin, about, command, reply if command else None)


def origin_bytes(meta: Meta) -> bytes:
    """Actor, boot and version as one JSON array: `[via,user,uid,gid,pid,command,host,boot,version]`."""
    return _origin_bytes(meta.actor, meta.boot, meta.version)


@lru_cache(maxsize=_ORIGINS_KEPT)
def _origin_bytes(a: Actor, boot: str, version: str) -> bytes:
    return _COMPACT((a.via, a.user, a.uid, a.gid, a.pid, a.command, a.host, boot, version)).encode()


def _payload(event: Event) -> Payload:
    if not event.stored_as:
        raise TypeError(f"{type(event).__name__} has no stored name")
    return Payload(event, to_bytes(event), sealed_bytes(event))


@dataclass(slots=True)
class _Writes:
    """Rows to be written, table by table."""

    streams: list[tuple[int, str, str]] = field(default_factory=list)
    types: list[tuple[int, str]] = field(default_factory=list)
    origins: list[tuple[int, bytes]] = field(default_factory=list)
    events: list[tuple[object, ...]] = field(default_factory=list)
    keys: dict[int, bytes | None] = field(default_factory=dict)
    drops: int = 0
    commands: list[tuple[str, int, int, str]] = field(default_factory=list)
    begun: list[tuple[int, int, int]] = field(default_factory=list)
    ended: list[tuple[int]] = field(default_factory=list)

    def add(self, more: "_Writes") -> None:
        """Write these as well."""
        self.streams += more.streams
        self.types += more.types
        self.origins += more.origins
        self.events += more.events
        self.keys.update(more.keys)
        self.drops += more.drops
        self.commands += more.commands
        self.begun += more.begun
        self.ended += more.ended


@dataclass(slots=True)
class _Sheet:
    """What the log looks like after some events that are not written yet; `below` is what it looked like before."""

    tip: Head
    time: int
    ids: tuple[int, int, int]
    below: "_Sheet | None" = None
    streams: dict[StreamId, tuple[int, int]] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    origins: dict[bytes, int] = field(default_factory=dict)
    intents: dict[int, Intents] = field(default_factory=dict)
    commands: set[str] = field(default_factory=set)
    touched: dict[Rows, None] = field(default_factory=dict)
    writes: _Writes = field(default_factory=_Writes)

    def on_top(self) -> "_Sheet":
        """An empty sheet on top of this one."""
        return _Sheet(self.tip, self.time, self.ids, self)

    def onto(self, below: "_Sheet | None") -> "_Sheet":
        """The sheet below with what is on this one; without one below, this one itself."""
        if below is None:
            return self
        below.tip, below.time, below.ids = self.tip, self.time, self.ids
        below.streams.update(self.streams)
        below.types.update(self.types)
        below.origins.update(self.origins)
        below.intents.update(self.intents)
        below.commands |= self.commands
        below.touched.update(self.touched)
        below.writes.add(self.writes)
        return below


class Ledger:
    """Owns the tip of the log; used by the writer's thread alone."""

    def __init__(self, connection: sqlite3.Connection, inline: Sequence[Rows], now: Callable[[], int]) -> None:
        self.keys_dropped = 0
        self._connection = connection
        self._inline = tuple(inline)
        self._rows: dict[type[Event], tuple[Rows, ...]] = {}
        self._now = now
        self._disowned = False
        self._streams: OrderedDict[StreamId, tuple[int, int]] = OrderedDict()
        self._origins: OrderedDict[bytes, int] = OrderedDict()
        self._types: dict[str, int] = {name: id for id, name in connection.execute("SELECT id, name FROM types")}
        self._intents = _open_intents(connection)
        last = connection.execute("SELECT pos, hash, ts FROM events ORDER BY pos DESC LIMIT 1").fetchone()
        self.tip = Head() if last is None else Head(last[0], last[1])
        self._time: int = 0 if last is None else last[2]
        self._ids = _last_ids(connection)

    def store(self, orders: Sequence[Order]) -> Sequence[Outcome]:
        """Append for all callers in one transaction; each gets its records, or its own refusal.

        Raises: sqlite3.Error, or what a failpoint raises; then nothing is stored for anybody.
        """
        failpoint("store.before-begin")
        outcomes: list[Outcome] = []
        sheet: _Sheet | None = None
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for each in orders:
                top = sheet.on_top() if sheet is not None else _Sheet(self.tip, self._time, self._ids)
                outcome = self._work_out(top, each)
                if not isinstance(outcome, Exception):
                    sheet = top.onto(sheet)
                outcomes.append(outcome)
            if sheet is not None and (sheet.writes.events or sheet.writes.commands):
                self._write(sheet)
            failpoint("store.before-commit")
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        if sheet is not None:
            self._adopt(sheet)
        failpoint("store.after-commit")
        return outcomes

    def _work_out(self, sheet: _Sheet, order: Order) -> Outcome:
        try:
            records = self._append(sheet, order)
        except Exception as refusal:
            for rows in sheet.touched:
                rows.drop()
            if isinstance(refusal, sqlite3.Error):
                raise
            return refusal
        for rows in sheet.touched:
            rows.keep()
        return records

    def _write(self, sheet: _Sheet) -> None:
        writes = sheet.writes
        self._disown()
        self._run(_INSERT_TYPE, writes.types)
        self._run(_INSERT_STREAM, writes.streams)
        self._run(_INSERT_ORIGIN, writes.origins)
        self._run(_INSERT_EVENT, writes.events)
        failpoint("store.after-insert")
        self._run(_INSERT_COMMAND, writes.commands)
        if writes.drops:
            self._run(_DELETE_KEY, [(stream,) for stream in writes.keys])
        self._run(_INSERT_KEY, [(stream, key) for stream, key in writes.keys.items() if key is not None])
        self._run(_INSERT_INTENT, writes.begun)
        self._run(_DELETE_INTENT, writes.ended)
        for rows in sheet.touched:
            rows.flush()

    def _run(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            self._connection.executemany(statement, rows)

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
        for rows in self._inline:
            rows.forget()
        if self._connection.in_transaction:  # some errors make SQLite roll back by itself
            self._connection.execute("ROLLBACK")

    def _adopt(self, sheet: _Sheet) -> None:
        self._disowned = self._disowned or bool(sheet.writes.events)
        self.tip, self._time, self._ids = sheet.tip, sheet.time, sheet.ids
        self.keys_dropped += sheet.writes.drops
        self._types.update(sheet.types)
        _keep_latest(self._streams, sheet.streams, _STREAMS_KEPT)
        _keep_latest(self._origins, sheet.origins, _ORIGINS_KEPT)
        for stream, intents in sheet.intents.items():
            if intents:
                self._intents[stream] = intents
            else:
                self._intents.pop(stream, None)
        for rows in sheet.touched:
            rows.settle()

    def _append(self, sheet: _Sheet, order: Order) -> tuple[Recorded, ...]:
        if order.reply is not None:
            self._refuse_twice(sheet, order.meta.command_id)
        records: list[Recorded] = []
        for part in order.parts:
            records += self._append_part(sheet, order, part)
        if order.reply is not None:
            first, last = (records[0].position, records[-1].position) if records else (0, 0)
            sheet.commands.add(order.meta.command_id)
            sheet.writes.commands.append((order.meta.command_id, first, last, order.reply))
        return tuple(records)

    def _refuse_twice(self, sheet: _Sheet, command: str) -> None:
        known = sheet.below is not None and command in sheet.below.commands
        if known or self._connection.execute(_SELECT_COMMAND, (command,)).fetchone() is not None:
            raise Conflict(f"the command {command} was carried out before")

    def _append_part(self, sheet: _Sheet, order: Order, part: Part) -> list[Recorded]:
        id, version = self._stream(sheet, part.stream)
        if version != part.expected:
            raise Conflict(f"{part.stream} is at version {version}, not at {part.expected}")
        if not id and part.payloads:
            id = self._next_id(sheet, 0)
            sheet.writes.streams.append((id, part.stream.kind, part.stream.key))
        records = []
        for payload in part.payloads:
            version += 1
            sheet.streams[part.stream] = (id, version)
            record = self._append_event(sheet, order, part.stream, id, version, payload)
            self._follow(sheet, record, id)
            records.append(record)
        return records

    def _append_event(
        self, sheet: _Sheet, order: Order, stream: StreamId, id: int, version: int, payload: Payload
    ) -> Recorded:
        name, meta, data = payload.event.stored_as, order.meta, payload.data
        if payload.secret:
            data = with_sealed(data, sealing.seal(self._key(sheet, id), stream, version, payload.secret))
        position, time = sheet.tip.position + 1, max(self._now(), sheet.time + 1)
        hashed = data_hash(data)
        text = str(stream).encode()
        hash = link(sheet.tip.hash, position, text, version, name.encode(), time, hashed, order.meta_hash)
        sheet.writes.events.append((
            position, id, version, self._type(sheet, name), time, data, hashed, self._origin(sheet, order.origin),
            meta.cause, meta.correlation, order.command, hash,
        ))  # fmt: skip
        sheet.tip, sheet.time = Head(position, hash), time
        return Recorded(position, stream, version, time, payload.event, meta)

    def _follow(self, sheet: _Sheet, record: Recorded, stream: int) -> None:
        """What an event brings with it: intents, keys, and the rows of the inline projections."""
        event = record.event
        if event.intent or event.settles or event.settles_all:
            self._settle(sheet, record, stream)
        if event.drops_key:
            sheet.writes.keys[stream] = None
            sheet.writes.drops += 1
        visible = record
        if event.sealed:
            place = record.position, record.stream, record.version, record.time
            visible = Recorded(*place, closed(event), record.meta)
        for rows in self._caring(type(event)):
            sheet.touched[rows] = None
            rows.fold(visible)

    def _caring(self, kind: type[Event]) -> tuple[Rows, ...]:
        """The inline rows that events of a class can touch."""
        found = self._rows.get(kind)
        if found is None:
            all = ((rows, cares(rows.projection)) for rows in self._inline)
            found = self._rows[kind] = tuple(rows for rows, kinds in all if kinds is None or kind in kinds)
        return found

    def _settle(self, sheet: _Sheet, record: Recorded, stream: int) -> None:
        event, before = record.event, self._open(sheet, stream)
        if not before and not event.intent:
            return
        after = dict(before)
        for position in settled_by(before, event, record.meta.cause):
            del after[position]
            sheet.writes.ended.append((position,))
        if event.intent:
            after[record.position] = event.stored_as
            sheet.writes.begun.append((record.position, stream, self._type(sheet, event.stored_as)))
        sheet.intents[stream] = after

    def _open(self, sheet: _Sheet, stream: int) -> Intents:
        for each in (sheet, sheet.below):
            if each is not None and stream in each.intents:
                return each.intents[stream]
        return self._intents.get(stream, {})

    def _key(self, sheet: _Sheet, stream: int) -> bytes:
        """The key of a stream, made now if there is none."""
        for each in (sheet, sheet.below):
            if each is not None and stream in each.writes.keys:
                key = each.writes.keys[stream]
                break
        else:
            known = stream <= self._ids[0]
            found = self._connection.execute(sealing.KEY_OF, (stream,)).fetchone() if known else None
            key = None if found is None else found[0]
        if key is None:
            key = sheet.writes.keys[stream] = sealing.new_key()
        return key

    def _stream(self, sheet: _Sheet, stream: StreamId) -> tuple[int, int]:
        """Id and version; zeros for a stream that does not exist."""
        for each in (sheet, sheet.below):
            if each is not None and stream in each.streams:
                return each.streams[stream]
        if stream in self._streams:
            return self._streams[stream]
        id, version = self._connection.execute(_SELECT_STREAM, (stream.kind, stream.key)).fetchone() or (0, 0)
        return id, version or 0

    def _type(self, sheet: _Sheet, name: str) -> int:
        known = self._types.get(name) or sheet.types.get(name) or (sheet.below.types.get(name) if sheet.below else None)
        if known is None:
            known = sheet.types[name] = self._next_id(sheet, 1)
            sheet.writes.types.append((known, name))
        return known

    def _origin(self, sheet: _Sheet, body: bytes) -> int:
        known = sheet.origins.get(body) or (sheet.below.origins.get(body) if sheet.below else None)
        known = known or self._origins.get(body)
        if known is None:
            known = sheet.origins[body] = self._next_id(sheet, 2)
            sheet.writes.origins.append((known, body))
        return known

    def _next_id(self, sheet: _Sheet, table: int) -> int:
        """The next id of streams (0), types (1) or origins (2)."""
        ids = list(sheet.ids)
        ids[table] += 1
        sheet.ids = (ids[0], ids[1], ids[2])
        return ids[table]


def _keep_latest(kept: "OrderedDict[K, V]", entries: Mapping[K, V], limit: int) -> None:
    for key, value in entries.items():
        kept[key] = value
        kept.move_to_end(key)
    while len(kept) > limit:
        kept.popitem(last=False)


def _open_intents(connection: sqlite3.Connection) -> dict[int, Intents]:
    found: dict[int, dict[int, str]] = {}
    rows = connection.execute("SELECT i.stream, i.pos, t.name FROM open_intents i JOIN types t ON t.id = i.type")
    for stream, position, kind in rows:
        found.setdefault(stream, {})[position] = kind
    return dict(found)


def _last_ids(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """The highest ids of streams, types and origins."""
    statement = "SELECT (SELECT max(id) FROM streams), (SELECT max(id) FROM types), (SELECT max(id) FROM origins)"
    streams, types, origins = connection.execute(statement).fetchone()
    return streams or 0, types or 0, origins or 0
