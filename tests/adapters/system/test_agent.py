"""The socket by which programs of a build ask an agent."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.system.agent import agent_socket
from domain.agents import FAILURE, LIST
from domain.errors import Refused, StorageError

NO_KEYS = b"\0\0\0\5\x0c\0\0\0\0"


@asynccontextmanager
async def connected(
    folder: Path, asked: list[bytes]
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A program that has connected; `asked` gets what reaches the agent."""

    async def ask(message: bytes) -> bytes:
        asked.append(message)
        if message[4] == 13:
            raise Refused("it is gone")
        return NO_KEYS

    async with agent_socket(folder, "build-", ask, mode=0o640) as path:
        assert path.name.startswith("build-")
        assert path.stat().st_mode & 0o777 == 0o640
        reader, writer = await asyncio.open_unix_connection(str(path))
        yield reader, writer
        writer.close()
        await writer.wait_closed()
    assert not path.exists()


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose name fits into an address."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


async def test_only_questions_reach_the_agent(short: Path) -> None:
    """Adding and removing keys, locking and extensions do not; an agent that is gone is a failure, not a crash."""
    asked: list[bytes] = []
    async with connected(short, asked) as (reader, writer):
        for kind, answer in ((11, NO_KEYS), (17, FAILURE), (19, FAILURE), (22, FAILURE), (27, FAILURE), (13, FAILURE)):
            writer.write(b"\0\0\0\3" + bytes((kind, 0, 0)))
            assert await reader.readexactly(len(answer)) == answer
    assert [message[4] for message in asked] == [11, 13]


@pytest.mark.parametrize("head", [b"\0\0\0\0", b"\xff\xff\xff\xff"])
async def test_who_speaks_something_else_is_hung_up_on(short: Path, head: bytes) -> None:
    """Before any of it is read."""
    async with connected(short, []) as (reader, writer):
        writer.write(head)
        assert await reader.read() == b""


async def test_many_connections_at_a_time_are_too_many(short: Path) -> None:
    """They are descriptors of the daemon."""
    async with connected(short, []) as (reader, writer):
        writer.write(LIST)
        await reader.readexactly(len(NO_KEYS))
        path = next(short.iterdir())
        held = [await asyncio.open_unix_connection(str(path)) for _ in range(31)]
        for _, out in held:
            out.write(LIST)
        for into, _ in held:
            await into.readexactly(len(NO_KEYS))
        late = await asyncio.open_unix_connection(str(path))
        assert await late[0].read() == b""
        for _, out in [*held, late]:
            out.close()


async def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    """An address has room for 108 bytes; a folder that is not there is an error of the disk."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()

    async def ask(message: bytes) -> bytes:
        return NO_KEYS

    async with agent_socket(folder, "build-", ask) as path:
        assert path.is_socket()
    with pytest.raises(StorageError):
        async with agent_socket(folder / "none", "build-", ask):
            raise AssertionError
