"""Rows as they are stored, their digest, and the fold of a whole log in memory: what rebuilds and verification share.

A projection with the attribute `temporal = True` keeps every state its rows ever had. Its table has two more columns
behind the key: the row held from position `from_pos` until before `to_pos` (`STILL` while it holds). The other columns
must not be unique.

A projection with the attribute `cares`, a set of event classes, is not asked about events of any other class.

One with the method `changes(row, record)` says what an event changes in a row that was there and stays (None when that
is not so); `fold` gives the same row with these changes. An append that has only them makes and compares no whole row.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import compress
from operator import is_not, itemgetter

from domain.messages import Event, Recorded
from domain.projections.fold import Column, Projection, Row

Value = int | str | None
Values = tuple[Value, ...]
"""A row in the order of the table's columns, as the table holds it."""

STILL = 2**63 - 1
"""`to_pos` of a row that still holds."""

_SPAN = (Column("from_pos", "integer"), Column("to_pos", "integer"))
_FIXED = 1 + len(_SPAN)
canonical = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
"""The one text that a value has as JSON."""

_EMPTY: dict[type, str] = {list: "[]", tuple: "[]", dict: "{}"}
"""What most JSON columns hold."""

_AS_THEY_ARE = frozenset({int, str, type(None)})


def is_temporal(projection: Projection) -> bool:
    """Whether all earlier states of the rows are kept as well."""
    return bool(getattr(projection, "temporal", False))


def cares(projection: Projection) -> frozenset[type[Event]] | None:
    """The classes of events that can touch a row of it; None for any."""
    return getattr(projection, "cares", None)


def changes_of(projection: Projection) -> Callable[[Row, Recorded], Row | None] | None:
    """What says of an event what it changes in a row; None where only `fold` can tell."""
    return getattr(projection, "changes", None)


def table_columns(projection: Projection) -> tuple[Column, ...]:
    """The columns of the projection's table."""
    key, *others = projection.columns
    return (key, *_SPAN, *others) if is_temporal(projection) else projection.columns


class Shape:
    """Turns rows into what the table holds and back: JSON columns are text, a column without value is NULL."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.names = tuple(column.name for column in columns)
        self._pick = _picker(self.names)
        self._columns = tuple(columns)
        self._parts: dict[tuple[str, ...], Shape] = {}
        self._json = tuple(i for i, column in enumerate(columns) if column.type == "json")

    def store(self, row: Row) -> Values:
        """A row as the table holds it. Raises: TypeError for a value that its column cannot hold."""
        try:
            values: Sequence[object] = self._pick(row)
        except KeyError:  # a column without value
            values = tuple(map(row.get, self.names))
        if self._json:
            values = list(values)
            for i in self._json:
                if (value := values[i]) is not None:
                    values[i] = (None if value else _EMPTY.get(type(value))) or canonical(value)
        if not _AS_THEY_ARE.issuperset(map(type, values)):
            values = [self._plain(column, value) for column, value in zip(self._columns, values, strict=True)]
        return tuple(values)  # type: ignore[arg-type]

    def changed(self, before: Row, after: Row) -> tuple[str, ...]:
        """Names of the columns that differ."""
        try:
            others = map(is_not, self._pick(before), self._pick(after))  # most are the very same: no need to compare
        except KeyError:  # a column without value
            return tuple(name for name in self.names if before.get(name) != after.get(name))
        return tuple([name for name in compress(self.names, others) if before[name] != after[name]])

    def part(self, names: tuple[str, ...]) -> "Shape":
        """The same for some of the columns."""
        found = self._parts.get(names)
        if found is None:
            found = self._parts[names] = Shape([column for column in self._columns if column.name in names])
        return found

    def restore(self, values: Sequence[object]) -> dict[str, object]:
        """A stored row as projections and readers see it."""
        row = dict(zip(self.names, values, strict=True))
        for i in self._json:
            text = values[i]
            if isinstance(text, str):
                row[self.names[i]] = json.loads(text)
        return row

    def _plain(self, column: Column, value: object) -> Value:
        """Booleans and enumerations as the plain values they stand for."""
        if value is None or isinstance(value, str):
            return value if value is None else str.__str__(value)
        if isinstance(value, int):
            return int(value)
        raise TypeError(f"column {column.name} is {column.type}, and {value!r} is not")


def _picker(names: tuple[str, ...]) -> Callable[[Row], tuple[object, ...]]:
    """The values of all these names at once, whatever their number."""
    return itemgetter(*names) if len(names) > 1 else lambda row: tuple(row[name] for name in names)


class Digest:
    """The digest of a set of rows, whatever their order: the sum of their hashes, modulo 2**256."""

    def __init__(self, rows: Iterable[Sequence[Value]] = ()) -> None:
        self._sum = 0
        for values in rows:
            self.add(values)

    def add(self, values: Sequence[Value]) -> None:
        """Take one more row into the set."""
        self._sum += int.from_bytes(sha256(canonical(values).encode()).digest(), "big")

    def __str__(self) -> str:
        return f"{self._sum % 2**256:064x}"


class Replay:
    """The fold of one projection in memory, fed with the whole log in order.

    Rows that somebody else has folded stay as the table holds them until an event touches one.
    """

    def __init__(self, projection: Projection) -> None:
        self.projection = projection
        self.rows: dict[str, Row] = {}
        self._adopted: dict[str, Values] = {}
        self.shape = Shape(projection.columns)
        self.position = 0

    def feed(self, records: Iterable[Recorded]) -> None:
        """Fold the next events; `position` is that of the last one, also when its fold has failed."""
        rows, keys, fold, change = self.rows, self.projection.keys, self.projection.fold, self._change
        classes = cares(self.projection)
        for record in records:
            self.position = record.position
            if classes is not None and type(record.event) not in classes:
                continue
            for key in keys(record):
                before = rows.get(key) or self._restored(key)
                after = fold(before, record, key)
                if after is not before:
                    change(key, before, after, record.position)

    def adopt(self, table: Iterable[Values], position: int) -> None:
        """Go on from rows that somebody else has folded up to a position: `table` of his, or a part of it."""
        self.position = position
        self._adopted.update((str(values[0]), values) for values in table)

    def table(self) -> Iterator[Values]:
        """The rows of the table, by key; in the end of a temporal one only those that still hold."""
        for key in sorted(self.rows.keys() | self._adopted.keys()):
            yield self._adopted.get(key) or self._stored(key)

    def _stored(self, key: str) -> Values:
        return self.shape.store(self.rows[key])

    def _restored(self, key: str) -> Row | None:
        """The row of a key that is touched for the first time; from here on it is ours."""
        if not self._adopted or (values := self._adopted.pop(key, None)) is None:
            return None
        row = self.rows[key] = self._row(key, values)
        return row

    def _row(self, key: str, values: Values) -> Row:
        return self.shape.restore(values)

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
        self.since: dict[str, int] = {}

    def _stored(self, key: str) -> Values:
        return span(super()._stored(key), self.since[key], STILL)

    def _row(self, key: str, values: Values) -> Row:
        self.since[key] = int(str(values[1]))
        return super()._row(key, (values[0], *values[_FIXED:]))

    def _change(self, key: str, before: Row | None, after: Row | None, position: int) -> None:
        if before == after:
            return
        if before is not None:
            self._ended(span(self.shape.store(before), self.since.pop(key), position))
        super()._change(key, before, after, position)
        if after is not None:
            self.since[key] = position


def span(values: Values, since: int, until: int) -> Values:
    """A row of a temporal table."""
    return (values[0], since, until, *values[1:])


def replay(projection: Projection, ended: Callable[[Values], None]) -> Replay:
    """An empty fold of the right sort."""
    return TemporalReplay(projection, ended) if is_temporal(projection) else Replay(projection)


def digest_of(projection: Projection, log: Iterable[Recorded]) -> str:
    """The digest of the projection's table after the whole log."""
    digest = Digest()
    fold = replay(projection, digest.add)
    fold.feed(log)
    for values in fold.table():
        digest.add(values)
    return str(digest)
