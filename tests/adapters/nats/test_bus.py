"""The bus when the server fails it: killed, stopped, rude, or not the server at all."""

import asyncio
import contextlib
import os
import signal
import time

import pytest

from adapters.nats.access import Access
from adapters.nats.bus import NatsBus
from adapters.nats.server import EmbeddedServer
from domain.errors import Unavailable
from domain.ports.bus import Message
from tests.adapters.nats.test_server import until
from tests.adapters.nats.wire import Wire

WORK = "lading.box.work.echo"


async def _echo(message: Message) -> None:
    await message.respond(message.data)


async def _persistent(bus: NatsBus, payload: bytes) -> bytes:
    """What a caller does that must have an answer: ask again, because work may be asked for twice."""
    while True:
        with contextlib.suppress(Unavailable):
            return await bus.request(WORK, payload, 2)
        await asyncio.sleep(0.005)


@pytest.mark.slow
async def test_requests_go_on_over_a_killed_server(server: EmbeddedServer, bus: NatsBus) -> None:
    """Five kills while 20 callers ask without pause: everybody gets every answer, and subscriptions live on."""
    back, answers = [0], [0]

    async def count() -> None:
        back[0] += 1

    bus.on_reconnect(count)
    await bus.serve(WORK, _echo)
    stop = asyncio.Event()

    async def ask(name: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            payload = b"%d/%d" % (name, number)
            assert await _persistent(bus, payload) == payload
            answers[0] += 1

    callers = [asyncio.create_task(ask(name)) for name in range(20)]
    for _ in range(5):
        await until(lambda goal=answers[0] + 100: answers[0] >= goal)  # type: ignore[misc]
        times = back[0]
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda times=times: back[0] > times)  # type: ignore[misc]
    stop.set()
    await asyncio.gather(*callers)
    assert back[0] == 5


async def test_a_request_on_its_way_fails_when_the_connection_breaks(server: EmbeddedServer, bus: NatsBus) -> None:
    """Nobody can know whether it arrived; waiting for its time limit would be for nothing."""
    begun = asyncio.Event()

    async def silent(message: Message) -> None:
        begun.set()
        await asyncio.sleep(60)

    await bus.serve(WORK, silent)
    request = asyncio.create_task(bus.request(WORK, b"", 60))
    await begun.wait()
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(Unavailable, match="broke"):
        await asyncio.wait_for(request, 5)


async def test_a_request_waits_for_a_server_that_is_away(server: EmbeddedServer, bus: NatsBus) -> None:
    """The bus is back in a moment: no reason to fail."""
    await bus.serve(WORK, _echo)
    os.kill(server.pid, signal.SIGKILL)
    await until(lambda: not bus.connected)
    assert await bus.request(WORK, b"x", 5) == b"x"


async def test_loss_and_return_are_told(server: EmbeddedServer, bus: NatsBus) -> None:
    """What was published in between is lost: somebody has to read the log."""
    told: list[str] = []

    async def lost() -> None:
        told.append("lost")

    async def back() -> None:
        told.append("back")

    bus.on_disconnect(lost)
    bus.on_reconnect(back)
    os.kill(server.pid, signal.SIGKILL)
    await until(lambda: told == ["lost", "back"])


@pytest.mark.slow
async def test_publishing_can_be_cancelled_while_the_server_stands_still(server: EmbeddedServer, bus: NatsBus) -> None:
    """nats-py alone swallows the cancellation, and a daemon that goes down would hang."""
    async def flood() -> None:
        while True:
            await bus.publish("lading.box.ev.x", bytes(512 * 1024))

    os.kill(server.pid, signal.SIGSTOP)
    task = asyncio.create_task(flood())
    await asyncio.sleep(0.3)
    assert not task.done()
    begin = time.monotonic()
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
    assert time.monotonic() - begin < 1
    os.kill(server.pid, signal.SIGCONT)


@pytest.mark.slow
async def test_closing_does_not_wait_for_a_server_that_stands_still(server: EmbeddedServer) -> None:
    """The daemon's end is bounded."""
    bus = NatsBus(server.locate)
    await bus.connect()
    os.kill(server.pid, signal.SIGSTOP)
    publishing = asyncio.gather(*(bus.publish("lading.box.ev.x", bytes(512 * 1024)) for _ in range(40)))
    await asyncio.sleep(0.1)
    assert not publishing.done()
    await asyncio.wait_for(bus.close(), 5)
    await asyncio.wait_for(publishing, 5)
    os.kill(server.pid, signal.SIGCONT)


async def test_an_error_line_is_not_the_end(bus: NatsBus) -> None:
    """nats-py closes for good then; the bus takes a new client and keeps its subscriptions."""
    back = asyncio.Event()

    async def note() -> None:
        back.set()

    bus.on_reconnect(note)
    await bus.serve(WORK, _echo)
    assert bus._line is not None
    bus._line.write(b"NONSENSE\r\n")  # type: ignore[no-untyped-call]
    await asyncio.wait_for(back.wait(), 5)
    assert await bus.request(WORK, b"x", 5) == b"x"


async def test_a_stranger_in_the_server_s_place_never_sees_the_password() -> None:
    """Whoever takes the port of a dead server greets like one, but does not know its name."""
    seen = bytearray()

    async def stranger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","server_name":"lading-guess","max_payload":1048576,"headers":true}\r\n')
        seen.extend(await reader.read(1000))
        writer.close()

    listening = await asyncio.start_server(stranger, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]

    async def locate(role: str) -> Access:
        return Access("127.0.0.1", port, role, "secret", server_name="lading-real")

    bus = NatsBus(locate)
    with pytest.raises(Unavailable):
        await bus.connect(timeout=0.3)
    assert bytes(seen) == b""
    listening.close()
    await listening.wait_closed()


@pytest.mark.parametrize("reply", ["lading.box.work.start-requested", "_INBOX.daemon.x", "_INBOX.bob.x"])
async def test_nobody_makes_the_daemon_speak_elsewhere(server: EmbeddedServer, bus: NatsBus, reply: str,
                                                       caplog: pytest.LogCaptureFixture) -> None:
    """The server does not check reply subjects, and the daemon may publish everywhere."""
    answered, misled = asyncio.Event(), asyncio.Event()

    async def answer(message: Message) -> None:
        await message.respond(b"secret")
        answered.set()

    async def hear(message: Message) -> None:
        misled.set()

    await bus.serve("lading.box.q.>", answer)
    await bus.serve(reply, hear)
    access = await server.locate("reader")
    async with Wire(access) as wire:
        await wire.say(f"PUB lading.box.q.reader.ps {reply} 0\r\n\r\n")
        await asyncio.wait_for(answered.wait(), 5)
        await bus.request(WORK, b"", 5) if misled.is_set() else None
    assert not misled.is_set()
    assert "not its inbox" in caplog.text


async def test_no_server_at_all_is_said_in_time() -> None:
    """An external server that is down."""
    async def locate(role: str) -> Access:
        return Access("127.0.0.1", 1, role, "x")

    with pytest.raises(Unavailable, match="cannot connect to the bus"):
        await NatsBus(locate).connect(timeout=0.3)
