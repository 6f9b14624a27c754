"""The relay: work at once, what happened a moment later, all of it in order."""

import asyncio
from contextlib import suppress

import pytest

from adapters.memory.bus import MemoryBus
from domain import subjects
from domain.lifecycle.pause import Paused, PauseRequested
from domain.messages import Event, Meta, Recorded, StreamId
from domain.ports.bus import Message
from workers import relay as relay_module
from workers.relay import Relay
from workers.wire import Outcome, Work

HOST = "here"


async def _nothing(work: Work, outcome: Outcome) -> None:
    """Outcomes are no matter here."""


def _record(position: int, event: Event) -> Recorded:
    return Recorded(position, StreamId("container", "c" * 64), position, 0, event, Meta())


async def test_work_leaves_before_what_happened_is_told_which_follows_in_order() -> None:
    """Somebody waits for the work; who listens to events hears of all of them a moment later."""
    bus, heard, enough = MemoryBus(), list[str](), asyncio.Event()

    async def hear(message: Message) -> None:
        _, _, area, *_, kind = message.subject.split(".")
        heard.append(f"{area} {kind}")
        if len(heard) == 4:
            enough.set()

    await bus.serve(subjects.area(HOST, "ev"), hear)
    await bus.serve(subjects.work(HOST, PauseRequested.stored_as), hear)
    relay = Relay(bus, HOST, 0)
    await relay.begin(frozenset({PauseRequested.stored_as}), _nothing)
    relay.publish([_record(1, Paused()), _record(2, PauseRequested())])
    relay.publish([_record(3, Paused())])
    running = asyncio.create_task(relay.run())
    await asyncio.wait_for(enough.wait(), 5)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert heard == ["work pause-requested", "ev paused", "ev pause-requested", "ev paused"]


async def test_what_was_committed_last_is_told_before_the_end() -> None:
    """A daemon that ends within the moment that events wait would keep its last ones to itself, its own end among
    them; in their order, each once."""
    bus, heard = MemoryBus(), list[str]()

    async def hear(message: Message) -> None:
        heard.append(message.subject.rpartition(".")[2])

    await bus.serve(subjects.area(HOST, "ev"), hear)
    relay = Relay(bus, HOST, 0)
    await relay.begin(frozenset(), _nothing)
    running = asyncio.create_task(relay.run())
    relay.publish([_record(1, Paused()), _record(2, PauseRequested())])
    for _ in range(5):
        await asyncio.sleep(0)
    relay.publish([_record(3, Paused())])
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await relay.end()
    while len(heard) < 3:
        await asyncio.sleep(0)
    assert heard == ["paused", "pause-requested", "paused"]


async def test_a_bus_that_takes_nothing_does_not_keep_a_daemon_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that stands still is full some time; what it was not told is in the log."""
    class Full(MemoryBus):
        async def publish(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> None:
            """Never."""
            await asyncio.Event().wait()

    monkeypatch.setattr(relay_module, "_LAST_SECONDS", 0.01)
    relay = Relay(Full(), HOST, 0)
    relay.publish([_record(1, Paused())])
    await asyncio.wait_for(relay.end(), 5)
