"""Reading the log: rows to `Recorded`, on one connection and one thread at a time.

Events whose type this version does not know stay in the log and are left out of what is returned. Sealed fields are
opened only by `load`; everybody else sees their defaults.
"""

import gc
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from adapters.sqlite import sealing
from adapters.sqlite.driver import ERRORS, Connection, storage_error
from domain.chain import Head, StoredRow
from domain.errors import StorageError
from domain.messages import Actor, Event, Meta, Recorded, StreamId, StreamKind, event_type
from domain.ports.events import OpenIntent, Reply
from domain.stored import ciphertext_of, from_bytes

_COLUMNS = "e.pos, e.stream, e.version, e.type, e.ts, e.data, e.origin, e.cause, e.correlation, e.command"
_LOAD = f"SELECT {_COLUMNS} FROM events e WHERE e.stream = ? ORDER BY e.version"
_READ = f"SELECT {_COLUMNS} FROM events e WHERE e.pos > ? ORDER BY e.pos LIMIT ?"
_READ_SOME = f"SELECT {_COLUMNS} FROM events e WHERE e.stream IN ({{marks}}) AND e.pos > ? ORDER BY e.pos LIMIT ?"
_READ_SHARE = (
    f"SELECT {_COLUMNS} FROM events e WHERE e.pos > ? AND e.pos <= ? AND e.stream % ? = ? ORDER BY e.pos LIMIT ?"
)
_STORED = """
    SELECT e.pos, CAST(s.kind || '/' || s.key AS BLOB), e.version, CAST(t.name AS BLOB), e.ts, e.data, e.data_hash,
           o.body, e.cause, e.correlation, e.command, e.hash
    FROM events e LEFT JOIN streams s ON s.id = e.stream LEFT JOIN types t ON t.id = e.type
                  LEFT JOIN origins o ON o.id = e.origin
    WHERE e.pos > ? ORDER BY e.pos LIMIT ?
"""
_STREAM_ID = "SELECT id FROM streams WHERE kind = ? AND key = ?"
_STREAMS = "SELECT id, kind, key FROM streams WHERE id BETWEEN ? AND ?"
_INTENTS = """
    SELECT i.pos, s.kind, s.key, t.name FROM open_intents i
    JOIN streams s ON s.id = i.stream JOIN types t ON t.id = i.type ORDER BY i.pos
"""

_CACHE = 50_000

_SHORT = 96
"""Bytes of a payload up to which it is remembered: most streams say the same short things (`attempt` is 1)."""

_PAYLOADS = 2048
_AHEAD = 8

EventRow = tuple[Any, ...]


class Reader:
    """Queries on one connection; keeps what never changes (names of types, streams, origins) in memory."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._types: dict[int, str] = {}
        self._streams: dict[int, StreamId] = {}
        self._origins: dict[int, tuple[Actor, str, str]] = {}
        self._events: dict[tuple[int, bytes], Event] = {}

    def load(self, stream: StreamId) -> Sequence[Recorded]:
        """All events of a stream, sealed fields opened while the key exists."""
        with _translated():
            found = self.connection.execute(_STREAM_ID, (stream.kind, stream.key)).fetchone()
            if found is None:
                return ()
            rows = self.connection.execute(_LOAD, found).fetchall()
            self._streams[found[0]] = stream
            key = None
            if any(self._seals(row) for row in rows):
                key = self.connection.execute(sealing.KEY_OF, found).fetchone()
            return self._records(rows, b"" if key is None else key[0])

    def length(self, stream: StreamId) -> int:
        """How many events a stream has."""
        with _translated():
            found = self.connection.execute(
                f"SELECT max(version) FROM events WHERE stream = ({_STREAM_ID})", (stream.kind, stream.key)
            ).fetchone()
            return found[0] or 0

    def read(self, after: int, limit: int, streams: Sequence[StreamId] | None = None) -> list[Recorded]:
        """Up to `limit` known events above a position."""
        records: list[Recorded] = []
        with _translated():
            while len(records) < limit:
                wanted = limit - len(records)
                rows = self._rows(after, wanted, streams)
                records += self._records(rows)
                if len(rows) < wanted:
                    break
                after = rows[-1][0]
        return records

    def log(self, after: int = 0, until: int | None = None, size: int = 2000) -> Iterator[list[Recorded]]:
        """The known events in slices of one short transaction each; up to `until`, or to the end."""
        while until is None or after < until:
            with _translated():
                rows = self._rows(after, size if until is None else min(size, until - after), None)
                self._look_ahead(rows)
            if not rows:
                return
            yield self._records(rows)
            after = rows[-1][0]

    def slice(self, after: int, limit: int) -> tuple[list[Recorded], int]:
        """The known events among the next `limit`, and the position that was reached."""
        rows = self._rows(after, limit, None)
        self._look_ahead(rows)
        return self._records(rows), rows[-1][0] if rows else after

    def part(self, after: int, until: int, limit: int, share: tuple[int, int]) -> tuple[list[Recorded], int]:
        """The same for one share of the streams (how many shares there are, which one), up to a position."""
        rows = self.connection.execute(_READ_SHARE, (after, until, *share, limit)).fetchall()
        self._look_ahead(rows)
        return self._records(rows), rows[-1][0] if len(rows) == limit else until

    def stored(self, after: int = 0, until: int | None = None, size: int = 5000) -> Iterator[StoredRow]:
        """The rows as the chain sees them."""
        while until is None or after < until:
            limit = size if until is None else min(size, until - after)
            rows = self.connection.execute(_STORED, (after, limit)).fetchall()
            if not rows:
                return
            for row in rows:
                yield StoredRow._make((*row[:10], _command(row[10]), row[11]))
            after = rows[-1][0]

    def head(self) -> Head:
        """The end of the log."""
        with _translated():
            row = self.connection.execute("SELECT pos, hash FROM events ORDER BY pos DESC LIMIT 1").fetchone()
            return Head() if row is None else Head(*row)

    def hash_at(self, position: int) -> bytes | None:
        """The chain's hash at a position."""
        with _translated():
            row = self.connection.execute("SELECT hash FROM events WHERE pos = ?", (position,)).fetchone()
            return None if row is None else row[0]

    def position_at(self, time: int) -> int:
        """The last position at or before a time: times grow with positions, so this is a binary search."""
        with _translated():
            low, high = 0, self.head().position
            while low < high:
                middle = (low + high + 1) // 2
                row = self.connection.execute("SELECT ts FROM events WHERE pos = ?", (middle,)).fetchone()
                if row is None:
                    raise StorageError(f"event {middle} is missing", hint="see `lading audit verify`")
                low, high = (middle, high) if row[0] <= time else (low, middle - 1)
            return low

    def open_intents(self) -> Sequence[OpenIntent]:
        """What is still to be done, oldest first."""
        with _translated():
            return tuple(
                OpenIntent(pos, StreamId(kind, key), name)
                for pos, kind, key, name in self.connection.execute(_INTENTS).fetchall()
            )

    def replied(self, command_id: str) -> Reply | None:
        """The stored reply of a command."""
        with _translated():
            row = self.connection.execute(
                "SELECT first, last, reply FROM commands WHERE id = ?", (command_id,)
            ).fetchone()
            return None if row is None else Reply(*row)

    def _rows(self, after: int, limit: int, streams: Sequence[StreamId] | None) -> list[EventRow]:
        if streams is None:
            return self.connection.execute(_READ, (after, limit)).fetchall()
        ids = [
            id
            for stream in streams
            for (id,) in self.connection.execute(_STREAM_ID, (stream.kind, stream.key)).fetchall()
        ]
        statement = _READ_SOME.format(marks=",".join("?" * len(ids)))
        return self.connection.execute(statement, (*ids, after, limit)).fetchall()

    def _records(self, rows: Sequence[EventRow], key: bytes = b"") -> list[Recorded]:
        records = []
        about, meta = None, Meta()
        for position, stream_id, version, type_id, time, data, *given in rows:
            stream = self._streams.get(stream_id) or self._stream(stream_id)
            event = self._events.get((type_id, data)) if len(data) <= _SHORT else None
            if event is None:
                event = self._decode(key, stream, version, type_id, data)
                if event is None:
                    continue
            if about != given:  # events of one append have the same
                about, meta = given, self._meta(*given)
            records.append(Recorded(position, stream, version, time, event, meta))
        return records

    def _decode(self, key: bytes, stream: StreamId, version: int, type_id: int, data: bytes) -> Event | None:
        """The event of a payload; short ones without secrets are kept, for an event never changes."""
        name = self._types.get(type_id) or self._type(type_id)
        opened = _open(key, stream, version, name, data) if key else b""
        event = from_bytes(name, data, opened=opened)
        if event is not None and not event.sealed and len(data) <= _SHORT:
            if len(self._events) >= _PAYLOADS:
                self._events.clear()
            self._events[type_id, data] = event
        return event

    def _meta(self, origin: int, cause: int, correlation: int, command: bytes | None) -> Meta:
        actor, boot, engine = self._origins.get(origin) or self._origin(origin)
        return Meta(actor, command.decode() if command else "", cause, correlation, boot, engine)

    def _seals(self, row: EventRow) -> bool:
        kind = event_type(self._types.get(row[3]) or self._type(row[3]))
        return kind is not None and bool(kind.sealed)

    def _type(self, id: int) -> str:
        self._types = dict(self.connection.execute("SELECT id, name FROM types").fetchall())
        return self._types[id] if id in self._types else self._missing("type", id)

    def _stream(self, id: int) -> StreamId:
        row = self.connection.execute("SELECT kind, key FROM streams WHERE id = ?", (id,)).fetchone()
        if row is None:
            self._missing("stream", id)
        if len(self._streams) > _CACHE:
            self._streams.clear()
        found = self._streams[id] = StreamId(cast(StreamKind, row[0]), row[1])
        return found

    def _look_ahead(self, rows: Sequence[EventRow]) -> None:
        """Learn the streams of many rows with one statement, where their ids lie close together."""
        unknown = {row[1] for row in rows} - self._streams.keys()
        if len(unknown) < _AHEAD or max(unknown) - min(unknown) > _AHEAD * len(unknown):
            return
        if len(self._streams) > _CACHE:
            self._streams.clear()
        for id, kind, key in self.connection.execute(_STREAMS, (min(unknown), max(unknown))):
            self._streams[id] = StreamId(cast(StreamKind, kind), key)

    def _origin(self, id: int) -> tuple[Actor, str, str]:
        row = self.connection.execute("SELECT body FROM origins WHERE id = ?", (id,)).fetchone()
        if row is None:
            self._missing("origin", id)
        if len(self._origins) > _CACHE:
            self._origins.clear()
        *actor, boot, version = json.loads(row[0])
        found = self._origins[id] = (Actor(*actor), boot, version)
        return found

    def _missing(self, what: str, id: int) -> str:
        raise StorageError(f"the log is damaged: {what} {id} is missing", hint="see `lading audit verify`")


def _open(key: bytes, stream: StreamId, version: int, name: str, data: bytes) -> bytes:
    kind = event_type(name)
    if kind is None or not kind.sealed:
        return b""
    ciphertext = ciphertext_of(data)
    return sealing.unseal(key, stream, version, ciphertext) if ciphertext else b""


def _command(value: bytes | None) -> bytes:
    """No command is stored as NULL only: an empty value there was put in by somebody else, and breaks the chain."""
    return b"" if value is None else value or b"\0"


@contextmanager
def uncollected() -> Iterator[None]:
    """No cycle collection while many events are decoded: it halves the speed, and they hold no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ERRORS as error:
        raise storage_error(error) from error
