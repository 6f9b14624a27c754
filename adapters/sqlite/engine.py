"""Connections to the store's file: one that writes and checkpoints, any number that only read.

Facts that shape this module (https://sqlite.org/wal.html):
- SQLite 3.7.0 to 3.51.2 can corrupt a WAL file when one connection commits while another one checkpoints. So only the
  writer checkpoints, and only when it is told to; readers are opened with `mode=ro` and `query_only`.
- POSIX locks of a file vanish when any descriptor of it is closed in the process: nothing here opens the main file.
- A commit that finds its pages in the WAL file overwrites them in place (one flush); one that has to grow costs
  a second flush for the new size. So `lay_out_wal` lets the file grow once, by a transaction that is rolled back.
"""

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, QueuePool

from domain.errors import StorageError

PAGE = 2048
"""Bytes of a page: a commit writes every page it touches, and most change by some hundred bytes."""

WAL_BYTES = 4 << 20
"""What the WAL file is laid out for; also the reserve in which commits still fit when the disk is full."""

_SHARED = (
    "mmap_size=0",
    "temp_store=MEMORY",
    "trusted_schema=OFF",
    "cell_size_check=ON",
    "wal_autocheckpoint=0",
    "busy_timeout=5000",
)
_WRITER = (
    f"page_size={PAGE}",
    "journal_mode=WAL",
    "synchronous=FULL",
    "secure_delete=ON",
    "cache_size=-16000",
    *_SHARED,
)
_NULLS = {None: None}
_READER = ("query_only=ON", "cache_size=-8000", *_SHARED)


def writer_engine(path: Path) -> Engine:
    """The engine behind the one writing connection; a transaction begins IMMEDIATE."""
    engine = create_engine("sqlite+pysqlite://", creator=lambda: connect(path, "rwc"), poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        _pragmas(connection, _WRITER)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def reader_engine(path: Path) -> Engine:
    """The engine behind all reading connections; every statement is a transaction of its own."""
    engine = create_engine(
        "sqlite+pysqlite://",
        creator=lambda: connect(path, "ro"),
        poolclass=QueuePool,
        pool_size=2,
        max_overflow=-1,
        pool_reset_on_return=None,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        _pragmas(connection, _READER)

    return engine


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A bare connection; transactions are begun and ended only by statements of ours.

    The driver looks for an adapter of every value that is neither a number nor a text, and before Python 3.12 it makes
    an exception of each time that it finds none: that takes longer than the value itself. So there are some that change
    nothing.
    """
    sqlite3.register_adapter(bytes, bytes)
    sqlite3.register_adapter(type(None), _NULLS.get)
    uri = f"file:{quote(str(path))}?mode={mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256)


def driver(connection: object) -> sqlite3.Connection:
    """The driver's connection behind one of SQLAlchemy's."""
    found = getattr(connection, "driver_connection", connection)
    if not isinstance(found, sqlite3.Connection):
        raise TypeError(f"{found!r} is no connection to SQLite")
    return found


def create_private(path: Path) -> bool:
    """Make an empty file that only its owner can read, durably; False if it is there already.

    SQLite gives the WAL and shared-memory files the mode of the main file.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    sync_directory(path.parent)
    return True


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lay_out_wal(connection: sqlite3.Connection, path: Path, size: int = WAL_BYTES) -> None:
    """Let the WAL file grow to its usual size; a disk without room for it is no error.

    On an empty WAL this also overwrites what an earlier round has left in the file. It is flushed here, or the next
    commit would have to.
    """
    (usual,) = connection.execute("PRAGMA cache_size").fetchone()
    connection.execute("PRAGMA cache_size=-500")  # what does not fit into the cache goes to the WAL before the end
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE room (bytes BLOB)")
        connection.execute("INSERT INTO room VALUES (zeroblob(?))", (size,))
        _flush(_wal(path))
    except sqlite3.OperationalError as error:
        if not is_full(error):
            raise
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute(f"PRAGMA cache_size={usual}")


def wal_size(path: Path) -> int:
    """Bytes of the WAL file of a database."""
    try:
        return _wal(path).stat().st_size
    except FileNotFoundError:
        return 0


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _flush(path: Path) -> None:
    """Only for the WAL: SQLite's locks are on the other two files."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def is_full(error: sqlite3.Error) -> bool:
    """Whether there was no room, so that nothing was written and nothing is in doubt.

    SQLITE_FULL comes from a write, SQLITE_IOERR_SHMSIZE from growing the index of the WAL; a flush that fails for want
    of room is SQLITE_IOERR_FSYNC, and that is another matter.
    """
    return code_of(error) in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}


def is_fatal(error: sqlite3.Error) -> bool:
    """Whether the file or the disk below it can no longer be trusted."""
    primary = code_of(error) & 0xFF
    return not is_full(error) and primary in {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
    }


def code_of(error: sqlite3.Error) -> int:
    """The extended result code; 0 for errors of the driver itself."""
    return getattr(error, "sqlite_errorcode", 0) or 0


def storage_error(error: sqlite3.Error, path: Path | None = None) -> StorageError:
    """What a caller is told."""
    if is_full(error):
        return StorageError("the disk is full: nothing was stored", hint="free some space and try again")
    where = f" {path}" if path else ""
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    hint = (
        "see `lading audit verify`" if code_of(error) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} else ""
    )
    return StorageError(f"the event log{where} cannot be used: {error} ({name})", hint=hint)


def _pragmas(connection: DBAPIConnection, settings: tuple[str, ...]) -> None:
    cursor = connection.cursor()
    for setting in settings:
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()
