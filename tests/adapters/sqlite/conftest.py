"""Stores in a temporary directory, and a look at their file from outside."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from adapters.sqlite.event_store import SqliteEventStore
from domain.projections.fold import Projection
from tests.contracts.samples import projections

Opener = Callable[..., Awaitable[SqliteEventStore]]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens stores over one directory; closes them at the end of the test."""
    async with AsyncExitStack() as stack:

        async def open_store(root: Path = tmp_path, given: tuple[Projection, ...] | None = None) -> SqliteEventStore:
            store = SqliteEventStore(root, projections() if given is None else given)
            stack.push_async_callback(store.close)
            await store.open()
            return store

        yield open_store


def sql(root: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    """Run a statement on the file of a store that is closed, as an intruder would."""
    with closing(sqlite3.connect(root / "lading.db")) as connection, connection:
        return connection.execute(statement, values).fetchall()
