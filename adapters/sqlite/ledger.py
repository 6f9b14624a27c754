"""The append transaction: positions, chain, intents, replies and inline projections for a group of callers at once.

Everything is worked out in memory first, caller by caller, each on a sheet of its own: a refused caller's sheet is
thrown away and the others never notice. Only then the rows are written, all together. What stays in memory between
transactions (the tip of the chain, ids, versions of streams, open intents) is a copy of what was committed.

A lone append waits for one flush of the disk, and whatever is done here beside it is waited for as well: that is why
the common path makes few objects and calls few functions, and why what need not come between an order and its answer
can be done before the order is there (`get_ready`).
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

from adapters.sqlite import sealing
from adapters.sqlite.driver import ERRORS, Connection
from adapters.sqlite.rows import Rows, rows_of
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
from domain.projections.fold import Projection
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
_NONE: "Intents" = {}

K = TypeVar("K")
V = TypeVar("V")

Outcome = tuple[Recorded, ...] | Exception
Intents = Mapping[int, str]

Payload = tuple[Event, bytes, bytes]
"""An event, encoded before it comes to the writer: the event itself, its data, and its sealed fields."""

Part = tuple[StreamId, int | None, Sequence[Payload]]
"""Encoded events for one stream, which is expected to be at a version (None: at any)."""


class _Kind(NamedTuple):
    """What is to be known of each event of a class; asked of the event itself, it takes four times as long."""

    name: str
    encoded: bytes
    moves_intents: bool
    intent: bool
    sealed: bool
    drops_key: bool
    rows: Sequence[Rows]


class Order(NamedTuple):
    """What one caller wants to have appended."""

    parts: Sequence[Part]
    meta: Meta
    origin: bytes
    meta_hash: bytes
    command: bytes | None
    reply: str | None


def order(batch: Sequence[Append], meta: Meta, reply: str | None) -> Order:
    """Encode an append; runs with the caller, while the writer waits for the disk."""
    parts: list[Part] = []
    for each in batch:
        payloads: list[Payload] = []
        for event in each.events:
            if not event.stored_as:
                raise TypeError(f"{type(event).__name__} has no stored name")
            payloads.append((event, to_bytes(event), sealed_bytes(event) if event.sealed else b""))
        parts.append((each.stream, each.expected, payloads))
    command = meta.command_id.encode()
    origin = _origin_bytes(meta.actor, meta.boot, meta.version)
    about = meta_hash(origin, meta.cause, meta.correlation, command)
    return Order(parts, meta, origin, about, command or None, reply if command else None)


def origin_bytes(meta: Meta) -> bytes:
    """Actor, boot and version as one JSON array: `[via,user,uid,gid,pid,command,host,boot,version]`."""
    return _origin_bytes(meta.actor, meta.boot, meta.version)


@lru_cache(maxsize=_ORIGINS_KEPT)
def _origin_bytes(a: Actor, boot: str, version: str) -> bytes:
    return _COMPACT((a.via, a.user, a.uid, a.gid, a.pid, a.command, a.host, boot, version)).encode()


class _Sheet:
    """What the log looks like after some events that are not written yet; `below` is what it looked like before.

    Rows for the tables wait in `events`, `begun` and `ended` (intents) and `keys` (None: dropped); those of tables that
    seldom get any, in `others`, by the statement that inserts them. Written out, for every append makes one.
    """

    __slots__ = (
        "begun", "below", "commands", "drops", "ended", "events", "hash", "ids", "intents", "keys", "origins", "others",
        "position", "streams", "time", "touched", "types",
    )  # fmt: skip

    def __init__(
        self, position: int, hash: bytes, time: int, ids: tuple[int, int, int], below: "_Sheet | None" = None
    ) -> None:
        self.position, self.hash, self.time, self.ids, self.below = position, hash, time, ids, below
        self.streams: dict[StreamId, tuple[int, int]] = {}
        self.types: dict[str, int] = {}
        self.origins: dict[bytes, int] = {}
        self.intents: dict[int, Intents] = {}
        self.commands: set[str] = set()
        self.touched: dict[Rows, None] = {}
        self.events: list[tuple[object, ...]] = []
        self.begun: list[tuple[int, int, int]] = []
        self.ended: list[tuple[int]] = []
        self.keys: dict[int, bytes | None] = {}
        self.drops = 0
        self.others: dict[str, list[tuple[object, ...]]] = {}

    def insert(self, statement: str, row: tuple[object, ...]) -> None:
        """A row for one of the other tables."""
        self.others.setdefault(statement, []).append(row)

    def on_top(self) -> "_Sheet":
        """An empty sheet on top of this one."""
        return _Sheet(self.position, self.hash, self.time, self.ids, self)

    def onto(self, below: "_Sheet") -> "_Sheet":
        """The sheet below with what is on this one."""
        below.position, below.hash, below.time, below.ids = self.position, self.hash, self.time, self.ids
        below.streams.update(self.streams)
        below.types.update(self.types)
        below.origins.update(self.origins)
        below.intents.update(self.intents)
        below.commands |= self.commands
        below.touched.update(self.touched)
        below.events += self.events
        below.begun += self.begun
        below.ended += self.ended
        below.keys.update(self.keys)
        below.drops += self.drops
        for statement, rows in self.others.items():
            below.others.setdefault(statement, []).extend(rows)
        return below


class Ledger:
    """Owns the tip of the log; used by the writer's thread alone."""

    def __init__(self, connection: Connection, inline: Sequence[Projection], now: Callable[[], int]) -> None:
        self.keys_dropped = 0
        self._connection = connection
        self._cursor = connection.cursor()  # kept, for the connection's own `execute` makes one each time
        self._run, self._run_many = self._cursor.execute, self._cursor.executemany
        self._inline = tuple(rows_of(self._cursor, projection) for projection in inline)
        self._kinds: dict[type[Event], _Kind] = {}
        self._now = now
        self._disowned = False
        self._streams: OrderedDict[StreamId, tuple[int, int]] = OrderedDict()
        self._origins: OrderedDict[bytes, int] = OrderedDict()
        self._types: dict[str, int] = {name: id for id, name in connection.execute("SELECT id, name FROM types")}
        self._intents = _open_intents(connection)
        last = connection.execute("SELECT pos, hash, ts FROM events ORDER BY pos DESC LIMIT 1").fetchone()
        self._position: int
        self._hash: bytes
        self._time: int
        self._position, self._hash, self._time = (*Head(), 0) if last is None else last
        self._ids = _last_ids(connection)
        self._committed: _Sheet | None = None  # and not taken over into what stays in memory
        self._blank: _Sheet | None = None  # made once all is ready for the next append

    @property
    def tip(self) -> Head:
        """The end of the log."""
        return Head(self._position, self._hash)

    def close(self) -> None:
        """Let the connection go: a statement that has failed would keep its files open."""
        self._cursor.close()

    def store(self, orders: Sequence[Order]) -> Sequence[Outcome]:
        """Append for all callers in one transaction; each gets its records, or its own refusal.

        Raises: one of the driver's errors, or what a failpoint raises; then nothing is stored for anybody.
        """
        failpoint("store.before-begin")
        outcomes: list[Outcome] = []
        sheet: _Sheet | None = None
        if self._blank is None:
            self.get_ready()
        try:
            for each in orders:
                top = self._fresh() if sheet is None else sheet.on_top()
                outcome = self._work_out(top, each)
                if type(outcome) is tuple:
                    sheet = top if sheet is None else top.onto(sheet)
                outcomes.append(outcome)
            if sheet is not None and (sheet.events or sheet.others):
                self._write(sheet)
            failpoint("store.before-commit")
            self._run("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        if sheet is not None:
            self._move_on(sheet)
        failpoint("store.after-commit")
        return outcomes

    def get_ready(self) -> None:
        """Take over what the last append has left, and begin the transaction of the next one: together they take as
        long as a sixth of a quick flush. From here on only `store` may use the connection, until `stand_by`.

        Raises: one of the driver's errors when it cannot begin; `store` tries again.
        """
        if self._committed is not None:
            self._adopt(self._committed)
            self._committed = None
        if not self._connection.in_transaction:
            self._run("BEGIN IMMEDIATE")
        self._blank = self._fresh()

    def stand_by(self) -> None:
        """End a transaction that was begun and not committed: the connection is anybody's."""
        self._blank = None
        if self._connection.in_transaction:
            self._run("ROLLBACK")

    def _fresh(self) -> _Sheet:
        """An empty sheet on top of what was committed."""
        blank, self._blank = self._blank, None
        return blank or _Sheet(self._position, self._hash, self._time, self._ids)

    def _work_out(self, sheet: _Sheet, order: Order) -> Outcome:
        records: list[Recorded] = []
        try:
            if order.reply is not None:
                self._refuse_twice(sheet, order.meta.command_id)
            for stream, expected, payloads in order.parts:
                self._append(sheet, order, stream, expected, payloads, records)
            if order.reply is not None:
                self._reply(sheet, order.meta.command_id, order.reply, records)
        except Exception as refusal:
            for rows in sheet.touched:
                rows.drop()
            if isinstance(refusal, ERRORS):
                raise
            return refusal
        for rows in sheet.touched:
            rows.keep()
        return tuple(records)

    def _write(self, sheet: _Sheet) -> None:
        if not self._disowned:
            self._disown()
        run = self._run_for
        run(_INSERT_EVENT, sheet.events)
        failpoint("store.after-insert")
        for statement, inserted in sheet.others.items():
            run(statement, inserted)
        if sheet.keys:
            if sheet.drops:
                run(_DELETE_KEY, [(stream,) for stream in sheet.keys])
            run(_INSERT_KEY, [(stream, key) for stream, key in sheet.keys.items() if key is not None])
        run(_INSERT_INTENT, sheet.begun)
        run(_DELETE_INTENT, sheet.ended)
        for rows in sheet.touched:
            rows.flush()

    def _run_for(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Run a statement once for each row; most appends have one, for which `executemany` takes longer."""
        if len(rows) == 1:
            self._run(statement, rows[0])
        elif rows:
            self._run_many(statement, rows)

    def _disown(self) -> None:
        """Inline projections that are not written from here on must be folded anew by whoever knows them again."""
        kept = [rows.projection.name for rows in self._inline]
        marks = ",".join("?" * len(kept))
        self._connection.execute(
            f"DELETE FROM projections WHERE name NOT IN ({marks}) AND name NOT IN (SELECT name FROM cursors)", kept
        )

    def _roll_back(self) -> None:
        for rows in self._inline:
            rows.forget()
        self.stand_by()  # some errors make SQLite roll back by itself

    def _move_on(self, sheet: _Sheet) -> None:
        """The sheet was committed. What others ask for is true at once; what only the next append needs can wait."""
        self._position, self._hash, self._time, self._ids = sheet.position, sheet.hash, sheet.time, sheet.ids
        if sheet.events:
            self._disowned = True
        self.keys_dropped += sheet.drops
        self._committed = sheet

    def _adopt(self, sheet: _Sheet) -> None:
        if sheet.streams:
            _keep_latest(self._streams, sheet.streams, _STREAMS_KEPT)
        if sheet.types:
            self._types.update(sheet.types)
        if sheet.origins:
            _keep_latest(self._origins, sheet.origins, _ORIGINS_KEPT)
        for stream, intents in sheet.intents.items():
            if intents:
                self._intents[stream] = intents
            else:
                self._intents.pop(stream, None)
        for rows in sheet.touched:
            rows.settle()

    def _refuse_twice(self, sheet: _Sheet, command: str) -> None:
        known = sheet.below is not None and command in sheet.below.commands
        if known or self._connection.execute(_SELECT_COMMAND, (command,)).fetchone() is not None:
            raise Conflict(f"the command {command} was carried out before")

    def _reply(self, sheet: _Sheet, command: str, reply: str, records: Sequence[Recorded]) -> None:
        first, last = (records[0].position, records[-1].position) if records else (0, 0)
        sheet.commands.add(command)
        sheet.insert(_INSERT_COMMAND, (command, first, last, reply))

    def _append(
        self,
        sheet: _Sheet,
        order: Order,
        stream: StreamId,
        expected: int | None,
        payloads: Sequence[Payload],
        records: list[Recorded],
    ) -> None:
        alone = sheet.below is None and not sheet.streams
        id, version = (self._streams.get(stream) if alone else None) or self._stream(sheet, stream)
        if version != expected and expected is not None:
            raise Conflict(f"{stream} is at version {version}, not at {expected}")
        if not payloads:
            return
        if not id:
            id = self._next_id(sheet, 0)
            sheet.insert(_INSERT_STREAM, (id, stream.kind, stream.key))
        sheet.streams[stream] = id, version + len(payloads)
        for payload in payloads:
            version += 1
            kind = self._kinds.get(type(payload[0])) or self._kind(type(payload[0]))
            record = self._append_event(sheet, order, stream, id, version, payload, kind)
            self._follow(sheet, record, id, kind)
            records.append(record)

    def _append_event(
        self, sheet: _Sheet, order: Order, stream: StreamId, id: int, version: int, payload: Payload, kind: _Kind
    ) -> Recorded:
        event, data, secret = payload
        meta = order.meta
        if secret:
            data = with_sealed(data, sealing.seal(self._key(sheet, id), stream, version, secret))
        position, time = sheet.position + 1, self._now()
        if time <= sheet.time:
            time = sheet.time + 1
        hashed = data_hash(data)
        hash = link(sheet.hash, position, str(stream).encode(), version, kind.encoded, time, hashed, order.meta_hash)
        sheet.events.append((
            position, id, version, self._types.get(kind.name) or self._new_type(sheet, kind.name), time,
            data, hashed,
            self._origins.get(order.origin) or self._new_origin(sheet, order.origin),
            meta.cause, meta.correlation, order.command, hash,
        ))  # fmt: skip
        sheet.position, sheet.hash, sheet.time = position, hash, time
        return Recorded(position, stream, version, time, event, meta)

    def _follow(self, sheet: _Sheet, record: Recorded, stream: int, kind: _Kind) -> None:
        """What an event brings with it: intents, keys, and the rows of the inline projections."""
        if kind.moves_intents:
            self._settle(sheet, record, stream, kind)
        if kind.drops_key:
            sheet.keys[stream] = None
            sheet.drops += 1
        visible = record
        if kind.sealed:
            place = record.position, record.stream, record.version, record.time
            visible = Recorded(*place, closed(record.event), record.meta)
        for rows in kind.rows:
            sheet.touched[rows] = None
            rows.fold(visible)

    def _kind(self, event: type[Event]) -> _Kind:
        """With the inline rows that events of this class can touch."""
        all = ((rows, cares(rows.projection)) for rows in self._inline)
        found = self._kinds[event] = _Kind(
            name=event.stored_as,
            encoded=event.stored_as.encode(),
            moves_intents=bool(event.intent or event.settles or event.settles_all),
            intent=event.intent,
            sealed=bool(event.sealed),
            drops_key=event.drops_key,
            rows=[rows for rows, kinds in all if kinds is None or event in kinds],
        )
        return found

    def _settle(self, sheet: _Sheet, record: Recorded, stream: int, kind: _Kind) -> None:
        before = sheet.intents.get(stream)
        if before is None and sheet.below is not None:
            before = sheet.below.intents.get(stream)
        if before is None:
            before = self._intents.get(stream, _NONE)
        if not before and not kind.intent:
            return
        after = dict(before)
        for position in settled_by(before, record.event, record.meta.cause) if before else ():
            del after[position]
            sheet.ended.append((position,))
        if kind.intent:
            after[record.position] = kind.name
            sheet.begun.append((
                record.position, stream, self._types.get(kind.name) or self._new_type(sheet, kind.name)
            ))  # fmt: skip
        sheet.intents[stream] = after

    def _key(self, sheet: _Sheet, stream: int) -> bytes:
        """The key of a stream, made now if there is none."""
        for each in (sheet, sheet.below):
            if each is not None and stream in each.keys:
                key = each.keys[stream]
                break
        else:
            known = stream <= self._ids[0]
            found = self._connection.execute(sealing.KEY_OF, (stream,)).fetchone() if known else None
            key = None if found is None else found[0]
        if key is None:
            key = sheet.keys[stream] = sealing.new_key()
        return key

    def _stream(self, sheet: _Sheet, stream: StreamId) -> tuple[int, int]:
        """Id and version; zeros for a stream that does not exist."""
        known = sheet.streams.get(stream) or (sheet.below.streams.get(stream) if sheet.below is not None else None)
        known = known or self._streams.get(stream)
        if known is not None:
            return known
        id, version = self._connection.execute(_SELECT_STREAM, (stream.kind, stream.key)).fetchone() or (0, 0)
        return id, version or 0

    def _new_type(self, sheet: _Sheet, name: str) -> int:
        """The id of a type that is not committed yet."""
        known = sheet.types.get(name) or (sheet.below.types.get(name) if sheet.below is not None else None)
        if known is None:
            known = sheet.types[name] = self._next_id(sheet, 1)
            sheet.insert(_INSERT_TYPE, (known, name))
        return known

    def _new_origin(self, sheet: _Sheet, body: bytes) -> int:
        """The id of an origin that is not committed yet, or that was not seen for long."""
        known = sheet.origins.get(body) or (sheet.below.origins.get(body) if sheet.below is not None else None)
        if known is None:
            known = sheet.origins[body] = self._next_id(sheet, 2)
            sheet.insert(_INSERT_ORIGIN, (known, body))
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


def _open_intents(connection: Connection) -> dict[int, Intents]:
    found: dict[int, dict[int, str]] = {}
    rows = connection.execute("SELECT i.stream, i.pos, t.name FROM open_intents i JOIN types t ON t.id = i.type")
    for stream, position, kind in rows:
        found.setdefault(stream, {})[position] = kind
    return dict(found)


def _last_ids(connection: Connection) -> tuple[int, int, int]:
    """The highest ids of streams, types and origins."""
    statement = "SELECT (SELECT max(id) FROM streams), (SELECT max(id) FROM types), (SELECT max(id) FROM origins)"
    streams, types, origins = connection.execute(statement).fetchone()
    return streams or 0, types or 0, origins or 0
