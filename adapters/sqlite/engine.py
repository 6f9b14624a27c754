"""Connections to the store's file: one that writes and checkpoints, any number that only read.

Readers open the file for reading alone. A fact that shapes this module, beside those of the driver
(https://sqlite.org/wal.html):
- A commit that finds its pages in the WAL file overwrites them in place (one flush); one that has to grow costs
  a second flush for the new size. So `lay_out_wal` lets the file grow once, by a transaction that is rolled back.
- Whoever reads a page that is still in the WAL file changes its time of access. ext4 without a journal writes that
  with the next flush, as a block of its own that is waited for: a third more. So reading leaves no time there
  (`leave_no_access_times`).
"""

import os
from pathlib import Path
from typing import cast

import sqlalchemy
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, PoolProxiedConnection, QueuePool

from adapters import attributes
from adapters.sqlite import dbapi
from adapters.sqlite.driver import ERRORS, Connection, connect, is_full

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
_READER = ("query_only=ON", "cache_size=-8000", *_SHARED)


def writer_engine(path: Path) -> Engine:
    """The engine behind the one writing connection; a transaction begins IMMEDIATE."""
    engine = create_engine(
        "sqlite://", module=dbapi, creator=lambda: dbapi.Connection(connect(path, "rwc")), poolclass=NullPool
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        _pragmas(connection, _WRITER)

    @event.listens_for(engine, "begin")
    def begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def reader_engine(path: Path) -> Engine:
    """The engine behind all reading connections; every statement is a transaction of its own."""
    engine = create_engine(
        "sqlite://",
        module=dbapi,
        creator=lambda: dbapi.Connection(connect(path, "ro")),
        poolclass=QueuePool,
        pool_size=2,
        max_overflow=-1,
        pool_reset_on_return=None,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        _pragmas(connection, _READER)

    return engine


def bare(connection: PoolProxiedConnection) -> Connection:
    """The driver's connection behind one of SQLAlchemy's."""
    return cast(dbapi.Connection, connection.dbapi_connection).bare


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


def lay_out_wal(connection: Connection, path: Path, size: int = WAL_BYTES) -> None:
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
    except ERRORS as error:
        if not is_full(error):
            raise
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute(f"PRAGMA cache_size={usual}")


def leave_no_access_times(path: Path) -> None:
    """Reading the WAL file, by whatever process, changes nothing about it from now on; a file system that cannot leave
    the time of access alone is no error."""
    descriptor = os.open(_wal(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        attributes.give(descriptor, attributes.NO_ACCESS_TIMES)
    finally:
        os.close(descriptor)


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


def _pragmas(connection: DBAPIConnection, settings: tuple[str, ...]) -> None:
    for setting in settings:
        cast(dbapi.Connection, connection).bare.execute(f"PRAGMA {setting}")
