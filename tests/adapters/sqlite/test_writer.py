"""Who holds the pen: a lone caller on a quick disk writes in the loop's thread, everybody else through the queue."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, cast

import apsw
import pytest

from adapters.sqlite.event_store import SqliteEventStore
from adapters.sqlite.ledger import Ledger
from domain.errors import Conflict
from tests.adapters.sqlite.conftest import Opener
from tests.contracts.samples import DOOR, GATE, META, Built, Noted, append, door

LOOP = "MainThread"


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(name of the thread, number of callers) of every commit that was tried."""
    seen: list[tuple[str, int]] = []
    store = Ledger.store

    def watched(ledger: Ledger, orders: Sequence[Any]) -> Sequence[Any]:
        seen.append((threading.current_thread().name, len(orders)))
        return store(ledger, orders)

    monkeypatch.setattr(Ledger, "store", watched)
    return seen


async def learned(store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch, *, quick: float = 60.0) -> None:
    """Let the store have seen a commit, and take any disk for quick (or, with 0, none)."""
    monkeypatch.setattr("adapters.sqlite.writer._QUICK", quick)
    await store.append(append(GATE, 0, Built(name="gate")), META)
    await asyncio.sleep(0)


async def test_a_lone_caller_writes_in_the_thread_of_its_loop(
    opened: Opener, writers: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way to the thread and back would take as long as the flush."""
    store = await opened()
    await learned(store, monkeypatch)
    writers.clear()
    for number in range(50):  # now and then the thread itself has the pen, for its chores; on a busy machine, for long
        await store.append(append(DOOR, number, Noted(number=number)), META)
        await asyncio.sleep(0)
    assert writers.count((LOOP, 1)) > 5


async def test_a_slow_disk_is_waited_for_in_the_writers_own_thread(
    opened: Opener, writers: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that waits for a disk serves nobody."""
    store = await opened()
    await learned(store, monkeypatch, quick=0)
    writers.clear()
    await store.append(append(DOOR, 0, Built(name="door")), META)
    assert [name == LOOP for name, _ in writers] == [False]


async def test_a_crowd_shares_commits_whoever_wrote_before(
    opened: Opener, writers: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time they would take a flush each."""
    store = await opened()
    await learned(store, monkeypatch)
    writers.clear()
    await asyncio.gather(*(store.append(append(door(n), 0, Noted(number=n)), META) for n in range(64)))
    assert sum(count for _, count in writers) == 64
    assert len(writers) < 16


async def test_a_task_that_never_waits_lets_others_have_their_turn(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long series of appends must not keep a loop from everything else."""
    store = await opened()
    await learned(store, monkeypatch)
    turns = 0

    async def bystander() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.ensure_future(bystander())
    for number in range(200):
        await store.append(append(door(number), 0, Noted(number=number)), META)
    task.cancel()
    assert turns > 8


async def test_both_ways_refuse_alike_and_leave_the_log_whole(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same conflict, the same positions, whoever holds the pen; and jobs of the thread fit in between."""
    store = await opened()
    await learned(store, monkeypatch)
    expected = 1
    for number in range(12):
        monkeypatch.setattr("adapters.sqlite.writer._QUICK", 60.0 if number % 2 else 0.0)
        with pytest.raises(Conflict):
            await store.append(append(GATE, expected - 1, Noted(number=number)), META)
        await store.append(append(GATE, expected, Noted(number=number)), META)
        expected += 1
        await store.rebuild()
    records = await store.load(GATE)
    assert [record.position for record in records] == list(range(1, expected + 1))
    assert not (await store.verify()).findings


async def test_rows_of_a_new_stream_are_not_looked_for(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other stream touches them, so there can be none; those of a known one are read once."""
    store = await opened()
    await store.append(append(GATE, 0, Built(name="gate")), META)
    await store.close()
    store = await opened()
    asked: list[str] = []

    def heard(cursor: apsw.Cursor, statement: str, bindings: object) -> bool:
        asked.append(f"{' '.join(statement.split())} {bindings}")
        return True

    writer = cast(apsw.Connection, store._opened._connection)
    writer.exec_trace = heard
    await store.append(append(DOOR, 0, Built(name="door")), META)
    assert not [each for each in asked if each.startswith("SELECT doors") and DOOR.key in each]
    for number in (1, 2):
        await store.append(append(GATE, number, Noted(number=number)), META)
    assert len([each for each in asked if each.startswith("SELECT doors") and GATE.key in each]) == 1
    writer.exec_trace = None
