"""The daemon's end of a call, on a bus in memory: what it waits for, what it forgets, how it ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest

from adapters.control.console import WINDOW, Call, Console, Gone, serve_calls
from adapters.memory.bus import MemoryBus
from domain import subjects
from domain.errors import NotFound, Refused
from domain.messages import Actor
from domain.ports.bus import Message

HOST = "box"


class Clients:
    """A control socket with one client, c1."""

    def __init__(self) -> None:
        self.here = {"c1"}
        self.listeners: list[Callable[[str], None]] = []

    def identity(self, number: str) -> Actor:
        """Root, for everybody who is known."""
        if number != "c1":
            raise NotFound("who?")
        return Actor("socket", "root", 0, 0, 1, "lading", HOST)

    def connected(self, number: str) -> bool:
        """Whether it is here."""
        return number in self.here

    def on_gone(self, listener: Callable[[str], None]) -> None:
        """Remember it."""
        self.listeners.append(listener)

    def on_part(self, take: Callable[[str, str, bytes], bool]) -> None:
        """Everything comes over the bus here."""

    async def say(self, number: str, subject: str, payload: bytes) -> bool:
        """And goes there."""
        return False

    @contextmanager
    def borrow(self, number: str) -> Iterator[Callable[[], int]]:
        """Nothing is lent."""
        yield lambda: -1

    def leave(self, number: str) -> None:
        """The client hangs up."""
        self.here.discard(number)
        for listener in self.listeners:
            listener(number)


class Client:
    """The other end, by hand: hears what a call says, and says what a client would."""

    def __init__(self, bus: MemoryBus, who: str = "c1") -> None:
        self._bus, self._who = bus, who
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(self) -> None:
        """Subscribe to its inbox."""
        async def hear(message: Message) -> None:
            self.heard.put_nowait(message.data)

        await self._bus.serve(f"{subjects.inbox(self._who)}.>", hear)

    async def call(self, *argv: str, head: Iterable[str] = ("session=1",)) -> None:
        """Begin a call."""
        items = ["1", *head, "", *argv]
        payload = b"".join(item.encode("utf-8", "surrogateescape") + b"\0" for item in items)
        self._bus._send(subjects.call(HOST, self._who), payload, f"{subjects.inbox(self._who)}.1", None)

    async def say(self, data: bytes) -> None:
        """Something that belongs to the call."""
        await self._bus.publish(subjects.io(HOST, self._who, "1"), data)

    async def hears(self) -> bytes:
        """The next message."""
        return await asyncio.wait_for(self.heard.get(), 5)


async def settle() -> None:
    """Let everything happen that can: on a bus in memory nothing takes time, only turns of the loop."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture
async def bus() -> AsyncIterator[MemoryBus]:
    """A bus of its own."""
    bus = MemoryBus()
    yield bus
    await bus.close()


@pytest.fixture
async def client(bus: MemoryBus) -> Client:
    """The client c1."""
    client = Client(bus)
    await client.listen()
    return client


@pytest.fixture
def clients() -> Clients:
    """The control socket."""
    return Clients()


Serve = Callable[[Callable[[Call], Awaitable[None]]], Awaitable[Console]]


@pytest.fixture
async def serve(bus: MemoryBus, clients: Clients) -> AsyncIterator[Serve]:
    """Answers calls with a handler."""
    consoles = []

    async def serve(handler: Callable[[Call], Awaitable[None]]) -> Console:
        consoles.append(await serve_calls(bus, HOST, handler, clients))
        return consoles[-1]

    yield serve
    for console in consoles:
        await console.close()


async def test_a_call_carries_what_the_client_knows(serve: Serve, client: Client) -> None:
    """Words byte for byte, the terminal, the directory; and an identity that is not the client's word."""
    calls: list[Call] = []

    async def handle(call: Call) -> None:
        calls.append(call)

    await serve(handle)
    head = ("session=1", "cols=120", "rows=40", "stdin=1", "stdout=1", "color=1", "cwd=/tmp/a=b", "umask=27")
    await client.call("run", "", "-e", "A=\udcff", head=head)
    assert await client.hears() == b"X0"
    call = calls[0]
    assert call.argv == ["run", "", "-e", "A=\udcff"]
    assert (call.terminal.cols, call.terminal.rows) == (120, 40)
    assert (call.terminal.stdin_tty, call.terminal.stdout_tty, call.terminal.stderr_tty) == (True, True, False)
    assert (call.cwd, call.umask, call.actor_id, call.actor.uid) == ("/tmp/a=b", 0o27, "c1", 0)
    assert len(call.call_id) == 32


async def test_a_nats_user_is_its_own_actor(serve: Serve, bus: MemoryBus) -> None:
    """Its name was proven by the server."""
    actors: list[Actor] = []

    async def handle(call: Call) -> None:
        actors.append(call.actor)

    await serve(handle)
    ann = Client(bus, "ann")
    await ann.listen()
    await ann.call("ps")
    await ann.hears()
    assert (actors[0].via, actors[0].user, actors[0].uid) == ("nats", "ann", -1)


async def test_output_waits_for_the_reader(serve: Serve, client: Client) -> None:
    """No more than the window is on the way, and no less: one acknowledgement lets as much through."""
    async def handle(call: Call) -> None:
        await call.out(bytes(3 * WINDOW))

    await serve(handle)
    await client.call("flood")
    size = 0
    while size < WINDOW:
        size += len(await client.hears()) - 1
    assert size == WINDOW
    await settle()
    assert client.heard.empty()
    await client.say(b"w%d" % (WINDOW // 2))
    while size < WINDOW * 3 // 2:
        size += len(await client.hears()) - 1
    await settle()
    assert client.heard.empty()
    await client.say(b"w%d" % (3 * WINDOW))
    while size < 3 * WINDOW:
        size += len(await client.hears()) - 1
        await client.say(b"w%d" % size)
    assert await client.hears() == b"X0"


async def test_a_client_cannot_acknowledge_what_it_was_not_sent(serve: Serve, client: Client) -> None:
    """Otherwise it could make the daemon send without end."""
    async def handle(call: Call) -> None:
        await call.out(bytes(4 * WINDOW))

    await serve(handle)
    await client.call("flood")
    await client.hears()
    await client.say(b"w999999999999")
    await client.say(b"w-5")
    await client.say(b"wx")
    await client.say(b"")
    await settle()
    assert client.heard.qsize() <= 2 * WINDOW // (128 * 1024)


async def test_a_file_comes_in_order_and_is_acknowledged(serve: Serve, client: Client) -> None:
    """The client sends within its window."""
    async def handle(call: Call) -> None:
        data = b"".join([piece async for piece in call.open_file("/etc/motd")])
        await call.out(data[:3] + data[-3:])

    await serve(handle)
    await client.call("cat")
    assert await client.hears() == b"R/etc/motd"
    for piece in (b"dabc", b"d" + bytes(300_000), b"dxyz", b"e"):
        await client.say(piece)
    assert await client.hears() == b"w300003"
    assert await client.hears() == b"Oabcxyz"


async def test_a_file_that_cannot_be_read_is_a_refusal(serve: Serve, client: Client) -> None:
    """The client says why."""
    refusals: list[str] = []

    async def handle(call: Call) -> None:
        with pytest.raises(Refused) as caught:
            [piece async for piece in call.open_file("x")]
        refusals.append(caught.value.message)

    await serve(handle)
    await client.call("cat")
    await client.hears()
    await client.say(b"fopen x: no such file or directory")
    assert await client.hears() == b"X0"
    assert refusals == ["open x: no such file or directory"]


async def test_a_client_that_ignores_the_window_is_stopped(serve: Serve, client: Client) -> None:
    """The daemon's memory is not the client's to fill."""
    blocked = asyncio.Event()

    async def handle(call: Call) -> None:
        async for _ in call.stdin():
            await blocked.wait()

    await serve(handle)
    await client.call("count")
    await client.hears()
    for _ in range(6):
        await client.say(b"d" + bytes(WINDOW // 2))
    blocked.set()
    messages = [await client.hears() for _ in range(2)]
    assert b"faster than it may" in b"".join(messages)


async def test_a_client_that_hangs_up_frees_who_waits_for_it(serve: Serve, client: Client, clients: Clients) -> None:
    """Output that nobody takes, an answer that never comes, a signal that is being delivered."""
    waits: dict[str, Callable[[Call], Awaitable[object]]] = {
        "out": lambda call: call.out(bytes(2 * WINDOW)), "ask": lambda call: call.ask("?"),
        "env": lambda call: call.getenv(["A"]), "stdin": lambda call: anext(call.stdin()),
        "signal": lambda call: call.forward_signals(lambda number: asyncio.sleep(600)),
    }
    for name, wait in waits.items():
        ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def handle(call: Call, wait: Callable[[Call], Awaitable[object]] = wait,
                         ended: "asyncio.Future[bool]" = ended) -> None:
            try:
                await wait(call)
                await asyncio.sleep(600)
            finally:
                ended.set_result(call.closed.is_set())

        console = await serve(handle)
        clients.here.add("c1")
        await client.call(name)
        await settle()
        assert console.running == 1
        clients.leave("c1")
        assert await asyncio.wait_for(ended, 5)
        await asyncio.sleep(0)
        assert console.running == 0
        await console.close()
        console._handler = _ignore


async def _ignore(call: Call) -> None:
    """For consoles that are done."""


async def test_after_the_client_left_saying_is_easy_and_asking_fails(serve: Serve, client: Client,
                                                                     clients: Clients) -> None:
    """Clean-up may still talk; nothing may wait for an answer."""
    results: list[object] = []
    done = asyncio.Event()

    async def handle(call: Call) -> None:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            await call.out(bytes(5 * WINDOW))
            await call.err(b"x")
            await call.unlink("x")
            try:
                await call.ask("?")
            except Gone as gone:
                results.append(gone)
            done.set()

    await serve(handle)
    await client.call("x")
    await settle()
    clients.leave("c1")
    await asyncio.wait_for(done.wait(), 5)
    assert len(results) == 1


async def test_an_interrupted_call_ends_with_130(serve: Serve, client: Client) -> None:
    """Unless the handler says it better."""
    begun = asyncio.Event()

    async def handle(call: Call) -> None:
        begun.set()
        await asyncio.sleep(600)

    await serve(handle)
    await client.call("x")
    await begun.wait()
    await client.say(b"c")
    assert await client.hears() == b"X130"


async def test_a_late_call_of_a_client_that_left_is_not_begun(serve: Serve, client: Client, clients: Clients) -> None:
    """The message was on its way while the client was killed."""
    begun: list[Call] = []

    async def handle(call: Call) -> None:
        begun.append(call)

    await serve(handle)
    clients.leave("c1")
    await client.call("rm")
    await settle()
    assert begun == []


async def test_a_second_call_in_one_session_is_not_begun(serve: Serve, client: Client,
                                                         caplog: pytest.LogCaptureFixture) -> None:
    """Its answers could not be told apart."""
    begun: list[Call] = []

    async def handle(call: Call) -> None:
        begun.append(call)
        await asyncio.sleep(600)

    await serve(handle)
    await client.call("x")
    await client.call("x")
    await settle()
    assert len(begun) == 1
    assert "second call" in caplog.text


@pytest.mark.parametrize(("argv", "status"), [(["run"], b"X125"), (["ps"], b"X1"), ([], b"X1")])
async def test_a_defect_is_one_line_and_a_status(serve: Serve, client: Client, caplog: pytest.LogCaptureFixture,
                                                 argv: list[str], status: bytes) -> None:
    """The details are in the log."""
    async def handle(call: Call) -> None:
        raise RuntimeError("secret details")

    await serve(handle)
    await client.call(*argv)
    assert (await client.hears()).startswith(b"Elading: the engine failed")
    assert await client.hears() == status
    assert "secret details" in caplog.text


async def test_only_the_first_status_counts(serve: Serve, client: Client) -> None:
    """A handler that falls through after its exit does not change it."""
    async def handle(call: Call) -> None:
        await call.exit(3)
        await call.exit(0)

    await serve(handle)
    await client.call("x")
    assert await client.hears() == b"X3"
    await settle()
    assert client.heard.empty()


async def test_signals_are_told_one_by_one(serve: Serve, client: Client) -> None:
    """And not before they were asked for, and not what is no signal."""
    told: list[int] = []

    async def handle(call: Call) -> None:
        done = asyncio.Event()

        async def note(number: int) -> None:
            told.append(number)
            if number == 15:
                done.set()

        await call.out(b"x")
        await call.forward_signals(note)
        await done.wait()

    await serve(handle)
    await client.call("x")
    assert [await client.hears(), await client.hears()] == [b"Ox", b"S1"]
    for number in (b"s2", b"s0", b"s99", b"s-1", b"sx", b"s10", b"s15"):
        await client.say(number)
    assert await client.hears() == b"X0"
    assert told == [2, 10, 15]


async def test_what_was_lost_on_the_bus_ends_calls_from_elsewhere_and_no_others(
    serve: Serve, bus: MemoryBus, client: Client
) -> None:
    """They would go on with a hole in their streams, or wait for ever; whoever still listens hears why they ended."""
    far = Client(bus, "ann")
    await far.listen()
    ended: list[str] = []

    async def handle(call: Call) -> None:
        try:
            await call.out(b"begun")
            await asyncio.Event().wait()
        finally:
            ended.append(call.actor_id)

    console = await serve(handle)
    for each in (far, client):
        await each.call("logs", "-f", "web")
        assert await each.hears() == b"Obegun"
    await console.bus_lost()
    await settle()
    assert (ended, console.running) == (["ann"], 1)
    await console.bus_back()
    assert await far.hears() == b"-the bus was away for a moment"
    await console.bus_back()
    await settle()
    assert far.heard.empty()
    assert client.heard.empty()


@pytest.mark.parametrize("ends", [True, False])
async def test_what_a_client_has_said_before_it_went_is_heard(
    serve: Serve, client: Client, clients: Clients, ends: bool
) -> None:
    """Also the end of what it said, if that was said; else that it is gone."""
    heard: list[bytes] = []
    over: list[str] = []
    listening: list[asyncio.Task[None]] = []

    async def listen(call: Call) -> None:
        try:
            async for piece in call.stdin():
                await asyncio.sleep(0)
                heard.append(piece)
            over.append("ended")
        except Gone:
            over.append("gone")

    async def handle(call: Call) -> None:
        listening.append(asyncio.create_task(listen(call)))
        await call.closed.wait()

    await serve(handle)
    await client.call("run", "-i", "busybox")
    assert await client.hears() == b"I"
    for number in range(20):
        await client.say(b"d%d" % number)
    if ends:
        await client.say(b"e")
    while not heard:
        await asyncio.sleep(0)
    clients.leave("c1")
    assert len(heard) < 20
    await asyncio.gather(*listening)
    assert (heard, over) == ([b"%d" % number for number in range(20)], ["ended" if ends else "gone"])
