"""The hash chain over the stored log, as pure functions over stored bytes: it makes every later change show.

    hash_n = SHA-256( hash_{n-1} | position | version | time | lengths | stream | type | data_hash | meta_hash )

Numbers are unsigned, 64 bits, big-endian; `lengths` are those of stream and type, 16 bits each. `stream` is the text
`kind/key`, `type` the stored name, so that the tables behind the short ids are under the chain as well. The payload
enters as its hash. The chain cannot show a cut tail: a head kept elsewhere does (see `first_fault`).
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, NamedTuple

GENESIS = bytes(32)
"""What the first event is chained to."""

_LINK = struct.Struct(">QQQHH")
_META = struct.Struct(">QQI")

FaultKind = Literal["edited", "deleted", "swapped", "forged", "cut", "unreadable"]


class Head(NamedTuple):
    """The end of a log: position and hash of its last event."""

    position: int = 0
    hash: bytes = GENESIS


class StoredRow(NamedTuple):
    """One event as it lies in the store; fields hold whatever was found there."""

    position: int
    stream: bytes
    version: int
    type: bytes
    time: int
    data: bytes
    data_hash: bytes
    origin: bytes
    cause: int
    correlation: int
    command: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that is wrong with a log, and where."""

    position: int
    stream: str
    kind: FaultKind
    detail: str

    def __str__(self) -> str:
        where = f" ({self.stream})" if self.stream else ""
        return f"event {self.position}{where} was {self.kind}: {self.detail}"


def data_hash(data: bytes) -> bytes:
    """The hash by which a payload enters the chain."""
    return sha256(data).digest()


def meta_hash(origin: bytes, cause: int, correlation: int, command: bytes) -> bytes:
    """The hash of what is known about an event besides its payload."""
    return sha256(_META.pack(cause, correlation, len(origin)) + origin + command).digest()


def link(
    previous: bytes,
    position: int,
    stream: bytes,
    version: int,
    type: bytes,
    time: int,
    data_hash: bytes,
    meta_hash: bytes,
) -> bytes:
    """The hash of one event, given that of the event before."""
    numbers = _LINK.pack(position, version, time, len(stream), len(type))
    return sha256(b"".join((previous, numbers, stream, type, data_hash, meta_hash))).digest()


def row_link(previous: bytes, row: StoredRow) -> bytes:
    """The hash that a stored row should have; empty when its columns cannot be hashed at all."""
    try:
        meta = meta_hash(row.origin, row.cause, row.correlation, row.command)
        return link(previous, row.position, row.stream, row.version, row.type, row.time, row.data_hash, meta)
    except (struct.error, TypeError):
        return b""


class ChainCheck:
    """Walks a log from its start; `head` is the last event that was in order."""

    def __init__(self) -> None:
        self.head = Head()
        self._time = 0
        self._versions: dict[bytes, int] = {}

    def first_fault(self, rows: Iterable[StoredRow]) -> Fault | None:
        """The first row that does not follow from the ones before it; may be called again with the rows that follow."""
        ahead = iter(rows)
        for row in ahead:
            if not self._accept(row):
                return self._fault(row, ahead)
        return None

    def _accept(self, row: StoredRow) -> bool:
        previous = self.head
        if (
            row.position != previous.position + 1
            or row.hash != row_link(previous.hash, row)
            or type(row.data) is not bytes
            or data_hash(row.data) != row.data_hash
            or row.version != self._versions.get(row.stream, 0) + 1
            or row.time <= self._time
        ):
            return False
        self.head = Head(row.position, row.hash)
        self._versions[row.stream] = row.version
        self._time = row.time
        return True

    def _fault(self, row: StoredRow, ahead: Iterator[StoredRow]) -> Fault:
        """Say what happened to a row that was not accepted."""
        expected = self.head.position + 1
        if row.position != expected:
            return Fault(expected, "", "deleted", f"the log goes on with event {row.position}")
        following = next(ahead, None)
        kind, detail = self._verdict(row, following)
        return Fault(row.position, _text(row.stream), kind, detail)

    def _verdict(self, row: StoredRow, following: StoredRow | None) -> tuple[FaultKind, str]:
        if type(row.data) is not bytes or data_hash(row.data) != row.data_hash:
            return "edited", "its payload does not match its hash"
        if self._out_of_order(row, following):
            return "swapped", "its time or stream version belongs to another place"
        if following is not None and row_link(row.hash, following) == following.hash:
            return "edited", "its columns do not match its hash (or the event before it was forged)"
        return "forged", "it does not follow from the event before it"

    def _out_of_order(self, row: StoredRow, following: StoredRow | None) -> bool:
        """Whether the row is sound in itself but stands in the wrong place."""
        if following is None:
            return False
        try:
            late = row.time > following.time or row.time <= self._time
            return late or row.version > self._versions.get(row.stream, 0) + 1
        except TypeError:
            return False


def cut(found: Head, kept: Head, hash_at_kept: bytes | None) -> Fault | None:
    """Compare the end of a log with a head kept elsewhere; `hash_at_kept` is the log's hash at that position."""
    if found.position < kept.position:
        return Fault(
            found.position + 1, "", "cut", f"the log ends at {found.position}, and it had reached {kept.position}"
        )
    if kept.position and hash_at_kept != kept.hash:
        return Fault(kept.position, "", "forged", "the log was written anew: its hash is not the one that was kept")
    return None


def _text(stream: object) -> str:
    return stream.decode(errors="replace") if isinstance(stream, bytes) else repr(stream)
