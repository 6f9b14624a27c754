"""Answers that many listen to: the engine is asked once, and nobody can hold up the others."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import quote

import pytest

from adapters.gateway import server, sharing
from adapters.gateway.line import Frame, Line
from adapters.gateway.server import Conversation
from adapters.gateway.sharing import MARK, Hall, unmarked, wish
from domain.notice_filters import Told
from tests.adapters.gateway.test_server import FakeLine

EVENTS = b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n"
PIECE = b"3\r\n{}\n\r\n"
SHARED = b"200\0Content-Type: application/json\0" + MARK


def of(**filters: Sequence[str]) -> bytes:
    """A request for events that fit."""
    return EVENTS.replace(b"/events", b"/events?filters=" + quote(json.dumps(filters)).encode())


def happened(name: str, action: str = "start") -> bytes:
    """The document of an event of a container."""
    told = {"Type": "container", "Action": action, "Actor": {"ID": "4f" * 32, "Attributes": {"name": name}}}
    return json.dumps(told).encode() + b"\r\n"


def chunk(data: bytes) -> bytes:
    """As it travels."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class _Line(FakeLine):
    """Who is asked only for a head answers with no more."""

    def begin(self, words: object, body: bytes | None) -> None:
        super().begin(words, body)
        if self.asked[-1][0][0] == "HEAD":
            self.queue.put_nowait((b"X", b"0"))


class House:
    """A gateway with any number of clients; `lines` are those to the engine, each for one client's connection."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.steps: list[bool] = []
        self._stack, self.hall = stack, Hall(self.steps.append)
        self.lines: list[FakeLine] = []
        self.head = SHARED
        self.first: list[Frame] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def _connect(self) -> Line:
        await self.answers.wait()
        self.lines.append(_Line(script=[(b"A", self.head), *self.first]))
        return self.lines[-1]

    async def client(self, request: bytes = EVENTS) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """One more, who has got the head of its answer."""
        client = await self.asker(request)
        await self.answered(client)
        return client

    async def asker(self, request: bytes = EVENTS) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """One more, who has only asked."""
        reader, writer = await self._stack.enter_async_context(self._pair())
        writer.write(request)
        return reader, writer

    async def answered(self, client: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        """It gets the head of its answer."""
        async with asyncio.timeout(5):
            head = await client[0].readuntil(b"\r\n\r\n")
        assert b"Lading-Shared" not in head

    @property
    def asked(self) -> list[str]:
        """What the engine was asked for."""
        return [words[1] for line in self.lines for words, _ in line.asked if words[0] == "GET"]

    @property
    def told_of(self) -> int:
        """Of how many more listeners the engine was told."""
        return sum(words[0] == "HEAD" for line in self.lines for words, _ in line.asked)

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
    await house.client(EVENTS.replace(b"/events", b"/events?since=1"))
    assert house.asked == ["/events", "/events?since=1"]
    house.tell()
    for client in clients:
        await _heard(client, PIECE)
    assert house.lines[0].acknowledged == 3


async def test_what_comes_together_with_the_head_is_heard(house: House) -> None:
    """By all who have waited for it."""
    house.first = [(b"O", b"{}\n")]
    house.answers.clear()
    clients = [await house.asker() for _ in range(5)]
    await asyncio.sleep(0.01)
    house.answers.set()
    for client in clients:
        await house.answered(client)
        await _heard(client, PIECE)


async def test_the_engine_is_asked_once_by_many_who_come_at_the_same_time(house: House) -> None:
    """Also before it has begun to answer the first of them, and when that one goes again."""
    house.answers.clear()
    clients = [await house.asker() for _ in range(20)]
    await asyncio.sleep(0.01)
    clients.pop(0)[1].close()
    house.answers.set()
    for client in clients:
        await house.answered(client)
    assert house.asked == ["/events"]
    house.tell()
    for client in clients:
        await _heard(client, PIECE)


async def test_the_engine_is_told_of_everybody_who_listens(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its record of who has looked must not miss those for whom it is not asked; nothing stays open for them, and whom
    it cannot be told of is heard all the same."""
    monkeypatch.setattr(server, "_program", lambda connection: object())
    clients = [await house.client() for _ in range(5)]
    async with asyncio.timeout(5):
        while sum(line.hung_up for line in house.lines) < 4:
            await asyncio.sleep(0)
    assert (house.asked, house.told_of) == (["/events"], 4)
    house.answers.clear()
    clients.append(await house.client())
    house.tell()
    for client in clients:
        await _heard(client, PIECE)


async def test_a_program_that_listens_many_times_at_once_has_looked_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To tell of a thousand would keep the engine from its work; later it is told of again."""
    monkeypatch.setattr(sharing, "_AT_ONCE", 0.05)
    for _ in range(6):
        await house.client()
    async with asyncio.timeout(5):
        while not house.told_of:
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert house.told_of == 1
        await house.client()
        while house.told_of < 2:
            await asyncio.sleep(0)


async def test_filters_are_the_gateways_own_work(house: House) -> None:
    """However different they are, the engine is asked once, for everything."""
    names = ("web", "db", "job")
    clients = [await house.client(of(container=[name])) for name in names]
    everything, dead = await house.client(), await house.client(of(event=["die"]))
    assert house.asked == ["/events"]
    told = [happened(name) for name in names] + [happened("job", "die")]
    for each in told:
        house.tell(each)
    for client, name in zip(clients, names, strict=True):
        await _heard(client, chunk(happened(name)))
    await _heard(clients[-1], chunk(happened("job", "die")))
    await _heard(dead, chunk(happened("job", "die")))
    for each in told:
        await _heard(everything, chunk(each))


async def test_what_many_have_asked_for_is_chosen_and_written_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work grows with what is asked for, not with how many ask."""
    tried: list[str] = []
    written: list[bytes] = []
    chunked = sharing._chunk

    def counted(data: bytes) -> bytes:
        written.append(data)
        return chunked(data)

    def fits(notice: Told) -> bool:
        tried.append(notice.action)
        return notice.action == "start"

    monkeypatch.setattr(sharing, "filters", lambda values: fits)
    monkeypatch.setattr(sharing, "_chunk", counted)
    clients = [await house.client(of(event=["start"])) for _ in range(30)]
    house.tell(happened("web") + happened("web", "die"))
    for client in clients:
        await _heard(client, chunk(happened("web")))
    assert tried == ["start", "die"]
    assert written == [happened("web")]


async def test_who_comes_while_things_are_gathered_hears_what_happens_from_then_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had happened before is none of its business."""
    monkeypatch.setattr(sharing, "_MANY", 0)
    monkeypatch.setattr(sharing, "_LONGEST", 60.0)
    monkeypatch.setattr(sharing, "_QUIET", 0.2)
    first = await house.client()
    house.tell(happened("web"))
    async with asyncio.timeout(5):
        while not house.lines[0].acknowledged:
            await asyncio.sleep(0)
    second = await house.client()
    house.tell(happened("db"))
    await _heard(second, chunk(happened("db")))
    await _heard(first, chunk(happened("web") + happened("db")))


async def test_a_line_that_comes_in_two_pieces_is_one(house: House) -> None:
    """The engine cuts what is long."""
    client = await house.client(of(container=["web"]))
    house.tell(happened("web")[:40])
    house.tell(happened("web")[40:])
    await _heard(client, chunk(happened("web")))


async def test_what_the_engine_does_not_share_is_asked_for_by_everybody(house: House) -> None:
    """It may be for one of them only."""
    house.head = b"400\0Content-Type: application/json"
    for _ in range(2):
        await house.client(of(event=["die"]))
    mine = of(event=["die"]).split()[1].decode()
    assert house.asked == ["/events", mine, "/events", mine]
    assert len(house.hall) == 0


async def test_an_old_client_gets_no_chunks(house: House) -> None:
    """HTTP/1.0 has none: its answer ends with the connection."""
    client = await house.client(EVENTS.replace(b"HTTP/1.1", b"HTTP/1.0"))
    house.tell()
    await _heard(client, b"{}\n")


@pytest.mark.parametrize(
    ("method", "target", "path"),
    [
        ("GET", "/events", "/events"),
        ("GET", "/v1.44/events?filters=", "/v1.44/events"),
        ("GET", "/v1.44/events?since=&until=", "/v1.44/events"),
        ("GET", "/events?filters=%7B%22label%22%3A%7B%22a%3Db%22%3Atrue%7D%7D", "/events"),
    ],
)
def test_events_from_now_on_can_be_shared(method: str, target: str, path: str) -> None:
    """Whatever their filters are."""
    found = wish(method, target)
    assert found is not None
    assert found.path == path


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("HEAD", "/events"),
        ("GET", "/eventsx"),
        ("GET", "/containers/json"),
        ("GET", "/events?since=1"),
        ("GET", "/events?until=9999999999"),
        ("GET", "/events?filters=x"),
        ("GET", "/events?filters=%7B%22nonsense%22%3A%5B%22a%22%5D%7D"),
        ("GET", "/events?a#b"),
    ],
)
def test_what_is_of_the_past_or_would_be_refused_cannot(method: str, target: str) -> None:
    """The engine answers it."""
    assert wish(method, target) is None


async def test_many_are_told_less_often_and_nothing_less(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes at once is told at once, up to the end, and while it is told other processes go first."""
    monkeypatch.setattr(sharing, "_MANY", 1)
    clients = [await house.client(), await house.client()]
    for _ in range(3):
        house.tell()
    house.lines[0].queue.put_nowait((b"X", b"0"))
    for client in clients:
        await _heard(client, b"9\r\n{}\n{}\n{}\n\r\n0\r\n\r\n")
    assert house.steps == [True, False]


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
    assert house.asked == ["/events", "/events"]


async def test_who_does_not_listen_is_hung_up_on(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others notice nothing."""
    monkeypatch.setattr(server, "_MOST_UNREAD", 1000)
    await house.client()
    awake = await house.client()
    piece = b"x" * 49_999 + b"\n"
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
        while len(house.hall):
            await asyncio.sleep(0)


def test_only_what_is_marked_is_shared_and_clients_do_not_see_the_mark() -> None:
    """Everything else is its asker's own."""
    assert unmarked(b"200\0A: b") == (b"200\0A: b", False)
    assert unmarked(b"200\0A: b\0" + MARK) == (b"200\0A: b", True)
