"""The tables of the log, and how the tables of projections follow from their columns; and statements as text.

The hot statements are built with Core, compiled once, and given to the driver's connection as text: SQLAlchemy's
execution would cost as much again as the statement itself.
"""

from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    delete,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.elements import ClauseElement, ColumnElement

from domain.projections.fold import Column as FoldColumn
from domain.projections.fold import Projection
from domain.projections.replay import STILL, is_temporal, table_columns

METADATA = MetaData()

STREAMS = Table(
    "streams",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    UniqueConstraint("kind", "key"),
)
TYPES = Table(
    "types",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
)
ORIGINS = Table(  # who and what version: a JSON array that many events share
    "origins",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)
EVENTS = Table(
    "events",
    METADATA,
    Column("pos", Integer, primary_key=True),
    Column("stream", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("type", Integer, nullable=False),
    Column("ts", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("data_hash", LargeBinary, nullable=False),
    Column("origin", Integer, nullable=False),
    Column("cause", Integer, nullable=False),
    Column("correlation", Integer, nullable=False),
    Column("command", LargeBinary),
    Column("hash", LargeBinary, nullable=False),
    UniqueConstraint("stream", "version"),
)
COMMANDS = Table(
    "commands",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("first", Integer, nullable=False),
    Column("last", Integer, nullable=False),
    Column("reply", Text, nullable=False),
    sqlite_with_rowid=False,
)
OPEN_INTENTS = Table(
    "open_intents",
    METADATA,
    Column("pos", Integer, primary_key=True),
    Column("stream", Integer, nullable=False),
    Column("type", Integer, nullable=False),
)
KEYS = Table(
    "keys",
    METADATA,
    Column("stream", Integer, primary_key=True),
    Column("key", LargeBinary, nullable=False),
)
CURSORS = Table(  # how far the asynchronous projections have read
    "cursors",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("pos", Integer, nullable=False),
    sqlite_with_rowid=False,
)
PROJECTIONS = Table(  # of which code the rows of each projection are the result
    "projections",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    sqlite_with_rowid=False,
)
ALEMBIC_VERSION = Table(  # as alembic itself would make it
    "alembic_version",
    METADATA,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

RESERVED = frozenset(METADATA.tables)
"""Names that no projection may have."""

_DIALECT = sqlite.dialect(paramstyle="qmark")
_TYPES = {"integer": Integer, "text": Text, "json": Text}


def sql(statement: Executable | ClauseElement) -> str:
    """The text of a statement; its parameters are question marks in the order in which they appear."""
    return str(statement.compile(dialect=_DIALECT))  # type: ignore[union-attr]


def insert_sql(table: Table) -> str:
    """Insert one row, every column in order."""
    return sql(insert(table))


def select_sql(table: Table, *by: str, columns: tuple[str, ...] = ()) -> str:
    """Select the rows whose columns `by` equal the parameters."""
    chosen = [table.c[name] for name in columns] if columns else list(table.columns)
    return sql(select(*chosen).where(*(table.c[name] == bindparam(f"by_{name}") for name in by)))


def update_sql(table: Table, changed: tuple[str, ...], *by: str) -> str:
    """Update the columns `changed` of the rows whose columns `by` equal the last parameters."""
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in changed}
    return sql(update(table).values(values).where(*(table.c[name] == bindparam(f"by_{name}") for name in by)))


def delete_sql(table: Table, *by: str) -> str:
    """Delete the rows whose columns `by` equal the parameters."""
    return sql(delete(table).where(*(table.c[name] == bindparam(f"by_{name}") for name in by)))


def upsert_sql(table: Table) -> str:
    """Insert one row or overwrite the one with the same primary key."""
    statement = insert(table)
    key = list(table.primary_key.columns)
    values: dict[str, Any] = {c.name: statement.excluded[c.name] for c in table.columns if c not in key}
    return sql(statement.on_conflict_do_update(index_elements=key, set_=values))


def projection_table(projection: Projection, name: str = "") -> Table:
    """The table of a projection, or its shadow under another name; without indexes, which `index_ddl` adds."""
    return _table(name or projection.name, table_columns(projection), is_temporal(projection))


def holds_now(table: Table) -> ColumnElement[bool]:
    """Which rows of a temporal table hold now; spelled out, for only so SQLite finds the index over just these."""
    return table.c.to_pos == literal_column(str(STILL))


def table_ddl(projection: Projection, name: str = "") -> str:
    """CREATE TABLE for a projection."""
    return sql(CreateTable(projection_table(projection, name)))


def index_ddl(projection: Projection) -> tuple[str, ...]:
    """CREATE INDEX for every column that asks for it (unique ones hold the set rules), and for rows that hold now.

    Rows without a value are left out: an index costs an append a page of its own wherever it changes.
    """
    table = projection_table(projection)
    wanted = [
        Index(f"{table.name}_{c.name}", column, unique=c.unique, sqlite_where=column.is_not(None), _table=table)
        for c, column in zip(table_columns(projection)[1:], list(table.c)[1:], strict=True)
        if c.unique or c.indexed
    ]
    if is_temporal(projection):
        key = next(iter(table.c))
        wanted.append(Index(f"{table.name}_now", key, sqlite_where=holds_now(table), _table=table))
    return tuple(sql(CreateIndex(index)) for index in wanted)


@cache
def _table(name: str, columns: tuple[FoldColumn, ...], temporal: bool) -> Table:
    """A plain table is one tree, by key, without row ids; a temporal one only grows at its end, as the log does."""
    key = "" if temporal else columns[0].name
    found: list[Column[Any]] = []
    for c in columns:
        is_key = c.name == key
        found.append(Column(c.name, _TYPES[c.type](), primary_key=is_key, nullable=not is_key, autoincrement=False))
    return Table(name, MetaData(), *found, sqlite_with_rowid=temporal)
