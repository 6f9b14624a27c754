"""The way to the engine: what is said on it, what is heard, and every way in which it ends."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.gateway.line import WINDOW, Line, Lost, Person

ANN: Person = {"via": "socket", "user": "ann", "uid": 1000, "gid": 1000, "pid": 77}


class Engine:
    """The other end of the engine's socket."""

    def __init__(self) -> None:
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter
        self.here = asyncio.Event()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A gateway has come."""
        self.reader, self.writer = reader, writer
        writer.write(b'INFO {"server_id":"lading"}\r\n')
        self.here.set()

    def answer(self, *frames: bytes) -> None:
        """To the inbox."""
        for each in frames:
            self.writer.write(b"MSG _INBOX.local.c1.1 1 %d\r\n%b\r\n" % (len(each), each))

    async def message(self) -> tuple[bytes, bytes]:
        """The next message: its subject and payload."""
        async with asyncio.timeout(5):
            words = (await self.reader.readuntil(b"\r\n")).split()
            payload = await self.reader.readexactly(int(words[-1]) + 2)
        return words[1], payload[:-2]


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    """Listens at engine.sock."""
    engine = Engine()
    async with await asyncio.start_unix_server(engine.connected, tmp_path / "engine.sock", limit=2 * WINDOW):
        yield engine
        if engine.here.is_set():
            engine.writer.close()


@pytest.fixture
async def line(engine: Engine, tmp_path: Path) -> AsyncIterator[Line]:
    """A line whose greetings were read."""
    line = await Line.connect(str(tmp_path / "engine.sock"), "token", ANN)
    await engine.here.wait()
    said = [await engine.reader.readuntil(b"\r\n") for _ in range(3)]
    assert said[0] == (b'FOR token {"via":"socket","user":"ann","uid":1000,"gid":1000,"pid":77}\r\n')
    assert [words.split()[0] for words in said[1:]] == [b"CONNECT", b"SUB"]
    yield line
    line.close()


async def test_a_request_is_one_message_with_its_body(engine: Engine, line: Line) -> None:
    """The body is behind an empty item, and may hold anything."""
    line.begin(["POST", "/x", "Host: y"], b"a\0b")
    assert await engine.message() == (b"lading.@.call.@", b"1\0api=1\0session=1\0\0POST\0/x\0Host: y\0\0a\0b\0")
    line.begin(["POST", "/x"], None)
    assert await engine.message() == (b"lading.@.call.@", b"1\0api=1\0session=2\0body=stream\0\0POST\0/x\0\0\0")


async def test_frames_come_in_order_however_they_are_cut(engine: Engine, line: Line) -> None:
    """Pings in between are answered."""
    for byte in b"MSG _INBOX.local.c1.1 1 3\r\nOhi\r\nPING\r\nMSG _INBOX.local.c1.1 1 2\r\nX0\r\n":
        engine.writer.write(bytes([byte]))
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert [await line.next(), await line.next()] == [(b"O", b"hi"), (b"X", b"0")]
        assert await engine.reader.readuntil(b"\r\n") == b"PONG\r\n"


async def test_what_was_taken_is_told_now_and_then(engine: Engine, line: Line) -> None:
    """Not for every piece."""
    line.taken(1000)
    line.taken(200_000)
    assert (await engine.message())[1] == b"w201000"


async def test_a_stream_waits_for_room(engine: Engine, line: Line) -> None:
    """No more than the window is on its way."""
    for _ in range(WINDOW // 65536):
        await line.stream(b"x" * 65536)
    more = asyncio.create_task(line.stream(b"more"))
    await asyncio.sleep(0.01)
    assert not more.done()
    engine.answer(b"w65536")
    async with asyncio.timeout(5):
        await more


async def test_a_stream_ends_or_breaks_off(engine: Engine, line: Line) -> None:
    """The engine hears which of both."""
    line.end_stream()
    line.end_stream("bad request")
    assert [(await engine.message())[1] for _ in range(2)] == [b"e", b"fbad request"]


@pytest.mark.parametrize("end", [
    b"-ERR 'Authorization Violation'\r\n",
    b"x" * 10_000,
    b"HMSG _INBOX.local.c1.1 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
])
async def test_an_engine_that_does_not_answer_is_lost(engine: Engine, line: Line, end: bytes) -> None:
    """A refusal, another protocol, nobody on the bus: also for who waits for room."""
    engine.writer.write(end)
    async with asyncio.timeout(5):
        with pytest.raises(Lost):
            await line.next()
        with pytest.raises(Lost):
            await line.stream(b"x" * (WINDOW + 1))
    assert line.lost


async def test_an_engine_that_hangs_up_is_lost_after_what_it_said(engine: Engine, line: Line) -> None:
    """The answer may have been whole."""
    engine.answer(b"X0")
    await engine.writer.drain()
    engine.writer.close()
    async with asyncio.timeout(5):
        assert await line.next() == (b"X", b"0")
        with pytest.raises(Lost):
            await line.next()


async def test_where_nobody_listens_there_is_no_line(tmp_path: Path) -> None:
    """It is said where it was looked for."""
    with pytest.raises(Lost, match="nothing"):
        await Line.connect(str(tmp_path / "nothing"), "token", ANN)
