"""The event store by itself: one durable append against the disk's own speed, and many callers at once."""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

from adapters.sqlite.event_store import SqliteEventStore
from bench.recorded import META, lived, open_store
from bench.report import Row, Target, bound, compare
from bench.samples import summary
from bench.setting import Setting
from domain.lifecycle import MACHINE
from domain.messages import Append

FLOOR = "4 KiB + fdatasync"
BLOCK = 4096
LAID_OUT = 256  # blocks of the file that the disk's own speed is measured with
CALLERS = 64
WARM_UP = 20


def measure(setting: Setting) -> list[Row]:
    """Appends of the lives of containers, with hashes, sealed environment and inline projections."""
    folder = Path(tempfile.mkdtemp(dir=setting.folder))
    rounds = setting.times(1000, least=100)
    single, floor = asyncio.run(_single(folder / "single", 3 * rounds, _events("single"), commanded=True))
    run, run_floor = asyncio.run(_single(folder / "run", rounds, _steps("run"), commanded=True))
    closely, closely_floor = asyncio.run(_single(folder / "closely", rounds, _steps("closely"), commanded=False))
    rates = [asyncio.run(_many(folder / f"many-{turn}", setting.times(40, least=4))) for turn in range(3)]
    return [
        *compare("one durable append", "ms", {"lading": single, FLOOR: floor}, Target(FLOOR, 2)),
        *compare("as a run makes them, with 6 events in 4", "ms", {"lading": run, FLOOR: run_floor}, Target(FLOOR)),
        *compare("and one right after the other", "ms", {"lading": closely, FLOOR: closely_floor}, Target(FLOOR)),
        bound(f"{FLOOR} of a file that grows", "ms", summary(_growing(folder / "growing", rounds)), None),
        bound(f"{CALLERS} callers at once", "events/s", summary(rates), 10_000, at_most=False),
    ]


async def _single(
    folder: Path, rounds: int, steps: Iterator[Append], *, commanded: bool
) -> tuple[list[float], list[float]]:
    """Appends and overwrites of the disk take turns, in pairs (A B, B A, …); the first ones do not count. Between them
    the loop turns, as in a daemon whose commands come over the bus one after the other: the store gets ready for the
    next append then.

    With `commanded` both come after what a command does before its append: read the stream and fold it. A flush takes
    longer when the disk has rested a little, and it has then, the same time for either. Without, an overwrite comes
    sooner after the last flush than an append, which has its events to encode.
    """
    store = open_store(folder)
    await store.open()
    disk = Disk(folder / "floor")
    appended: list[float] = []
    written: list[float] = []

    async def append(step: Append) -> None:
        begin = time.perf_counter()
        await store.append((step,), META)
        appended.append((time.perf_counter() - begin) * 1000)

    async def overwrite(step: Append) -> None:
        written.append(disk.timed())

    try:
        for turn in range(rounds + WARM_UP):
            step = next(steps)
            for contestant in (append, overwrite) if turn % 2 == 0 else (overwrite, append):
                if commanded:
                    MACHINE.fold(step.stream.key, await store.load(step.stream))
                await contestant(step)
                await asyncio.sleep(0)
    finally:
        disk.close()
        await store.close()
    return appended[WARM_UP:], written[WARM_UP:]


def _growing(path: Path, rounds: int) -> list[float]:
    """Writes that let a file grow, by themselves: each makes the journal of the file system busy, which would slow the
    flush after it."""
    disk = Disk(path, laid_out=0)
    try:
        return [disk.timed() for _ in range(rounds + WARM_UP)][WARM_UP:]
    finally:
        disk.close()


async def _many(root: Path, lives: int) -> float:
    """Events a second, all callers together; each waits for its append before it makes the next."""
    store = open_store(root)
    await store.open()
    try:
        begin = time.perf_counter()
        await asyncio.gather(*(_caller(store, f"c{number}-", lives) for number in range(CALLERS)))
        return await store.head() / (time.perf_counter() - begin)
    finally:
        await store.close()


async def _caller(store: SqliteEventStore, mark: str, lives: int) -> None:
    for number in range(lives):
        for step in lived(number, mark, removed=True):
            await store.append((step,), META)


def _steps(mark: str) -> Iterator[Append]:
    for number in count():
        yield from lived(number, mark, removed=True)


def _events(mark: str) -> Iterator[Append]:
    """The same lives, each event in an append of its own."""
    for step in _steps(mark):
        for number, event in enumerate(step.events):
            yield replace(step, expected=(step.expected or 0) + number, events=(event,))


class Disk:
    """A file that is laid out already, so that an overwrite changes no metadata: the least that durable can cost.

    One of which nothing is laid out grows with every write, and each flush also commits its new size.
    """

    def __init__(self, path: Path, laid_out: int = LAID_OUT) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._at = 0
        self._laid_out = laid_out
        self._next = b"\1" * BLOCK
        for block in range(laid_out):
            os.pwrite(self._descriptor, self._next, block * BLOCK)
        os.fsync(self._descriptor)

    def timed(self) -> float:
        """Milliseconds of writing the next block. What it holds is made up before: a disk that knows its contents
        already might do less, and that costs as much CPU as a tenth of a quick flush."""
        self._next = os.urandom(BLOCK)
        begin = time.perf_counter()
        self._write()
        return (time.perf_counter() - begin) * 1000

    def _write(self) -> None:
        """Write one block and wait until the disk has it."""
        os.pwrite(self._descriptor, self._next, self._at * BLOCK)
        os.fdatasync(self._descriptor)
        self._at += 1
        if self._laid_out:
            self._at %= self._laid_out

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
