"""Rows of one projection on the writer's connection, folded in memory and written once per transaction.

The events of one caller are folded onto a sheet: `keep` takes it into the transaction, `drop` throws it away when the
caller is refused. `flush` writes what has changed; `settle` and `forget` say how the transaction ended. Rows that were
used lately stay in memory, for nobody else writes them.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Protocol, TypeVar

from sqlalchemy import bindparam, select, update

from adapters.sqlite.driver import Connection, Cursor
from adapters.sqlite.tables import (
    delete_sql,
    holds_now,
    insert_sql,
    projection_table,
    select_sql,
    sql,
    update_sql,
)
from domain.errors import NameTaken
from domain.messages import Recorded
from domain.projections.fold import Projection, Row
from domain.projections.replay import STILL, Shape, Value, Values, cares, changes_of, is_temporal, span

T = TypeVar("T")

_KEPT = 4096
_SCALAR = (int, str)


class Rows(Protocol):
    """What a projection's table does with events."""

    projection: Projection

    def fold(self, record: Recorded) -> None:
        """Fold an event onto the sheet. Raises: NameTaken when a set rule says no."""

    def keep(self) -> None:
        """The sheet belongs to the transaction."""

    def drop(self) -> None:
        """The sheet is void."""

    def flush(self) -> None:
        """Write the rows; inside the transaction."""

    def settle(self) -> None:
        """The transaction was committed."""

    def forget(self) -> None:
        """The transaction was rolled back."""


Runs = Connection | Cursor
"""What runs statements: a cursor that is kept saves making one for each."""


def rows_of(runs: Runs, projection: Projection) -> Rows:
    """The rows of a projection in its table."""
    return (TemporalRows if is_temporal(projection) else PlainRows)(runs, projection)


class _Edit:
    """A row of the table that stays, and what this transaction changes in it."""

    __slots__ = ("changes", "row")

    def __init__(self, row: dict[str, object], changes: Row) -> None:
        self.row, self.changes = row, changes

    def get(self, column: str) -> object:
        """The value of a column afterwards."""
        return self.changes[column] if column in self.changes else self.row.get(column)

    def names(self) -> tuple[str, ...]:
        """The columns that differ afterwards."""
        return tuple([name for name, value in self.changes.items() if value != self.row.get(name)])

    def whole(self) -> Row:
        """The row afterwards."""
        return {**self.row, **self.changes}

    def settle(self) -> Row:
        """The row has become what it was to become."""
        self.row.update(self.changes)
        return self.row


Held = Row | _Edit | None
"""A row as it stands; None stands for no row."""


class PlainRows:
    """One row per key. `moves` says whether any row of this transaction has got, changed or lost a value that is under
    a set rule."""

    def __init__(self, runs: Runs, projection: Projection) -> None:
        self.projection = projection
        self._runs = runs
        self._shape = Shape(projection.columns)
        self._cares, self._changes = cares(projection), changes_of(projection)
        self._table = projection_table(projection)
        key = self._shape.names[0]
        self._select = select_sql(self._table, key)
        self._insert = insert_sql(self._table)
        self._delete = delete_sql(self._table, key)
        self._updates: dict[tuple[str, ...], tuple[str, Shape]] = {}
        self.moves = False
        self._unique = tuple(_Unique(self, column.name) for column in projection.columns[1:] if column.unique)
        self._stored: OrderedDict[str, Row | None] = OrderedDict()
        self._pencil: dict[str, Held] = {}
        self._sheet: dict[str, Held] = {}

    def fold(self, record: Recorded) -> None:
        """Fold an event onto the sheet."""
        if self._cares is not None and type(record.event) not in self._cares:
            return
        for key in self.projection.keys(record):
            held = self.row(key, new=record.version == 1)
            before = held.whole() if isinstance(held, _Edit) else held
            after: Held
            if before is not None and self._changes is not None and (new := self._changes(before, record)) is not None:
                after = self._edited(key, held, before, new)
            else:
                after = self.projection.fold(before, record, key)
            if after is not before:
                for rule in self._unique:
                    if before is None or after is None or after.get(rule.column) is not before.get(rule.column):
                        rule.check(key, before, after)
                self._sheet[key] = after

    def keep(self) -> None:
        """The sheet belongs to the transaction."""
        if self._sheet:
            if self.moves:
                for rule in self._unique:
                    rule.keep(self._sheet)
            self._pencil.update(self._sheet)
            self._sheet = {}

    def drop(self) -> None:
        """The sheet is void."""
        self._sheet = {}

    def flush(self) -> None:
        """Write the rows; first the values are set free that move from one row to another.

        Of a row that was there only the columns that have changed: SQLite rewrites the index of every column it is told
        to set.
        """
        pencil, stored = self._pencil, self._stored
        if self.moves:
            for rule in self._unique:
                rule.set_free(pencil, stored)
        for key, row in pencil.items():
            before = stored[key]
            if isinstance(row, _Edit):
                self._write(key, row.names(), row.changes)
            elif row is not None and before is not None:
                self._write(key, self._shape.changed(before, row), row)
            elif row is not None:
                self._runs.execute(self._insert, self._shape.store(row))
            elif before is not None:
                self._runs.execute(self._delete, (key,))

    def settle(self) -> None:
        """The transaction was committed."""
        if self._pencil:
            settled = {key: row.settle() if isinstance(row, _Edit) else row for key, row in self._pencil.items()}
            _keep_latest(self._stored, settled)
            self.forget()

    def forget(self) -> None:
        """The transaction was rolled back."""
        self._pencil, self._sheet = {}, {}
        if self.moves:
            self.moves = False
            for rule in self._unique:
                rule.holders.clear()

    def row(self, key: str, *, new: bool = False) -> Held:
        """The row as it stands on the sheet, in the transaction, or in the table; there it cannot be if its stream is
        new, for other streams do not touch it."""
        if key in self._sheet:
            return self._sheet[key]
        if key in self._pencil:
            return self._pencil[key]
        if key in self._stored:
            return self._stored[key]
        values = None if new else self._runs.execute(self._select, (key,)).fetchone()
        found = self._stored[key] = None if values is None else self._shape.restore(values)
        return found

    def pencilled(self) -> Iterable[tuple[str, Held]]:
        """Keys and rows of this sheet."""
        return self._sheet.items()

    def execute(self, statement: str, values: tuple[object, ...]) -> Cursor:
        """Run a statement in the transaction."""
        return self._runs.execute(statement, values)

    def _edited(self, key: str, held: Held, before: Row, changes: Row) -> Held:
        """The row with more changes; one that the table does not hold yet is made anew."""
        if isinstance(held, _Edit):
            return _Edit(held.row, {**held.changes, **changes})
        if isinstance(held, dict) and held is self._stored.get(key):
            return _Edit(held, changes)
        return {**before, **changes}

    def _write(self, key: str, names: tuple[str, ...], values: Row) -> None:
        """Update these columns of a row."""
        if names:
            statement, shape = self._updates.get(names) or self._update(names)
            self._runs.execute(statement, (*shape.store(values), key))

    def _update(self, names: tuple[str, ...]) -> tuple[str, Shape]:
        shape = self._shape.part(names)
        found = self._updates[names] = update_sql(self._table, shape.names, self._shape.names[0]), shape
        return found


class _Unique:
    """The set rule of one column: each value belongs to one row. `holders` are those of this transaction."""

    def __init__(self, rows: PlainRows, column: str) -> None:
        self.holders: dict[Value, str] = {}
        self._rows, self.column = rows, column
        table = projection_table(rows.projection)
        key = rows.projection.columns[0].name
        self._holder = select_sql(table, column, columns=(key,))
        self._free = update_sql(table, (column,), key)

    def check(self, key: str, before: Held, after: Held) -> None:
        """Raises: NameTaken when the row's new value belongs to another row."""
        value = self._value(after)
        if value == self._value(before):
            return
        self._rows.moves = True
        if value is None:
            return
        found = self._rows.execute(self._holder, (value,)).fetchone()
        candidates = [held for held, row in self._rows.pencilled() if self._value(row) == value]
        candidates += [self.holders[value]] if value in self.holders else []
        candidates += [found[0]] if found is not None else []
        for holder in candidates:
            if holder != key and self._value(self._rows.row(holder)) == value:
                raise NameTaken(f"{self.column} {value!r} is taken by {holder}", holder=holder)

    def keep(self, sheet: dict[str, Held]) -> None:
        """Remember who holds which value after a caller's events."""
        for key, row in sheet.items():
            if (value := self._value(row)) is not None:
                self.holders[value] = key

    def set_free(self, pencil: dict[str, Held], stored: OrderedDict[str, Row | None]) -> None:
        """NULL the value in rows that give it to another row of the same transaction."""
        for key, row in pencil.items():
            before = self._value(stored[key])
            if before is not None and self._value(row) != before and self.holders.get(before, key) != key:
                self._rows.execute(self._free, (None, key))

    def _value(self, row: Held) -> Value:
        value = None if row is None else row.get(self.column)
        return value if isinstance(value, _SCALAR) else None


class TemporalRows:
    """One row per key and change; see `domain.projections.replay`."""

    def __init__(self, runs: Runs, projection: Projection) -> None:
        self.projection = projection
        self._runs = runs
        self._shape = Shape(projection.columns)
        self._cares = cares(projection)
        table = projection_table(projection)
        key = self._shape.names[0]
        wanted = [table.c.from_pos, *(table.c[name] for name in self._shape.names)]
        now = (table.c[key] == bindparam("by_key"), holds_now(table))
        self._select = sql(select(*wanted).where(*now))
        self._insert = insert_sql(table)
        self._end = sql(update(table).values({"to_pos": bindparam("new_end")}).where(*now))
        self._stored: OrderedDict[str, _Held | None] = OrderedDict()
        self._pencil: dict[str, _Held | None] = {}
        self._sheet: dict[str, _Held | None] = {}
        self._ended: list[Values] = []
        self._ending: list[Values] = []

    def fold(self, record: Recorded) -> None:
        """End the row that held and begin the next one, if anything has changed."""
        if self._cares is not None and type(record.event) not in self._cares:
            return
        for key in self.projection.keys(record):
            held = self._held(key)
            before = None if held is None else held.row
            after = self.projection.fold(before, record, key)
            if after == before:
                continue
            if held is not None:
                self._ending.append(span(self._shape.store(held.row), held.since, record.position))
            self._sheet[key] = None if after is None else _Held(record.position, after)

    def keep(self) -> None:
        """The sheet belongs to the transaction."""
        self._pencil.update(self._sheet)
        self._ended += self._ending
        self.drop()

    def drop(self) -> None:
        """The sheet is void."""
        self._sheet, self._ending = {}, []

    def flush(self) -> None:
        """Write the rows: ended ones that the table knows are updated, all others are new."""
        known = {(key, held.since) for key in self._pencil if (held := self._stored[key]) is not None}
        ends = [(values[2], values[0]) for values in self._ended if values[:2] in known]
        self._runs.executemany(self._end, ends)
        self._runs.executemany(self._insert, [values for values in self._ended if values[:2] not in known])
        self._runs.executemany(
            self._insert,
            [
                span(self._shape.store(held.row), held.since, STILL)
                for held in self._pencil.values()
                if held is not None
            ],
        )

    def settle(self) -> None:
        """The transaction was committed."""
        _keep_latest(self._stored, self._pencil)
        self.forget()

    def forget(self) -> None:
        """The transaction was rolled back."""
        self._pencil, self._ended = {}, []
        self.drop()

    def _held(self, key: str) -> "_Held | None":
        for rows in (self._sheet, self._pencil, self._stored):
            if key in rows:
                return rows[key]
        found = self._runs.execute(self._select, (key,)).fetchone()
        held = self._stored[key] = None if found is None else _Held(found[0], self._shape.restore(found[1:]))
        return held


def _keep_latest(stored: OrderedDict[str, T], fresh: dict[str, T]) -> None:
    for key, row in fresh.items():
        stored[key] = row
        stored.move_to_end(key)
    while len(stored) > _KEPT:
        stored.popitem(last=False)


class _Held:
    """A row that holds, and since which position."""

    __slots__ = ("row", "since")

    def __init__(self, since: int, row: Row) -> None:
        self.since, self.row = since, row
