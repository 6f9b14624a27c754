"""Stores in a temporary directory, a look at their file from outside, and what can go wrong below them."""

import errno
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest

from adapters.sqlite.driver import connect
from adapters.sqlite.event_store import SqliteEventStore
from domain import failpoints
from domain.errors import LadingError
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
    with closing(connect(root / "lading.db", "rw")) as connection:
        return connection.execute(statement, values).fetchall()


@contextmanager
def fault_at(place: str) -> Iterator[None]:
    """Let every pass of a failpoint fail."""

    def action(name: str) -> None:
        if name == place:
            raise LadingError("injected")

    failpoints.arm(action)
    try:
        yield
    finally:
        failpoints.arm(None)


@contextmanager
def mounted(where: Path, *arguments: str) -> Iterator[Path]:
    """A file system of its own for a store."""
    where.mkdir()
    subprocess.run(["mount", *arguments, str(where)], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", str(where)], check=True)


@asynccontextmanager
async def on_a_small_disk(where: Path) -> AsyncIterator[SqliteEventStore]:
    """A store that soon has no room; open."""
    with mounted(where, "-t", "tmpfs", "-o", "size=24m", "tmpfs") as disk:
        store = SqliteEventStore(disk, projections())
        await store.open()
        try:
            yield store
        finally:
            await store.close()


def fill(path: Path) -> None:
    """Leave no room on the disk that the file is on."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
