"""The register of who looks: in the background, at the latest at the end, and never in anybody's way."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from adapters.memory.event_store import MemoryEventStore
from domain.accesses import Accessed, Tally
from domain.errors import StorageError
from domain.messages import Actor, Append, Meta, Recorded, StreamId
from workers.accesses import Accesses, Reading, Unrecorded
from workers.mover import Origin

ANN = Actor(via="socket", user="ann", uid=1000, command="docker ps", host="here")
BOB = Actor(via="socket", user="bob", uid=1001, command="lading stats", host="here")
WEB = StreamId("container", "4f" * 32)


class Broken(MemoryEventStore):
    """Its disk is full."""

    async def append(self, batch: Sequence[Append], meta: Meta, *, reply: str | None = None) -> Sequence[Recorded]:
        """Never."""
        raise StorageError("the disk is full")


class Hands:
    """A clock that a test sets."""

    now = 1_000

    def __call__(self) -> int:
        return self.now


async def recorded(store: MemoryEventStore) -> list[tuple[str, str, str, int]]:
    """Stream, user, what and how often."""
    return [(str(record.stream), record.meta.actor.user, record.event.what, record.event.times)
            for record in await store.read(0) if isinstance(record.event, Accessed)]


async def test_what_is_noted_is_there_when_it_has_settled() -> None:
    """About an object in its stream, about none in that of the host; one append for each who asks."""
    store = MemoryEventStore()
    register = Accesses(store, "mill", Origin("boot", "1"))
    register.note(ANN, "ps", None)
    register.note(BOB, "stats", WEB)
    register.note(ANN, "images", None)
    assert await recorded(store) == [], "nobody waits for it"
    await register.settled()
    assert await recorded(store) == [
        ("access/host/mill", "ann", "ps", 1), ("access/host/mill", "ann", "images", 1),
        (f"access/container/{WEB.key}", "bob", "stats", 1),
    ]
    (first, *_) = await store.read(0)
    assert (first.meta.boot, first.meta.version, first.meta.actor) == ("boot", "1", ANN)
    await register.end()


async def test_counts_are_recorded_at_the_end_and_nothing_after_it() -> None:
    """An end in good order loses no count; what comes too late is not waited for."""
    store = MemoryEventStore()
    register = Accesses(store, "mill", Origin())
    for _ in range(5):
        register.note(ANN, "ps", None)
    await register.end()
    register.note(ANN, "ps", None)
    await register.settled()
    assert await recorded(store) == [("access/host/mill", "ann", "ps", 1), ("access/host/mill", "ann", "ps", 4)]


async def test_a_window_that_is_over_is_recorded_although_nobody_asks_any_more() -> None:
    """Who reads the history a day later finds the whole count."""
    store, hands = MemoryEventStore(), Hands()
    register = Accesses(store, "mill", Origin(), now=hands, tally=Tally(window=20_000_000))
    register.note(ANN, "ps", None)
    register.note(ANN, "ps", None)
    hands.now += 30_000_000
    async with asyncio.timeout(5):
        while len(await recorded(store)) < 2:
            await asyncio.sleep(0.005)
    assert (await recorded(store))[-1] == ("access/host/mill", "ann", "ps", 1)
    await register.end()


async def test_what_cannot_be_stored_fails_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """People look when something is wrong, for example with the disk; the daemon's own log says what is missing."""
    register = Accesses(Broken(), "mill", Origin())
    with caplog.at_level(logging.ERROR):
        register.note(ANN, "ps", None)
        await register.end()
    assert "who has looked at host/mill could not be recorded: the disk is full" in caplog.text


class Notes(Unrecorded):
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, str, str]] = []

    def note(self, actor: Actor, what: str, object: StreamId | None, refused: str = "") -> None:
        """Kept."""
        self.notes.append((what, str(object), refused))


def test_a_request_is_noted_once_for_each_object_and_not_at_all_if_it_does_not_look() -> None:
    """When its answer begins, or it is refused; what breaks off later was answered."""
    notes = Notes()
    reading = Reading(notes, ANN, "inspect")
    reading.about("container", "a")
    reading.about("volume", "b")
    reading.about("container", "a")
    reading.answered()
    reading.refused("it broke off")
    assert notes.notes == [("inspect", "container/a", ""), ("inspect", "volume/b", "")]
    for reading in (Reading(notes, ANN, ""), Reading(Unrecorded(), ANN, "ps")):
        reading.about("container", "a")
        reading.missed("nothing")
        reading.answered()
    assert len(notes.notes) == 2


def test_what_is_missing_is_the_hosts_to_know() -> None:
    """There is no object whose history could tell it; the others were looked at all the same."""
    notes = Notes()
    reading = Reading(notes, ANN, "inspect")
    reading.missed("no such object: x")
    reading.answered()
    assert notes.notes == [("inspect", "None", "no such object: x")]
    reading = Reading(notes, ANN, "inspect")
    reading.missed("no such object: x")
    reading.about("container", "a")
    reading.answered()
    assert notes.notes[1:] == [("inspect", "None", "no such object: x"), ("inspect", "container/a", "")]
