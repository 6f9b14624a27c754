"""Rows of one projection, folded event by event on the writer's connection, inside the transaction of the caller."""

import sqlite3
from collections.abc import Sequence
from typing import Protocol

from adapters.sqlite.tables import delete_sql, insert_sql, projection_table, select_sql, update_sql
from domain.errors import NameTaken
from domain.messages import Recorded
from domain.projections.fold import Projection, Row
from domain.projections.replay import STILL, Values, is_temporal, restored, stored


class Rows(Protocol):
    """What a projection's table does with an event."""

    projection: Projection

    def fold(self, record: Recorded) -> None:
        """Bring the rows up to date. Raises: NameTaken when a set rule says no."""


def rows_of(connection: sqlite3.Connection, projection: Projection, table: str = "") -> Rows:
    """The rows of a projection in its own table, or in another one of the same shape."""
    kind = TemporalRows if is_temporal(projection) else PlainRows
    return kind(connection, projection, table)


class PlainRows:
    """One row per key."""

    def __init__(self, connection: sqlite3.Connection, projection: Projection, table: str = "") -> None:
        self.projection = projection
        self._connection = connection
        self._table = projection_table(projection, table)
        self._names = tuple(column.name for column in projection.columns)
        self._unique = tuple(column.name for column in projection.columns[1:] if column.unique)
        self._select = select_sql(self._table, self._names[0])
        self._insert = insert_sql(self._table)
        self._delete = delete_sql(self._table, self._names[0])
        self._updates: dict[tuple[str, ...], str] = {}

    def fold(self, record: Recorded) -> None:
        """Bring the rows up to date."""
        for key in self.projection.keys(record):
            before: Values | None = self._connection.execute(self._select, (key,)).fetchone()
            row = None if before is None else restored(self.projection.columns, before)
            after = self.projection.fold(row, record, key)
            if after is not row:
                self._write(key, before, after)

    def _write(self, key: str, before: Values | None, row: Row | None) -> None:
        if row is None:
            self._connection.execute(self._delete, (key,))
            return
        after = stored(self.projection.columns, row)
        try:
            if before is None:
                self._connection.execute(self._insert, after)
            elif before != after:
                self._update(key, before, after)
        except sqlite3.IntegrityError as error:
            raise self._taken(key, after) from error

    def _update(self, key: str, before: Values, after: Values) -> None:
        """Only what has changed: SQLite rewrites the index of every column it is told to set."""
        changed = tuple(name for name, old, new in zip(self._names, before, after, strict=True) if old != new)
        statement = self._updates.get(changed)
        if statement is None:
            statement = self._updates[changed] = update_sql(self._table, changed, self._names[0])
        values = [new for old, new in zip(before, after, strict=True) if old != new]
        self._connection.execute(statement, (*values, key))

    def _taken(self, key: str, values: Values) -> NameTaken:
        """Which set rule said no, and who holds the value; the failed statement has undone only itself."""
        for name in self._unique:
            value = values[self._names.index(name)]
            statement = select_sql(self._table, name, columns=(self._names[0],))
            for (holder,) in self._connection.execute(statement, (value,)):
                if holder != key:
                    return NameTaken(f"{name} {value!r} is taken by {holder}", holder=holder)
        return NameTaken(f"{self._table.name} {key!r} breaks a rule")


class TemporalRows:
    """One row per key and change; see `domain.projections.replay`."""

    def __init__(self, connection: sqlite3.Connection, projection: Projection, table: str = "") -> None:
        self.projection = projection
        self._connection = connection
        found = projection_table(projection, table)
        names = tuple(column.name for column in projection.columns)
        key = names[0]
        self._select = select_sql(found, key, "to_pos", columns=("from_pos", *names))
        self._insert = insert_sql(found)
        self._end = update_sql(found, ("to_pos",), key, "from_pos")

    def fold(self, record: Recorded) -> None:
        """End the row that held and begin the next one, if anything has changed."""
        for key in self.projection.keys(record):
            found = self._connection.execute(self._select, (key, STILL)).fetchone()
            before = None if found is None else restored(self.projection.columns, found[1:])
            after = self.projection.fold(before, record, key)
            if after != before:
                self._change(key, found, after, record.position)

    def _change(self, key: str, found: Sequence[int] | None, row: Row | None, position: int) -> None:
        if found is not None:
            self._connection.execute(self._end, (position, key, found[0]))
        if row is not None:
            first, *others = stored(self.projection.columns, row)
            self._connection.execute(self._insert, (first, position, STILL, *others))
