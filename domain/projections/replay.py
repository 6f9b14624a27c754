"""Rows as they are stored, their digest, and the fold of a whole log in memory: what rebuilds and verification share.

A projection with the attribute `temporal = True` keeps every state its rows ever had. Its table has two more columns
behind the key: the row held from position `from_pos` until before `to_pos` (`STILL` while it holds). The other columns
must not be unique.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256

from domain.messages import Recorded
from domain.projections.fold import Column, Projection, Row

Value = int | str | None
Values = tuple[Value, ...]
"""A row in the order of the table's columns, as the table holds it."""

STILL = 2**63 - 1
"""`to_pos` of a row that still holds."""

_SPAN = (Column("from_pos", "integer"), Column("to_pos", "integer"))


def is_temporal(projection: Projection) -> bool:
    """Whether all earlier states of the rows are kept as well."""
    return bool(getattr(projection, "temporal", False))


def table_columns(projection: Projection) -> tuple[Column, ...]:
    """The columns of the projection's table."""
    key, *others = projection.columns
    return (key, *_SPAN, *others) if is_temporal(projection) else projection.columns


def stored_value(column: Column, value: object) -> Value:
    """A value as the table holds it."""
    if value is None:
        return None
    if column.type == "json":
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    if column.type == "integer" and isinstance(value, int):
        return int(value)
    if column.type == "text" and isinstance(value, str):
        return str(value)
    raise TypeError(f"column {column.name} is {column.type}, and {value!r} is not")


def stored(columns: Sequence[Column], row: Row) -> Values:
    """A row as the table holds it; a column without value is NULL."""
    return tuple(stored_value(column, row.get(column.name)) for column in columns)


def restored(columns: Sequence[Column], values: Sequence[object]) -> dict[str, object]:
    """A stored row as projections and readers see it."""
    return {
        column.name: json.loads(value) if column.type == "json" and isinstance(value, str) else value
        for column, value in zip(columns, values, strict=True)
    }


class Digest:
    """The digest of a set of rows, whatever their order: the sum of their hashes, modulo 2**256."""

    def __init__(self, rows: Iterable[Values] = ()) -> None:
        self._sum = 0
        for values in rows:
            self.add(values)

    def add(self, values: Sequence[Value]) -> None:
        """Take one more row into the set."""
        text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
        self._sum += int.from_bytes(sha256(text.encode()).digest(), "big")

    def __str__(self) -> str:
        return f"{self._sum % 2**256:064x}"


class Replay:
    """The fold of one projection in memory, fed with the whole log in order."""

    def __init__(self, projection: Projection) -> None:
        self.projection = projection
        self.rows: dict[str, Row] = {}

    def feed(self, record: Recorded) -> None:
        """Fold the next event."""
        for key in self.projection.keys(record):
            before = self.rows.get(key)
            after = self.projection.fold(before, record, key)
            if after is not before:
                self._change(key, before, after, record.position)

    def table(self) -> Iterator[Values]:
        """The rows of the table, by key; in the end of a temporal one only those that still hold."""
        for key in sorted(self.rows):
            yield stored(self.projection.columns, self.rows[key])

    def _change(self, key: str, before: Row | None, after: Row | None, position: int) -> None:
        if after is not None:
            self.rows[key] = after
        elif before is not None:
            del self.rows[key]


class TemporalReplay(Replay):
    """The same for a temporal projection; rows that do not hold any more are handed to `ended` at once."""

    def __init__(self, projection: Projection, ended: Callable[[Values], None]) -> None:
        super().__init__(projection)
        self._ended = ended
        self._since: dict[str, int] = {}

    def table(self) -> Iterator[Values]:
        """The rows that still hold."""
        for key in sorted(self.rows):
            yield self._span(key, self.rows[key], STILL)

    def _change(self, key: str, before: Row | None, after: Row | None, position: int) -> None:
        if before == after:
            return
        if before is not None:
            self._ended(self._span(key, before, position))
            del self._since[key]
        super()._change(key, before, after, position)
        if after is not None:
            self._since[key] = position

    def _span(self, key: str, row: Row, until: int) -> Values:
        first, *others = stored(self.projection.columns, row)
        return (first, self._since[key], until, *others)


def replay(projection: Projection, ended: Callable[[Values], None]) -> Replay:
    """An empty fold of the right sort."""
    return TemporalReplay(projection, ended) if is_temporal(projection) else Replay(projection)


def digest_of(projection: Projection, log: Iterable[Recorded]) -> str:
    """The digest of the projection's table after the whole log."""
    digest = Digest()
    fold = replay(projection, digest.add)
    for record in log:
        fold.feed(record)
    for values in fold.table():
        digest.add(values)
    return str(digest)
