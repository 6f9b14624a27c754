"""What was acknowledged is there again: after kill -9, on a full disk, and when the disk fails."""

import asyncio
import fcntl
import os
import random
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.attributes import NO_ACCESS_TIMES, flags
from adapters.sqlite.driver import connect
from adapters.sqlite.event_store import SqliteEventStore
from domain.errors import Conflict, LadingError, StorageError
from domain.messages import Append, StreamId
from tests.adapters.sqlite.conftest import Opener, fault_at, fill, mounted, on_a_small_disk
from tests.contracts.samples import DOOR, IMAGE, META, Built, CloseAsked, Noted, Torn, append, door, projections

ROOT = Path(__file__).resolve().parents[3]

WRITER = """
import asyncio, os, sys
from pathlib import Path
from adapters.sqlite.event_store import SqliteEventStore
from tests.contracts.samples import META, Built, CloseAsked, Closed, append, door, projections

async def lead(store, number, lives):
    for life in range(lives):
        stream, name = door(number * 10_000 + life), f"{number}-{life}"
        for expected, events in ((0, (Built(name=name, code=("1",)), CloseAsked())), (2, (Closed(),))):
            await store.append(append(stream, expected, *events), META)
            os.write(1, f"{name} {expected + len(events)}\\n".encode())

async def main():
    store = SqliteEventStore(Path(sys.argv[1]), projections())
    await store.open()
    first = int(sys.argv[2])
    await asyncio.gather(*(lead(store, first + number, 200) for number in range(8)))

asyncio.run(main())
"""


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path) -> None:
    """At any instant of a busy writer, again and again over one store."""
    acknowledged: dict[str, int] = {}
    chance = random.Random(7)
    for turn in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(turn * 8)], stdout=subprocess.PIPE, cwd=ROOT
        )
        assert writer.stdout is not None
        lines = iter(writer.stdout.readline, b"")
        wanted = chance.randrange(1, 400)
        for count, line in enumerate(lines):
            _note(acknowledged, line)
            if count == wanted:
                break
        writer.send_signal(signal.SIGKILL)
        for line in lines:
            _note(acknowledged, line)
        writer.stdout.close()
        assert writer.wait() == -signal.SIGKILL
    store = SqliteEventStore(tmp_path, projections())
    await store.open()
    try:
        for name, events in acknowledged.items():
            number, life = (int(part) for part in name.split("-"))
            assert len(await store.load(door(number * 10_000 + life))) >= events
        assert (await store.verify()).findings == ()
    finally:
        await store.close()


def _note(acknowledged: dict[str, int], line: bytes) -> None:
    name, _, version = line.decode().partition(" ")
    if version.endswith("\n"):
        acknowledged[name] = max(acknowledged.get(name, 0), int(version))


@pytest.mark.parametrize("place", ["store.before-begin", "store.after-insert", "store.before-commit"])
async def test_a_fault_before_the_commit_leaves_nothing(opened: Opener, place: str) -> None:
    """The caller hears of it, and may try again; later callers notice nothing."""
    store = await opened()
    failing = append(DOOR, 0, Built(name="front", code=("1",)), CloseAsked())
    with fault_at(place), pytest.raises(LadingError, match="injected"):
        await store.append(failing, META)
    assert await store.head() == 0
    assert list(await store.open_intents()) == []
    assert await store.views.get("doors", DOOR.key) is None
    await store.append(failing, META)
    assert (await store.verify()).findings == ()


async def test_a_fault_after_the_commit_loses_only_the_answer(opened: Opener) -> None:
    """The events are there, and whoever tries again is told so."""
    store = await opened()
    with fault_at("store.after-commit"), pytest.raises(LadingError, match="injected"):
        await store.append(append(DOOR, 0, Built(name="front")), META)
    with pytest.raises(Conflict):
        await store.append(append(DOOR, 0, Built(name="front")), META)
    assert await store.head() == 1


async def test_a_caller_that_is_cancelled_harms_nobody(opened: Opener) -> None:
    """Its events may be stored all the same; the others get their answers."""
    store = await opened()
    tasks = [asyncio.create_task(_build(store, n)) for n in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(r, asyncio.CancelledError) for r in results[::2])
    assert all(isinstance(r, int) for r in results[1::2])
    assert (await store.verify()).findings == ()


async def _build(store: SqliteEventStore, number: int) -> int:
    (record,) = await store.append(append(door(number), 0, Built(name=f"n{number}")), META)
    return record.position


async def test_closing_waits_for_what_was_ordered(opened: Opener) -> None:
    """And a closed store says that it is closed."""
    store = await opened()
    pending = [asyncio.create_task(_build(store, n)) for n in range(50)]
    await asyncio.sleep(0)
    await store.close()
    assert sorted(await asyncio.gather(*pending)) == list(range(1, 51))
    with pytest.raises(StorageError, match="not open"):
        await store.append(append(DOOR, 0, Built(name="front")), META)
    with pytest.raises(StorageError, match="not open"):
        await store.load(DOOR)
    await store.close()


@pytest.mark.kernel
@pytest.mark.slow
async def test_a_full_disk_refuses_and_accepts_again(tmp_path: Path) -> None:
    """Nothing of a refused append stays; small appends still fit, for the WAL is laid out in advance."""
    disk = tmp_path / "disk"
    async with on_a_small_disk(disk) as store:
        await store.append(append(DOOR, 0, Built(name="front"), CloseAsked()), META)
        fill(disk / "ballast")
        await store.append(append(DOOR, 2, Torn()), META)
        stored, refused = await _append_until_refused(store)
        assert "disk is full" in str(refused)
        assert store.failure is None
        assert len(await store.load(IMAGE)) == stored
        assert list(await store.open_intents()) == []
        (disk / "ballast").unlink()
        await store.append(append(IMAGE, stored, Noted(text="x" * 100_000)), META)
        assert (await store.verify()).findings == ()


async def _append_until_refused(store: SqliteEventStore) -> tuple[int, StorageError]:
    for count in range(1000):
        try:
            await store.append(append(IMAGE, count, Noted(text="x" * 100_000)), META)
        except StorageError as error:
            return count, error
    raise AssertionError("the disk was never full")


@pytest.mark.kernel
@pytest.mark.slow
async def test_a_full_disk_at_the_start_is_no_obstacle(tmp_path: Path) -> None:
    """`ps` and `rm` must work when the disk is full, also after the daemon was restarted."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=24m", "tmpfs") as disk:
        store = SqliteEventStore(disk, projections())
        await store.open()
        await store.append(append(DOOR, 0, Built(name="front"), CloseAsked()), META)
        await store.close()
        fill(disk / "ballast")
        again = SqliteEventStore(disk, projections())
        await again.open()
        try:
            assert await again.views.get("doors", DOOR.key) is not None
            _, refused = await _append_until_refused(again)
            assert "disk is full" in str(refused)
            (disk / "ballast").unlink()
            await again.append(append(DOOR, 2, Torn()), META)
        finally:
            await again.close()


@pytest.mark.kernel
@pytest.mark.slow
async def test_a_disk_that_fails_closes_the_store_for_good(tmp_path: Path) -> None:
    """No append is ever tried into success, and what was acknowledged is there on the next start."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    with mounted(tmp_path / "disk", "-o", "loop", str(image)) as disk:
        store = SqliteEventStore(disk / "root", projections())
        await store.open()
        await store.append(append(DOOR, 0, Built(name="front"), CloseAsked()), META)
        _break(disk)
        for _ in range(2):
            with pytest.raises(StorageError):
                await store.append(append(DOOR, 2, Torn()), META)
        assert store.failure is not None
        assert "no event is accepted any more" in store.failure.message
        await store.close()
    (tmp_path / "disk").rmdir()
    with mounted(tmp_path / "disk", "-o", "loop", str(image)) as disk:
        again = SqliteEventStore(disk / "root", projections())
        await again.open()
        assert len(await again.load(DOOR)) in (2, 3)
        assert (await again.verify()).findings == ()
        await again.close()


def _break(disk: Path) -> None:
    """From now on every write to this ext4 fails (EXT4_IOC_SHUTDOWN, without flushing its journal)."""
    descriptor = os.open(disk, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, 0x8004587D, struct.pack("I", 2))
    finally:
        os.close(descriptor)


async def test_files_can_be_read_by_their_owner_only(opened: Opener) -> None:
    """The log holds command lines and, sealed, environments."""
    before = os.umask(0o022)
    try:
        store = await opened()
        await store.append(append(DOOR, 0, Built(name="front")), META)
        await store.caught_up()
        root = store.path.parent
        modes = {path.name: path.stat().st_mode & 0o777 for path in root.glob("lading.db*")}
        assert modes == {"lading.db": 0o600, "lading.db-wal": 0o600, "lading.db-shm": 0o600}
        await store.close()
        assert (root / "state" / "head").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


async def test_reading_the_wal_leaves_no_time_of_access(opened: Opener, tmp_path: Path) -> None:
    """The next flush would have to write it; also of a WAL file that an earlier store has left."""
    for turn in range(2):
        store = await opened()
        await store.append(append(door(turn), 0, Built(name=f"a{turn}")), META)
        (wal,) = tmp_path.rglob("*.db-wal")
        with wal.open("rb", buffering=0) as file:
            try:
                assert flags(file.fileno()) & NO_ACCESS_TIMES
            except OSError:
                pytest.skip(f"the file system of {tmp_path} has no attributes")
            before = wal.stat()
            await asyncio.sleep(0.02)  # several ticks of the clock that times of access come from
            assert file.read(4096)
        assert (wal.stat().st_atime_ns, wal.stat().st_ctime_ns) == (before.st_atime_ns, before.st_ctime_ns)
        await store.close()


async def test_a_second_open_store_reads_while_the_first_writes(opened: Opener) -> None:
    """Readers never write, never checkpoint, and never stand in the way."""
    store = await opened()
    reader = connect(store.path, "ro")
    try:
        for number in range(5):
            await store.append(append(door(number), 0, Built(name=f"n{number}")), META)
            assert reader.execute("SELECT count(*) FROM events").fetchone() == (number + 1,)
    finally:
        reader.close()


async def test_many_callers_share_a_commit_and_none_is_forgotten(opened: Opener) -> None:
    """Winners, losers and racers for names, all at once."""
    store = await opened()
    stream = [StreamId("container", f"{n % 40:064x}") for n in range(400)]
    orders = [store.append((Append(s, 0, (Built(name=f"n{n % 50}"),)),), META) for n, s in enumerate(stream)]
    results = await asyncio.gather(*orders, return_exceptions=True)
    stored = [r for r in results if isinstance(r, tuple)]
    assert len(results) == 400
    assert len(stored) == await store.head() == len(await store.views.select("doors")) == 40
    assert (await store.verify()).findings == ()
