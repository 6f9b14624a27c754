"""Queries over the rows of projections: names are checked against the columns, values are bound, never spelled out.

Asynchronous projections are brought up to date before they answer, so readers see what was appended before they asked.
Of a temporal projection the rows that hold now are shown, or with `at` those that held at a position.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from sqlalchemy import Table, bindparam, false, select

from adapters.sqlite.driver import ERRORS, Connection, storage_error
from adapters.sqlite.tables import holds_now, projection_table, sql
from domain.errors import Unavailable
from domain.projections.fold import Column, Projection, Row
from domain.projections.replay import Shape, is_temporal, table_columns

_FEW = 1000
"""Rows up to which a query is answered on the loop itself."""

_LAST = chr(0x10FFFF)
_STATEMENTS = 512

Kind = tuple[object, ...]
Found = Sequence[Sequence[object]]


class Connections(Protocol):
    """Where queries run: on the held connection, or in a thread with one of its own."""

    def held(self) -> Connection:
        """The connection of the loop's thread."""

    async def catch_up(self) -> None:
        """Returns when the asynchronous projections show all that is in the log now."""

    async def heavy(self, query: Callable[[Connection], Found]) -> Found:
        """Run a query that may take long in a thread."""


class View:
    """The table of one projection and the statements for it."""

    def __init__(self, projection: Projection) -> None:
        self.name = projection.name
        self.inline = projection.inline
        self.temporal = is_temporal(projection)
        self.table: Table = projection_table(projection)
        self.columns: tuple[Column, ...] = table_columns(projection)
        self.shape = Shape(self.columns)
        self.key = self.columns[0].name
        self.quick = {self.key} | {column.name for column in self.columns if column.unique or column.indexed}
        self.count = f"SELECT count(*) FROM (SELECT 1 FROM {self.name} LIMIT {_FEW + 1})"
        self._statements: dict[Kind, str] = {}

    def select(
        self, where: dict[str, object], prefix: str, order: str, *, descending: bool, limited: bool, now: bool
    ) -> str:
        """The statement for a query of this shape."""
        forms = tuple((name, _form(value)) for name, value in where.items())
        shape = (forms, prefix, order, descending, limited, now)
        statement = self._statements.get(shape)
        if statement is None:
            if len(self._statements) >= _STATEMENTS:
                self._statements.clear()
            statement = self._compile(where, prefix, order, descending, now) + (" LIMIT ?" if limited else "")
            self._statements[shape] = statement
        return statement

    def _compile(self, where: dict[str, object], prefix: str, order: str, descending: bool, now: bool) -> str:
        statement = select(self.table)
        for name, value in where.items():
            statement = statement.where(_matches(self._column(name), name, value))
        if self.temporal and now:
            statement = statement.where(holds_now(self.table))
        elif self.temporal:
            begun, ended = self.table.c.from_pos <= bindparam("begun"), self.table.c.to_pos > bindparam("ended")
            statement = statement.where(begun, ended)
        if prefix:
            column = self._column(prefix)
            statement = statement.where(column >= bindparam("first"), column <= bindparam("last"))
        if order:
            column = self._column(order)
            statement = statement.order_by(column.desc() if descending else column)
        key = self.table.c[self.key]
        statement = statement.order_by(key.desc() if descending and not order else key)
        return sql(statement)

    def _column(self, name: str) -> Any:
        if name not in self.table.c:
            raise LookupError(f"{self.name} has no column {name!r}")
        return self.table.c[name]


class SqliteViews:
    """The projections' rows, for queries (port `Views`); `unreadable` names those that cannot be read yet."""

    def __init__(
        self, projections: Sequence[Projection], connections: Connections, unreadable: Callable[[], Collection[str]]
    ) -> None:
        self._views = {projection.name: View(projection) for projection in projections}
        self._connections = connections
        self._unreadable = unreadable

    async def get(self, projection: str, key: str) -> Row | None:
        """One row by its key."""
        rows = await self.select(projection, where={self._view(projection).key: key}, limit=1)
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
        return await self._select(projection, None, where or {}, prefix, order, descending, limit)

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
        if not self._view(projection).temporal:
            raise LookupError(f"{projection} does not keep the past")
        return await self._select(projection, position, where or {}, prefix, order, descending, limit)

    async def _select(
        self,
        projection: str,
        position: int | None,
        where: dict[str, object],
        prefix: tuple[str, str] | None,
        order: str,
        descending: bool,
        limit: int | None,
    ) -> Sequence[Row]:
        view = self._view(projection)
        if not view.inline:
            await self._connections.catch_up()
        now, limited = position is None, limit is not None
        statement = view.select(
            where, prefix[0] if prefix else "", order, descending=descending, limited=limited, now=now
        )
        values = [item for value in where.values() for item in _items(value)]
        if not now:
            values += [position, position]
        if prefix:
            values += [prefix[1], prefix[1] + _LAST]
        if limit is not None:
            values.append(limit)

        def query(connection: Connection) -> Found:
            try:
                return connection.execute(statement, values).fetchall()
            except ERRORS as error:
                raise storage_error(error) from error

        quick = now and any(name in view.quick for name in (*where, *(prefix[:1] if prefix else ())))
        if quick or self._is_small(view):
            found = query(self._connections.held())
        else:
            found = await self._connections.heavy(query)
        return [view.shape.restore(values) for values in found]

    def _view(self, name: str) -> View:
        if name in self._unreadable():
            raise Unavailable(f"{name} is being folded anew", hint="try again in a moment")
        if name not in self._views:
            raise LookupError(f"there is no projection {name!r}")
        return self._views[name]

    def _is_small(self, view: View) -> bool:
        return bool(self._connections.held().execute(view.count).fetchone()[0] <= _FEW)


def _form(value: object) -> object:
    """What of a value is part of the statement: whether it is NULL, or how many there are."""
    if value is None:
        return None
    return len(value) if isinstance(value, list | tuple) else "="


def _items(value: object) -> Sequence[object]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)


def _matches(column: Any, name: str, value: object) -> Any:
    if value is None:
        return column.is_(None)
    if isinstance(value, list | tuple):
        if not value:
            return false()
        return column.in_([bindparam(f"{name}_{i}") for i in range(len(value))])
    return column == bindparam(f"is_{name}")
