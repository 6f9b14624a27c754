"""Answers that many listen to: the engine is asked once, and nobody can hold up the others."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from adapters.gateway import server, sharing
from adapters.gateway.line import Line
from adapters.gateway.server import Conversation
from adapters.gateway.sharing import MARK, Hall, unmarked
from tests.adapters.gateway.test_server import FakeLine

EVENTS = b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n"
PIECE = b"3\r\n{}\n\r\n"


class House:
    """A gateway with any number of clients; `lines` are those to the engine, each for one client's connection."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack, self.hall = stack, Hall()
        self.lines: list[FakeLine] = []

    async def _connect(self) -> Line:
        self.lines.append(FakeLine(script=[(b"A", b"200\0Content-Type: application/json\0" + MARK)]))
        return self.lines[-1]

    async def client(self, request: bytes = EVENTS) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """One more, who has got the head of its answer."""
        reader, writer = await self._stack.enter_async_context(self._pair())
        writer.write(request)
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
        assert b"Lading-Shared" not in head
        return reader, writer

    @asynccontextmanager
    async def _pair(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        ours, theirs = socket.socketpair()
        task = asyncio.create_task(
            Conversation(*await asyncio.open_unix_connection(sock=theirs), self._connect, self.hall).run())
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        yield reader, writer
        writer.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def let_go(self) -> bool:
        """Whether the engine was hung up on."""
        return self.lines[0].hung_up

    def tell(self, piece: bytes = b"{}\n") -> None:
        """The engine says it, once."""
        self.lines[0].queue.put_nowait((b"O", piece))


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """Nobody is there yet."""
    monkeypatch.setattr(server, "_LOOK_SECONDS", 0.01)
    async with AsyncExitStack() as stack:
        yield House(stack)


async def _heard(client: tuple[asyncio.StreamReader, asyncio.StreamWriter], data: bytes) -> None:
    async with asyncio.timeout(5):
        assert await client[0].readexactly(len(data)) == data


async def test_the_engine_is_asked_once_and_all_hear_it(house: House) -> None:
    """Who asks for something else is not among them."""
    clients = [await house.client() for _ in range(20)]
    await house.client(EVENTS.replace(b"/events", b"/events?filters=x"))
    assert [len(line.asked) for line in house.lines] == [1, 1]
    house.tell()
    for client in clients:
        await _heard(client, PIECE)
    assert house.lines[0].acknowledged == 3


async def test_many_are_told_less_often_and_nothing_less(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes at once is told at once, up to the end."""
    monkeypatch.setattr(sharing, "_MANY", 1)
    clients = [await house.client(), await house.client()]
    for _ in range(3):
        house.tell()
    house.lines[0].queue.put_nowait((b"X", b"0"))
    for client in clients:
        await _heard(client, b"9\r\n{}\n{}\n{}\n\r\n0\r\n\r\n")


async def test_it_goes_on_without_the_first_one_and_ends_with_the_last(house: House) -> None:
    """Then the engine is hung up on, and the next one asks anew."""
    first, second = await house.client(), await house.client()
    first[1].close()
    async with asyncio.timeout(5):
        await first[1].wait_closed()
        await asyncio.sleep(0.05)
    house.tell()
    await _heard(second, PIECE)
    assert not house.let_go()
    second[1].close()
    async with asyncio.timeout(5):
        while not house.let_go():
            await asyncio.sleep(0.005)
    await house.client()
    assert len(house.lines) == 2


async def test_who_does_not_listen_is_hung_up_on(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others notice nothing."""
    monkeypatch.setattr(server, "_MOST_UNREAD", 1000)
    await house.client()
    awake = await house.client()
    piece = b"x" * 50_000
    for _ in range(40):
        house.tell(piece)
        await _heard(awake, b"c350\r\n" + piece + b"\r\n")
    assert len(house.lines[0].asked) == 1
    house.tell()
    await _heard(awake, PIECE)


@pytest.mark.parametrize(("end", "last"), [((b"X", b"0"), b"0\r\n\r\n"), ((b"X", b"1"), b""), ((b"-", b""), b"")])
async def test_its_end_is_that_of_all(house: House, end: tuple[bytes, bytes], last: bytes) -> None:
    """A whole one is; what broke off does not look like it."""
    clients = [await house.client(), await house.client()]
    house.lines[0].queue.put_nowait(end)
    for reader, writer in clients:
        async with asyncio.timeout(5):
            assert await reader.readexactly(len(last)) == last
        writer.close()
    async with asyncio.timeout(5):
        while house.hall.find("/events") is not None:
            await asyncio.sleep(0)


def test_only_what_is_marked_is_shared_and_clients_do_not_see_the_mark() -> None:
    """Everything else is its asker's own."""
    assert unmarked(b"200\0A: b") == (b"200\0A: b", False)
    assert unmarked(b"200\0A: b\0" + MARK) == (b"200\0A: b", True)
