"""What every Bus does, whether it goes through a nats-server or not."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.memory.bus import MemoryBus
from adapters.nats.bus import NatsBus
from adapters.nats.server import EmbeddedServer
from domain.errors import InvalidValue, Unavailable
from domain.ports.bus import Bus, Message


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bus]:
    """Each of the buses, connected."""
    if request.param == "memory":
        memory = MemoryBus()
        yield memory
        await memory.close()
        return
    server = EmbeddedServer(tmp_path / "nats", "box")
    await server.start()
    bus = NatsBus(server.locate)
    await bus.connect()
    yield bus
    await bus.close()
    await server.stop()


async def _echo(message: Message) -> None:
    await message.respond(message.data + b"!")


async def test_a_request_gets_its_own_answer(bus: Bus) -> None:
    """Also when many are on their way."""
    await bus.serve("lading.box.work.echo", _echo)
    answers = await asyncio.gather(*(bus.request("lading.box.work.echo", b"%d" % n, 5) for n in range(100)))
    assert answers == [b"%d!" % n for n in range(100)]


async def test_nobody_there_is_told_at_once(bus: Bus) -> None:
    """A caller must not wait for a time limit to learn that a part of the engine is not running."""
    begin = time.monotonic()
    with pytest.raises(Unavailable):
        await bus.request("lading.box.work.nothing", b"", 30)
    assert time.monotonic() - begin < 5


async def test_an_answer_that_does_not_come_is_waited_for_no_longer_than_asked(bus: Bus) -> None:
    """The caller decides how long."""
    async def silent(message: Message) -> None:
        await asyncio.sleep(60)

    await bus.serve("lading.box.work.silent", silent)
    with pytest.raises(Unavailable, match="within"):
        await bus.request("lading.box.work.silent", b"", 0.05)


async def test_a_slow_handler_delays_nobody(bus: Bus) -> None:
    """Each message has a task of its own."""
    release, heard = asyncio.Event(), asyncio.Event()

    async def handle(message: Message) -> None:
        if message.data == b"slow":
            heard.set()
            await release.wait()
        await message.respond(message.data)

    await bus.serve("lading.box.work.x", handle)
    slow = asyncio.create_task(bus.request("lading.box.work.x", b"slow", 10))
    await heard.wait()
    assert await bus.request("lading.box.work.x", b"fast", 5) == b"fast"
    release.set()
    assert await slow == b"slow"


async def test_handlers_begin_in_the_order_of_arrival(bus: Bus) -> None:
    """Pieces of a file come as messages."""
    heard: list[bytes] = []
    full = asyncio.Event()

    async def handle(message: Message) -> None:
        heard.append(message.data)
        if len(heard) == 500:
            full.set()

    await bus.serve("lading.box.io.>", handle)
    for number in range(500):
        await bus.publish("lading.box.io.c1.1", b"%d" % number)
    await asyncio.wait_for(full.wait(), 5)
    assert heard == [b"%d" % number for number in range(500)]


async def test_one_of_a_queue_hears_and_everybody_without_one(bus: Bus) -> None:
    """Work is done once; news is for all."""
    heard: list[str] = []

    async def first(message: Message) -> None:
        heard.append("queue")

    async def second(message: Message) -> None:
        heard.append("queue")

    async def other(message: Message) -> None:
        heard.append("other")
        await message.respond(b"")

    await bus.serve("lading.box.work.>", first, queue="workers")
    await bus.serve("lading.box.work.>", second, queue="workers")
    await bus.serve("lading.box.work.*", other)
    for _ in range(20):
        await bus.request("lading.box.work.x", b"", 5)
    async with asyncio.timeout(5):
        while len(heard) < 40:
            await asyncio.sleep(0.001)
    assert (heard.count("queue"), heard.count("other")) == (20, 20)


async def test_a_handler_that_fails_is_not_the_end_of_its_subscription(bus: Bus,
                                                                       caplog: pytest.LogCaptureFixture) -> None:
    """A defect in one command must not deafen the daemon."""
    async def handle(message: Message) -> None:
        if message.data == b"bad":
            raise RuntimeError("a defect")
        await message.respond(b"fine")

    await bus.serve("lading.box.work.x", handle)
    await bus.publish("lading.box.work.x", b"bad")
    assert await bus.request("lading.box.work.x", b"good", 5) == b"fine"
    assert "a defect" in caplog.text


async def test_a_handler_that_was_cancelled_is_not_the_end_of_its_subscription(bus: Bus) -> None:
    """Calls are cancelled when their client goes away."""
    async def handle(message: Message) -> None:
        if message.data == b"bad":
            raise asyncio.CancelledError
        await message.respond(b"fine")

    await bus.serve("lading.box.work.x", handle)
    await bus.publish("lading.box.work.x", b"bad")
    assert await bus.request("lading.box.work.x", b"good", 5) == b"fine"


async def test_what_does_not_fit_is_refused(bus: Bus) -> None:
    """Whoever has more to say says it in pieces."""
    with pytest.raises(InvalidValue):
        await bus.publish("lading.box.ev.x", bytes(1024 * 1024 + 1))
    with pytest.raises(InvalidValue):
        await bus.request("lading.box.work.x", bytes(1024 * 1024 + 1), 5)


async def test_headers_arrive(bus: Bus) -> None:
    """Traces and command ids travel there."""
    heard: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

    async def handle(message: Message) -> None:
        heard.set_result(message.headers)

    await bus.serve("lading.box.ev.x", handle)
    await bus.publish("lading.box.ev.x", b"", {"Lading-Command": "7"})
    assert (await asyncio.wait_for(heard, 5))["Lading-Command"] == "7"


async def test_a_request_that_waits_fails_when_the_bus_is_closed(bus: MemoryBus | NatsBus) -> None:
    """A daemon that goes down must not wait for itself."""
    begun = asyncio.Event()

    async def silent(message: Message) -> None:
        begun.set()
        await asyncio.sleep(60)

    await bus.serve("lading.box.work.silent", silent)
    request = asyncio.create_task(bus.request("lading.box.work.silent", b"", 60))
    await begun.wait()
    await bus.close()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(request, 5)
