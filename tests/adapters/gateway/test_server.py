"""HTTP with clients of every kind: well-behaved ones, broken ones, slow ones, and those that vanish."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from adapters.gateway import server
from adapters.gateway.line import Frame, Line, Lost
from adapters.gateway.server import INLINE, LONGEST_HEAD, Conversation
from adapters.gateway.sharing import Hall

PING = b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"
OK: tuple[Frame, ...] = ((b"A", b"200\0Content-Length: 2"), (b"O", b"OK"), (b"X", b"0"))
HIJACK: Frame = (b"H", b"101\0Connection: Upgrade\0Upgrade: tcp")


@dataclass
class FakeLine(Line):
    """An engine that answers with what a test has set, and keeps what it is told."""

    script: list[Frame] = field(default_factory=list)
    asked: list[tuple[list[str], bytes | None]] = field(default_factory=list)
    streamed: bytes = b""
    ended: list[str] = field(default_factory=list)
    acknowledged: int = 0
    hung_up: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)
    gone: bool = False
    left: bool = False

    def __post_init__(self) -> None:
        self.queue: asyncio.Queue[Frame] = asyncio.Queue()

    @property
    def lost(self) -> bool:
        """Whether a test has cut it."""
        return self.gone

    @property
    def waiting(self) -> int:
        """Of the script."""
        return self.queue.qsize()

    @property
    def ends(self) -> bool:
        """Whether the script does."""
        kinds = [kind for kind, _ in self.queue._queue]  # type: ignore[attr-defined]
        return kinds[:1] in ([b"X"], [b"-"])

    def begin(self, words: object, body: bytes | None) -> None:
        """Asked; the script comes."""
        assert isinstance(words, list)
        self.asked.append((words, body))
        for each in self.script:
            self.queue.put_nowait(each)

    async def next(self) -> Frame:
        """What the script says next."""
        kind, rest = await self.queue.get()
        if kind == b"-":
            self.gone = True
            raise Lost("the engine went away")
        return kind, rest

    def taken(self, size: int) -> None:
        """Counted."""
        self.acknowledged += size

    async def stream(self, piece: bytes) -> None:
        """Kept."""
        self.streamed += piece

    def end_stream(self, failure: str = "") -> None:
        """Kept."""
        self.ended.append(failure)
        self.over.set()

    def leave(self) -> None:
        """Noted."""
        self.left = True

    def close(self) -> None:
        """Noted."""
        self.hung_up = True


@dataclass
class Talk:
    """One client's connection, and the engine behind it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    line: FakeLine
    task: "asyncio.Task[None]"

    def say(self, data: bytes) -> None:
        """To the gateway."""
        self.writer.write(data)

    async def rest(self) -> bytes:
        """Everything that comes until the gateway hangs up."""
        async with asyncio.timeout(5):
            data = await self.reader.read(-1)
            await self.task
        return data

    async def until(self, end: bytes) -> bytes:
        """Everything up to there."""
        async with asyncio.timeout(5):
            return await self.reader.readuntil(end)

    async def finish(self) -> None:
        """Returns when the gateway has let go by itself."""
        async with asyncio.timeout(5):
            await self.task


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody here is waited for to say everything."""
    monkeypatch.setattr(server, "_FAREWELL_SECONDS", 0.05)


@pytest.fixture
async def talk() -> AsyncIterator[Talk]:
    """A connection whose engine says OK."""
    ours, theirs = socket.socketpair()
    line = FakeLine(script=list(OK))

    async def connect() -> Line:
        return line

    reader, writer = await asyncio.open_unix_connection(sock=theirs)
    conversation = Conversation(reader, writer, connect, Hall())
    task = asyncio.create_task(conversation.run())
    client = await asyncio.open_unix_connection(sock=ours)
    yield Talk(*client, line, task)
    client[1].close()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_requests_on_one_connection_are_answered_in_their_order(talk: Talk) -> None:
    """Also when all of them were sent at once; the last one says that it is the last."""
    talk.say(PING + PING + PING.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    answer = await talk.rest()
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert [words[:2] for words, _ in talk.line.asked] == [["GET", "/_ping"]] * 3
    assert talk.line.hung_up


async def test_an_old_client_gets_an_answer_that_ends_with_the_connection(talk: Talk) -> None:
    """HTTP/1.0 knows no chunks."""
    talk.line.script = [(b"A", b"200"), (b"O", b"one"), (b"O", b"two"), (b"X", b"0")]
    talk.say(b"GET /containers/a/logs HTTP/1.0\r\n\r\n")
    assert (await talk.rest()).endswith(b"\r\n\r\nonetwo")


async def test_an_answer_of_unknown_length_comes_in_chunks_as_they_are(talk: Talk) -> None:
    """Nobody waits for the next one."""
    talk.line.script = [(b"A", b"200\0Content-Type: application/json"), (b"O", b"{}\n")]
    talk.say(PING)
    assert b"transfer-encoding: chunked" in (await talk.until(b"\r\n\r\n")).lower()
    assert await talk.until(b"{}\n\r\n") == b"3\r\n{}\n\r\n"
    for each in ((b"O", b"[]"), (b"X", b"0")):
        talk.line.queue.put_nowait(each)
    assert await talk.until(b"0\r\n\r\n") == b"2\r\n[]\r\n0\r\n\r\n"
    assert talk.line.acknowledged == 5


async def test_a_short_body_travels_with_its_request(talk: Talk) -> None:
    """With any bytes in it."""
    talk.say(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\na\0b")
    talk.say(b"\xff\n")
    await talk.until(b"OK")
    words, body = talk.line.asked[0]
    assert (words[0], body) == ("POST", b"a\0b\xff\n")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_long_body_comes_when_the_engine_asks_for_it(talk: Talk, chunked: bool) -> None:
    """In pieces, to its end."""
    size = INLINE + 1
    talk.line.script = []
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
    talk.say(b"POST /build HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n\r\n")
    talk.say(b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size) if chunked else b"x" * size)
    async with asyncio.timeout(5):
        while not talk.line.asked:
            await asyncio.sleep(0)
        assert (talk.line.asked[0][1], talk.line.streamed) == (None, b"")
        talk.line.queue.put_nowait((b"I", b""))
        await talk.line.over.wait()
    assert (len(talk.line.streamed), talk.line.ended) == (size, [""])
    for each in OK:
        talk.line.queue.put_nowait(each)
    talk.say(PING)
    await talk.until(b"OK")


async def test_a_client_that_waits_for_permission_gets_it(talk: Talk) -> None:
    """curl does for long bodies."""
    talk.say(b"POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert (await talk.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    talk.say(b"hi")
    await talk.until(b"OK")
    assert talk.line.asked[0][1] == b"hi"


@pytest.mark.parametrize(("data", "status"), [
    (b"hello\r\n\r\n", 400), (b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505),
    (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c d\0e\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: minus\r\n\r\n", 400),
    (b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, x\r\n\r\n", 501),
    (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (LONGEST_HEAD + 1), 431),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
])
async def test_what_is_no_request_is_refused_and_hung_up(talk: Talk, data: bytes, status: int) -> None:
    """In the form in which the API refuses; the engine hears nothing of it.

    CVE-2025-43859.
    """
    talk.say(data)
    answer = await talk.rest()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b'{"message": "bad request: ' in answer
    assert b"bytearray" not in answer
    assert not talk.line.asked


async def test_half_a_short_body_is_a_bad_request(talk: Talk) -> None:
    """The client may still hear it."""
    talk.say(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    talk.writer.write_eof()
    assert (await talk.rest()).startswith(b"HTTP/1.1 400 ")
    assert not talk.line.asked


@pytest.mark.parametrize("rest", [b"5\r\nhal", b"5\r\nhello\r\nzz\r\n", b"5\r\nhelloXX0\r\n\r\n" + PING])
async def test_half_a_stream_is_told_to_the_engine(talk: Talk, rest: bytes) -> None:
    """It refuses what it has begun. A piece that does not end where it says hides no further request behind it:
    elsewhere two readers of one connection could be made to disagree (CVE-2025-43859)."""
    talk.line.script = [(b"I", b"")]
    talk.say(b"POST /build HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + rest)
    talk.writer.write_eof()
    async with asyncio.timeout(5):
        await talk.line.over.wait()
    assert talk.line.ended[0].startswith("bad request: ")
    for each in OK:
        talk.line.queue.put_nowait(each)
    assert (await talk.rest()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(("said", "what"), [
    (b"GET / HT", "_HEAD_SECONDS"), (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", "_BODY_SECONDS")])
async def test_who_stops_in_the_middle_of_a_request_is_hung_up(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, said: bytes, what: str
) -> None:
    """And told why."""
    monkeypatch.setattr(server, what, 0.02)
    talk.say(said)
    assert (await talk.rest()).startswith(b"HTTP/1.1 408 ")
    assert not talk.line.asked


async def test_who_says_nothing_for_long_is_hung_up(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a word, as browsers and clients expect it of a kept connection."""
    monkeypatch.setattr(server, "_IDLE_SECONDS", 0.02)
    talk.say(PING)
    assert (await talk.rest()).endswith(b"OK")


@pytest.mark.parametrize("script", [[], [(b"A", b"200"), (b"O", b"x")], [HIJACK], [(b"I", b"")]])
async def test_a_client_that_vanishes_is_noticed(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, script: list[Frame]
) -> None:
    """Whatever was going on; the engine is hung up on, which calls off what it does."""
    monkeypatch.setattr(server, "_LOOK_SECONDS", 0.01)
    talk.line.script = script
    talk.say(b"POST /attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
    async with asyncio.timeout(5):
        while not talk.line.asked or talk.line.queue.qsize():
            await asyncio.sleep(0)
    talk.writer.close()
    await talk.finish()
    assert talk.line.hung_up


async def test_a_client_that_says_no_more_is_still_answered(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has closed only its own direction, as simple clients do."""
    monkeypatch.setattr(server, "_LOOK_SECONDS", 0.01)
    talk.line.script = []
    talk.say(PING)
    talk.writer.write_eof()
    async with asyncio.timeout(5):
        while not talk.line.asked:
            await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    for each in OK:
        talk.line.queue.put_nowait(each)
    assert (await talk.rest()).endswith(b"OK")


@pytest.mark.parametrize("head", [HIJACK, (b"H", b"200\0Content-Type: application/vnd.docker.raw-stream")])
async def test_a_hijacked_connection_is_bytes_in_both_directions(talk: Talk, head: Frame) -> None:
    """What came with the request belongs to the stream; each side ends for itself."""
    talk.line.script = [head, (b"I", b""), (b"O", b"$ ")]
    talk.say(b"POST /attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly\0")
    first = await talk.until(b"$ ")
    assert first.startswith(b"HTTP/1.1 " + head[1][:3])
    assert b"chunked" not in first
    talk.say(b"late")
    talk.writer.write_eof()
    async with asyncio.timeout(5):
        await talk.line.over.wait()
    assert (talk.line.streamed, talk.line.ended) == (b"early\0late", [""])
    talk.line.queue.put_nowait((b"O", b"bye"))
    talk.line.queue.put_nowait((b"X", b"0"))
    assert await talk.rest() == b"bye"


class Hasty:
    """A client that has something to say at every turn of the loop: first `pieces`, then nothing more."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    async def read(self, size: int) -> bytes:
        """The next of them."""
        await asyncio.sleep(0)
        piece = self._pieces.pop(0) if self._pieces else b""
        assert len(piece) <= size
        return piece


@pytest.mark.parametrize("turns", range(8))
async def test_nothing_is_lost_of_what_comes_while_a_connection_is_taken_over(turns: int) -> None:
    """Whoever listened to the client for its hanging up has heard pieces of the stream, in any turn of the loop."""
    numbers = [b"%06d" % number for number in range(200)]
    request = b"POST /attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    line = FakeLine(script=[])

    async def connect() -> Line:
        return line

    ours, theirs = socket.socketpair()
    _, writer = await asyncio.open_unix_connection(sock=theirs)
    task = asyncio.create_task(Conversation(Hasty(request, *numbers), writer, connect, Hall()).run())
    async with asyncio.timeout(5):
        while not line.asked:
            await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        line.queue.put_nowait(HIJACK)
        line.queue.put_nowait((b"I", b""))
        assert (await asyncio.to_thread(ours.recv, 4096)).startswith(b"HTTP/1.1 101")
        await line.over.wait()
        line.queue.put_nowait((b"X", b"0"))
        await task
    ours.close()
    assert line.streamed == b"".join(numbers)


def _said(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)
    connection.close()


@pytest.mark.parametrize("turns", range(0, 24, 3))
@pytest.mark.parametrize("size", [1, 600_000])
async def test_what_a_client_has_said_before_it_hung_up_is_told(
    monkeypatch: pytest.MonkeyPatch, turns: int, size: int
) -> None:
    """`socket.sendall(data); socket.close()`, as docker-py's users write it: in whatever turn of the loop it goes, and
    though it does not hear what the process says meanwhile, which asyncio would take for the end of everything."""
    monkeypatch.setattr(server, "_LOOK_SECONDS", 0.001)
    ours, theirs = socket.socketpair()
    line, data = FakeLine(script=[HIJACK]), os.urandom(size)

    async def connect() -> Line:
        return line

    reader, writer = await asyncio.open_unix_connection(sock=theirs)
    task = asyncio.create_task(Conversation(reader, writer, connect, Hall()).run())
    ours.sendall(b"POST /attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
    async with asyncio.timeout(10):
        assert (await asyncio.to_thread(ours.recv, 4096)).startswith(b"HTTP/1.1 101")
        said = asyncio.ensure_future(asyncio.to_thread(_said, ours, data))
        for _ in range(turns):
            await asyncio.sleep(0)
        line.queue.put_nowait((b"O", b"noise"))
        line.queue.put_nowait((b"I", b""))
        for _ in range(50):
            line.queue.put_nowait((b"O", b"more noise"))
            await asyncio.sleep(0)
        await said
        await task
    assert (line.streamed == data, line.left, line.hung_up) == (True, True, False)


async def test_a_client_that_goes_without_a_word_is_not_kept(talk: Talk) -> None:
    """Nobody waits for a container that is never started, when there is nothing to tell it."""
    talk.line.script = [HIJACK]
    talk.say(b"POST /attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
    await talk.until(b"tcp\r\n\r\n")
    talk.writer.close()
    await talk.finish()
    assert talk.line.left or talk.line.hung_up


@pytest.mark.parametrize("request_line", [b"POST /attach HTTP/1.1\r\nUpgrade: tcp", b"POST /load HTTP/1.1"])
async def test_last_words_are_heard_by_a_client_that_goes_on_speaking(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, request_line: bytes
) -> None:
    """Who closes a connection with something unread resets it: `docker exec -i` ended with that in the place of the
    status, when the command did not read all of its input."""
    monkeypatch.setattr(server, "_FAREWELL_SECONDS", 5.0)
    hijack = b"attach" in request_line
    refusal: list[Frame] = [(b"A", b"400\0Content-Length: 2"), (b"O", b"no"), (b"X", b"0")]
    talk.line.script = [HIJACK, (b"I", b"")] if hijack else refusal
    talk.say(request_line + b"\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (0 if hijack else 1 << 30))
    if hijack:
        await talk.until(b"tcp\r\n\r\n")
        talk.line.queue.put_nowait((b"O", b"no"))
        talk.line.queue.put_nowait((b"X", b"0"))
    for _ in range(200):
        talk.say(b"more" * 1000)
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert (await talk.reader.read(-1)).endswith(b"no")
        talk.writer.close()
        await talk.finish()


async def test_a_refused_hijack_is_an_answer_like_others(talk: Talk) -> None:
    """The connection goes on to be one for requests."""
    talk.line.script = [(b"A", b"404\0Content-Length: 2"), (b"O", b"no"), (b"X", b"0")]
    talk.say(b"POST /attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
    assert (await talk.until(b"no")).startswith(b"HTTP/1.1 404 Not Found\r\n")
    talk.line.script = list(OK)
    talk.say(PING)
    await talk.until(b"OK")


async def test_an_engine_that_is_away_is_said_to_be(talk: Talk) -> None:
    """With the status that clients try again on."""
    talk.line.script = [(b"-", b"")]
    talk.say(PING)
    answer = await talk.rest()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"the engine went away" in answer


@pytest.mark.parametrize("end", [(b"-", b""), (b"X", b"1")])
async def test_half_an_answer_does_not_look_like_a_whole_one(talk: Talk, end: Frame) -> None:
    """The last chunk is missing."""
    talk.line.script = [(b"A", b"200"), (b"O", b"half"), end]
    talk.say(PING)
    answer = await talk.rest()
    assert answer.endswith(b"4\r\nhalf\r\n")


async def test_a_defect_of_the_engine_is_an_error_of_the_server(talk: Talk) -> None:
    """What it says instead of a head is the message."""
    talk.line.script = [(b"E", b"lading: it broke\n"), (b"X", b"1")]
    talk.say(PING)
    answer = await talk.rest()
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b'{"message": "it broke"}' in answer


async def test_a_head_has_no_body_also_when_it_is_a_refusal(talk: Talk) -> None:
    """A client that asks for the head alone would take it for the next answer."""
    talk.line.script = [(b"-", b"")]
    talk.say(b"HEAD /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = await talk.rest()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b"\r\n\r\n")


async def test_a_slow_reader_is_waited_for_and_nothing_piles_up(talk: Talk) -> None:
    """What was not taken was not acknowledged, so the engine sends no more."""
    talk.line.script = [(b"A", b"200"), *(((b"O", b"x" * 65536)),) * 64]
    talk.say(PING)
    async with asyncio.timeout(5):
        while not talk.line.acknowledged:
            await asyncio.sleep(0)
        seen = -1
        while seen != talk.line.acknowledged:
            seen = talk.line.acknowledged
            await asyncio.sleep(0.02)
    assert talk.line.acknowledged < 16 * 65536
    talk.line.queue.put_nowait((b"X", b"0"))
    async with asyncio.timeout(5):
        while talk.line.acknowledged < 64 * 65536:
            assert await talk.reader.read(65536)
