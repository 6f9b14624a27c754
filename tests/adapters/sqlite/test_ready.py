"""The transaction that is begun before there is an order for it: it must be in nobody's way, and never be missed."""

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from adapters.sqlite.driver import connect
from adapters.sqlite.event_store import SqliteEventStore
from adapters.sqlite.ledger import Ledger
from domain.errors import LadingError, NameTaken, StorageError
from domain.messages import Append, Event
from tests.adapters.sqlite.conftest import Opener, fault_at, fill, on_a_small_disk
from tests.contracts.samples import GATE, IMAGE, META, Built, CloseAsked, Closed, Noted, append, door, projections

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any disk counts as quick, so that a lone caller writes in the thread of its loop."""
    monkeypatch.setattr("adapters.sqlite.writer._QUICK", 60.0)


def begun(store: SqliteEventStore) -> bool:
    """Whether a transaction waits for its order; the thread may be at its chores."""
    with store._opened._pen:
        return store._opened._connection.in_transaction


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that takes its time."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def ready(store: SqliteEventStore) -> None:
    """Write to the gate until the next transaction is begun: now and then the thread has the pen, for its chores."""
    async with asyncio.timeout(30):
        while not begun(store):
            await note(store)
            await asyncio.sleep(0)


async def note(store: SqliteEventStore, *events: Event) -> None:
    """One more event at the gate."""
    await store.append((Append(GATE, None, events or (Noted(),)),), META)


async def sound(store: SqliteEventStore, events: int) -> None:
    """The gate has so many events, and the log is whole."""
    assert len(await store.load(GATE)) == events
    assert (await store.verify()).findings == ()


async def test_it_is_begun_after_the_answer_and_ends_when_nothing_comes(opened: Opener) -> None:
    """It holds the file's write lock, and its snapshot would keep the WAL from being written back."""
    store = await opened()
    await ready(store)
    await until(lambda: not begun(store))
    with closing(connect(store.path, "rw")) as other:
        other.execute("PRAGMA busy_timeout=30000")  # the thread may be at its chores
        other.execute("BEGIN IMMEDIATE")


async def test_appends_use_it_whether_the_loop_turns_or_not(opened: Opener) -> None:
    """What one has left is taken over before the next is worked out: versions, intents, names and rows."""
    store = await opened()
    for number in range(100):
        stream = door(number)
        await store.append(append(stream, 0, Built(name="front"), CloseAsked()), META)
        if number % 2:
            await asyncio.sleep(0)
        await store.append(append(stream, 2, Closed(), Noted()), META)
        with pytest.raises(NameTaken):
            await store.append(append(door(1000), 0, Built(name="front")), META)
        await store.append(append(stream, 4, Built(name=f"n{number}")), META)
    assert await store.head() == 500
    assert list(await store.open_intents()) == []
    assert (await store.verify()).findings == ()


async def test_jobs_of_the_thread_end_it_first(opened: Opener) -> None:
    """They run transactions of their own, and some settings cannot be changed within one."""
    store = await opened()
    for _ in range(5):
        await ready(store)
        await store.rebuild()
        await ready(store)
        await store.caught_up()
        await ready(store)
    assert (await store.verify()).findings == ()


async def test_the_head_is_known_before_the_loop_turns(opened: Opener) -> None:
    """Verification compares the file with what was written last, not with what was taken over."""
    store = await opened()
    for _ in range(50):
        await note(store)
        assert store._opened.tip.position == await store.head()


async def test_the_wal_is_written_back_all_the_same(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it would grow for ever."""
    monkeypatch.setattr("adapters.sqlite.writer._FRAMES", 64)
    store = await opened()
    written: list[bool] = []
    write_back = store._opened._write_back

    def watched(mode: str) -> bool:
        written.append(write_back(mode))
        return written[-1]

    monkeypatch.setattr(store._opened, "_write_back", watched)
    for _ in range(300):
        await note(store)
        await asyncio.sleep(0)
    assert len(written) > 3
    assert any(written)
    await sound(store, 300)


async def test_a_store_is_closed_over_it_and_nothing_is_begun_afterwards(opened: Opener, tmp_path: Path) -> None:
    """The WAL is written back at the end, which a transaction would prevent."""
    store = await opened()
    await ready(store)
    events = len(await store.load(GATE))
    await note(store)
    writer = store._opened
    await store.close()
    writer._turned(asyncio.get_running_loop())
    alone = shutil.copy(store.path, tmp_path / "alone.db")  # without the WAL
    with closing(connect(Path(alone), "rw")) as file:
        assert file.execute("SELECT count(*) FROM events").fetchone() == (events + 1,)
    again = await opened()
    await sound(again, events + 1)


async def test_an_order_that_comes_while_the_store_closes_is_refused(opened: Opener) -> None:
    """Nobody would ever write it, so nobody would ever get an answer."""
    store = await opened()
    await ready(store)
    writer = store._opened
    ending = asyncio.create_task(store.close())
    await until(lambda: writer._stopping)
    with pytest.raises(StorageError, match=r"being closed|not open"):
        await note(store)
    await ending


@pytest.mark.parametrize("place", ["store.before-begin", "store.after-insert", "store.before-commit"])
async def test_a_fault_within_it_leaves_nothing(opened: Opener, place: str) -> None:
    """The next order begins anew, on top of what was committed."""
    store = await opened()
    await ready(store)
    events = len(await store.load(GATE))
    with fault_at(place), pytest.raises(LadingError, match="injected"):
        await note(store, Built(name="gate", code=("1",)), CloseAsked())
    await note(store, Built(name="gate", code=("1",)), CloseAsked())
    await sound(store, events + 2)


async def test_one_that_cannot_be_begun_is_begun_with_its_order(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nobody to tell until then."""
    store = await opened()

    def refuse(ledger: Ledger) -> None:
        raise apsw.Error("injected")

    await note(store)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "get_ready", refuse)
        await asyncio.sleep(0)
        with pytest.raises(StorageError, match="injected"):
            await note(store)
    await note(store)
    await sound(store, 2)


def test_two_loops_take_turns(tmp_path: Path) -> None:
    """A loop that was closed must not leave the store waiting for its nudge."""
    store = SqliteEventStore(tmp_path, projections())
    asyncio.run(store.open())
    asyncio.run(ready(store))
    assert begun(store)
    asyncio.run(ready(store))

    async def again() -> None:
        async with asyncio.timeout(30):
            while store._opened._nudging is not asyncio.get_running_loop():
                await note(store)
                await asyncio.sleep(0)
        await until(lambda: not begun(store))
        await sound(store, await store.head())

    asyncio.run(again())
    asyncio.run(store.close())


@pytest.mark.kernel
@pytest.mark.slow
async def test_a_full_disk_refuses_and_accepts_again(tmp_path: Path) -> None:
    """The transaction was begun while there was room."""
    disk = tmp_path / "disk"
    async with on_a_small_disk(disk) as store:
        await ready(store)
        events = len(await store.load(GATE))
        fill(disk / "ballast")
        with pytest.raises(StorageError, match="disk is full"):
            await _write_for_ever(store)
        assert store.failure is None
        (disk / "ballast").unlink()
        await note(store)
        await sound(store, events + 1)


async def _write_for_ever(store: SqliteEventStore) -> None:
    while True:
        await store.append((Append(IMAGE, None, (Noted(text="x" * 100_000),)),), META)
        await asyncio.sleep(0)


DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from adapters.sqlite import writer
from adapters.sqlite.event_store import SqliteEventStore
from domain.messages import Append
from tests.contracts.samples import GATE, META, Noted, projections

async def main():
    writer._QUICK = 60.0
    store = SqliteEventStore(Path(sys.argv[1]), projections())
    await store.open()
    while True:
        await store.append((Append(GATE, None, (Noted(),)),), META)
        await asyncio.sleep(0)
        with store._opened._pen:
            if store._opened._connection.in_transaction:
                os.write(1, str(await store.head()).encode())
                os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_kill_9_ends_it(tmp_path: Path, opened: Opener) -> None:
    """Locks go with their process; of the transaction nothing was written."""
    died = subprocess.run([sys.executable, "-c", DYING, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, check=False)
    assert died.returncode == -signal.SIGKILL
    store = await opened()
    await note(store)
    await sound(store, int(died.stdout) + 1)
