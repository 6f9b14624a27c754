"""The driver as SQLAlchemy knows one (PEP 249), over APSW: it makes the tables and runs the migrations with it.

What is asked often takes the bare connection (`adapters.sqlite.engine.bare`). A transaction begins only where a
statement of ours begins one.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import apsw

from adapters.sqlite import driver

apilevel = "2.0"
threadsafety = 1
paramstyle = "qmark"
sqlite_version = driver.SQLITE
sqlite_version_info = tuple(int(part) for part in sqlite_version.split("."))

Error = DatabaseError = OperationalError = ProgrammingError = apsw.Error


class Cursor:
    """Runs one statement after the other."""

    arraysize = 1

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._cursor.exec_trace = self._describe  # once a statement without rows has run, it is too late
        self.description: Sequence[tuple[Any, ...]] | None = None
        self.rowcount = -1

    @property
    def lastrowid(self) -> int:
        """The id of the row that was inserted last."""
        return self._connection.last_insert_rowid()

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> "Cursor":
        """Run a statement. Only of one that gives rows there is a `description`, and of the others a `rowcount`."""
        self._cursor.execute(statement, tuple(parameters))
        self.rowcount = -1 if self.description else self._connection.changes()
        return self

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> "Cursor":
        """Run a statement once for each row of parameters."""
        self._cursor.executemany(statement, rows)
        self.rowcount = -1
        return self

    def fetchone(self) -> Any:
        """The next row, or None."""
        return self._cursor.fetchone()

    def fetchmany(self, size: int = arraysize) -> list[Any]:
        """Up to so many of the next rows."""
        return [row for _, row in zip(range(size), self._cursor, strict=False)]

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        return self._cursor.fetchall()

    def close(self) -> None:
        """Forget the statement."""
        self._cursor.close()

    def _describe(self, cursor: apsw.Cursor, statement: str, bindings: object) -> bool:
        self.description = cursor.description or None
        return True


class Connection:
    """Holds a bare one."""

    def __init__(self, bare: driver.Connection) -> None:
        self.bare = bare
        self._apsw = cast(apsw.Connection, bare)

    def cursor(self) -> Cursor:
        """A new cursor."""
        return Cursor(self._apsw)

    def commit(self) -> None:
        """End the transaction, if there is one."""
        if self.bare.in_transaction:
            self.bare.execute("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction, if there is one."""
        if self.bare.in_transaction:
            self.bare.execute("ROLLBACK")

    def create_function(self, name: str, arguments: int, function: Callable[..., Any], **options: bool) -> None:
        """Make a function known to SQL: SQLAlchemy has one for regular expressions."""
        self._apsw.create_scalar_function(name, function, arguments, **options)

    def close(self) -> None:
        """Close the connection."""
        self.bare.close()
