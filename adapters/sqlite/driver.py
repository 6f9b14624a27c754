"""The driver, APSW: bare connections and what its errors mean. It brings a SQLite of its own.

Facts that shape this package (https://sqlite.org/wal.html, https://sqlite.org/howtocorrupt.html):
- POSIX locks of a file vanish when any descriptor of it is closed in the process: nobody here opens the main file by
  other means, and above all not with another SQLite, the standard library's, which would not know of these locks.
- SQLite 3.7.0 to 3.51.2 can corrupt a WAL file when one connection commits while another one checkpoints. The driver's
  is newer than what systems come with, and still only the writer checkpoints, when it is told to.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, Self, cast

import apsw

from domain.errors import StorageError

SQLITE = apsw.sqlite_lib_version()
ERRORS = (apsw.Error, UnicodeDecodeError)
"""What a statement may raise: SQLite's errors, and that a text of a damaged file is not even UTF-8."""

_STATEMENTS = 256
"""How many statements a connection keeps prepared."""

Mode = Literal["ro", "rw", "rwc"]
_FLAGS: dict[Mode, int] = {
    "ro": apsw.SQLITE_OPEN_READONLY,
    "rw": apsw.SQLITE_OPEN_READWRITE,
    "rwc": apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE,
}


class Cursor(Protocol):
    """Runs one statement after the other; what the rows hold, the statement says."""

    def execute(self, statement: str, bindings: Sequence[Any] = (), /) -> Self:
        """Run a statement."""

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> Self:
        """Run a statement once for each row of bindings."""

    def fetchone(self) -> Any:
        """The next row, None after the last one."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""

    def __iter__(self) -> Iterator[Any]:
        """The rows that are left."""

    def close(self) -> None:
        """Forget the statement."""


class Connection(Protocol):
    """A connection to one file; one thread at a time may use it."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction was begun and has not ended."""

    def execute(self, statement: str, bindings: Sequence[Any] = (), /) -> Cursor:
        """Run a statement with a cursor of its own."""

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> Cursor:
        """Run a statement once for each row of bindings, with a cursor of its own."""

    def cursor(self) -> Cursor:
        """A new cursor."""

    def close(self) -> None:
        """Close the file."""


def connect(path: Path, mode: Mode) -> Connection:
    """A bare connection; transactions are begun and ended only by statements of ours."""
    return cast(Connection, apsw.Connection(str(path), flags=_FLAGS[mode], statementcachesize=_STATEMENTS))


def copy(source: Connection, target: Connection) -> None:
    """Overwrite the target with what the source holds, in one go."""
    with cast(apsw.Connection, target).backup("main", cast(apsw.Connection, source), "main") as backup:
        backup.step()


def is_full(error: Exception) -> bool:
    """Whether there was no room, so that nothing was written and nothing is in doubt.

    SQLITE_FULL comes from a write, SQLITE_IOERR_SHMSIZE from growing the index of the WAL; a flush that fails for want
    of room is SQLITE_IOERR_FSYNC, and that is another matter.
    """
    return code_of(error) in {apsw.SQLITE_FULL, apsw.SQLITE_IOERR_SHMSIZE}


def is_fatal(error: Exception) -> bool:
    """Whether the file or the disk below it can no longer be trusted."""
    primary = code_of(error) & 0xFF
    return not is_full(error) and primary in {
        apsw.SQLITE_IOERR,
        apsw.SQLITE_CORRUPT,
        apsw.SQLITE_NOTADB,
        apsw.SQLITE_READONLY,
        apsw.SQLITE_CANTOPEN,
    }


def code_of(error: Exception) -> int:
    """The extended result code; 0 for errors that are not SQLite's."""
    return getattr(error, "extendedresult", 0) or 0


def storage_error(error: Exception, path: Path | None = None) -> StorageError:
    """What a caller is told."""
    if is_full(error):
        return StorageError("the disk is full: nothing was stored", hint="free some space and try again")
    damaged = code_of(error) & 0xFF in {apsw.SQLITE_CORRUPT, apsw.SQLITE_NOTADB} or isinstance(
        error, UnicodeDecodeError
    )
    where = f" {path}" if path else ""
    return StorageError(
        f"the event log{where} cannot be used: {error} ({_name(error)})",
        hint="see `lading audit verify`" if damaged else "",
    )


def _name(error: Exception) -> str:
    code = code_of(error)
    names = apsw.mapping_extended_result_codes, apsw.mapping_result_codes
    return next((str(each[code]) for each in names if code in each), type(error).__name__)
