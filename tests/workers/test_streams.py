"""Following output that is rotated away meanwhile: who holds gets everything, others are told what they missed."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.files.logs import LogFiles
from adapters.kernel.supervisor.output import Output
from adapters.memory.runtime import MemoryRuntime
from domain.container import Container, State
from domain.logs import Limits
from domain.ports.logs import LogFrame
from workers.streams import PATIENT, Begin, Streams, Window

ID = "ab" * 32
ALL = Window()


class Box:
    """A container that writes into a tiny store, and waits where the supervisor would make it wait."""

    def __init__(self, root: Path) -> None:
        self.runtime = MemoryRuntime()
        self.logs = LogFiles(root)
        self.streams = Streams(self, self.runtime, self.logs)
        self.state = Container(id=ID, state=State.RUNNING, attempt=1, pid=7)
        self._changed = asyncio.Event()
        self._directory = str(root / ID)
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._output = self._run()
        self.waited = 0

    def _run(self) -> Output:
        return Output(self._directory, self.state.attempt, Limits(2000, 2))

    def held(self) -> int | None:
        """From where on the supervisor must keep the output."""
        holds = [watch.held for watch in self.runtime.watches.get(ID, ()) if watch.held is not None]
        return min(holds) if holds else None

    async def write(self, data: bytes) -> None:
        """Returns when all of it is stored."""
        for start in range(0, len(data), 500):
            os.write(self._writing, data[start:start + 500])
            while await self._pump():
                pass

    async def _pump(self) -> bool:
        self._output.floor = self.held()
        if self._output.pump(self._reading, 1):
            for watch in self.runtime.watches.get(ID, ()):
                watch.rung.set()
            return True
        if self._output.full:
            self.waited += 1
            await asyncio.sleep(0.001)
        return self._output.full

    def become(self, **changes: object) -> None:
        """Something happens to the container."""
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]
        self._changed.set()
        self._changed = asyncio.Event()

    def again(self) -> None:
        """Another run begins."""
        self.become(state=State.RUNNING, attempt=self.state.attempt + 1, pid=8)
        self._output.close()
        self._output = self._run()

    async def container(self, id: str) -> Container:
        """See `workers.streams.Stories`."""
        return self.state

    async def until(self, id: str, ready: Callable[[Container], bool]) -> Container | None:
        """See `workers.streams.Stories`."""
        while not ready(self.state):
            await self._changed.wait()
        return self.state

    def close(self) -> None:
        """Release everything."""
        self._output.close()
        os.close(self._reading)
        os.close(self._writing)


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    """One that runs."""
    box = Box(tmp_path)
    async with asyncio.timeout(20):
        yield box
    box.close()


async def taken(frames: AsyncIterator[LogFrame], *, pause: float = 0.0) -> list[LogFrame]:
    """All frames, taken slowly."""
    found = []
    async for frame in frames:
        found.append(frame)
        await asyncio.sleep(pause)
    return found


def data(frames: list[LogFrame]) -> bytes:
    """What they hold."""
    return b"".join(frame.data for frame in frames)


OUTPUT = b"".join(b"%06d\n" % number for number in range(4_000))


async def test_a_slow_consumer_that_must_get_everything_gets_everything(box: Box) -> None:
    """28 KB through a store of 4 KB: the container waits."""
    following = asyncio.ensure_future(taken(box.streams.follow(ID, ALL, hold=PATIENT), pause=0.002))
    while box.held() is None:
        await asyncio.sleep(0)
    await box.write(OUTPUT)
    box.become(state=State.EXITED, pid=0)
    frames = await following
    assert data(frames) == OUTPUT
    assert not any(frame.missed for frame in frames)
    assert box.waited
    assert box.held() is None


async def test_who_stands_still_is_not_waited_for_and_learns_what_he_missed(box: Box) -> None:
    """To the byte; then he is held for again."""
    go = asyncio.Event()
    frames = []

    async def follow() -> None:
        async for frame in box.streams.follow(ID, ALL, hold=0.05):
            frames.append(frame)
            await go.wait()

    following = asyncio.ensure_future(follow())
    while box.held() is None:
        await asyncio.sleep(0)
    await box.write(OUTPUT)
    assert box.held() is None
    go.set()
    while len(data(frames)) < 1000 or box.held() is None:
        await asyncio.sleep(0.001)
    await box.write(OUTPUT)
    box.become(state=State.EXITED, pid=0)
    await following
    (gap,) = [frame.missed for frame in frames if frame.missed]
    assert gap + len(data(frames)) == 2 * len(OUTPUT)
    assert data(frames).endswith(OUTPUT)


async def test_without_a_hold_nobody_waits(box: Box) -> None:
    """What was too fast is told."""
    following = asyncio.ensure_future(taken(box.streams.follow(ID, ALL), pause=0.01))
    await asyncio.sleep(0.01)
    await box.write(OUTPUT)
    box.become(state=State.EXITED, pid=0)
    frames = await following
    assert not box.waited
    assert sum(frame.missed for frame in frames) + len(data(frames)) == len(OUTPUT)


async def test_not_a_byte_is_lost_between_the_start_and_the_first_look(box: Box) -> None:
    """Whoever starts a run comes to its output only when the start has been recorded; earlier runs are not repeated."""
    await box.write(b"of an earlier run\n" * 100)
    async with box.streams.expecting(ID):
        writing = asyncio.ensure_future(box.write(OUTPUT))
        await asyncio.sleep(0.02)
    assert box.held() == 1800
    following = asyncio.ensure_future(taken(box.streams.follow(ID, Window(begin=Begin.EXPECTED), hold=PATIENT)))
    await writing
    box.become(state=State.EXITED, pid=0)
    assert data(await following) == OUTPUT
    assert box.held() is None


async def test_what_could_not_be_started_holds_nothing(box: Box) -> None:
    """Else the next run would wait for nobody."""
    async def fail() -> None:
        async with box.streams.expecting(ID):
            assert box.held() == 0
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    await asyncio.sleep(0.01)
    assert box.held() is None
    async with box.streams.expecting(ID):
        pass
    box.streams.forget(ID)
    await asyncio.sleep(0.01)
    assert box.held() is None


async def test_from_now_on_means_from_the_moment_it_has_begun(box: Box) -> None:
    """`attach`: nothing before, everything after."""
    await box.write(b"before\n")
    begun = asyncio.Event()
    frames = box.streams.follow(ID, Window(begin=Begin.NOW), hold=PATIENT, begun=begun.set)
    following = asyncio.ensure_future(taken(frames))
    await begun.wait()
    await box.write(b"after\n")
    box.become(state=State.EXITED, pid=0)
    assert data(await following) == b"after\n"


async def test_a_run_that_has_begun_before_anybody_looked_is_still_the_one_that_was_meant(box: Box) -> None:
    """`docker attach` in the moment of `docker start`: who waited for the run after this one would wait for ever."""
    begun = asyncio.Event()
    following = asyncio.ensure_future(taken(box.streams.upcoming(ID, run=1, hold=PATIENT, begun=begun.set)))
    await begun.wait()
    await box.write(b"comes\n")
    box.become(state=State.EXITED, pid=0)
    assert data(await following) == b"comes\n"


@pytest.mark.parametrize("restarts", [True, False])
async def test_following_ends_with_the_run_or_goes_on_over_restarts(box: Box, restarts: bool) -> None:
    """`run` is about one run, `logs -f` about the container, until it stays where it is."""
    following = asyncio.ensure_future(taken(box.streams.follow(ID, ALL, restarts=restarts)))
    await asyncio.sleep(0.01)
    await box.write(b"one\n")
    box.become(state=State.RESTARTING, pid=0)
    await asyncio.sleep(0.01)
    box.again()
    await box.write(b"two\n")
    await asyncio.sleep(0.01)
    box.become(state=State.EXITED, pid=0)
    assert data(await following) == (b"one\ntwo\n" if restarts else b"one\n")


async def test_what_is_stored_is_held_while_it_is_shown(box: Box) -> None:
    """`logs` of a container that goes on writing."""
    await box.write(OUTPUT)
    frames = box.streams.stored(ID, ALL)
    first = await anext(frames)
    assert box.held() is not None
    writing = asyncio.ensure_future(box.write(b"more\n" * 500))
    rest = [first, *await taken(frames, pause=0.002)]
    await writing
    assert OUTPUT.endswith(data(rest))
    assert first.missed == len(OUTPUT) - len(data(rest))
    assert box.held() is None


@pytest.mark.parametrize("window", [Window(tail=0), Window(tail=1), Window(since=2**62), Window(begin=Begin.NOW)])
async def test_who_wants_only_what_comes_does_not_hold_what_was(box: Box, window: Window) -> None:
    """The store is full, and a frame that is not shown is taken as well: else the container would wait for ever."""
    await box.write(OUTPUT)
    begun = asyncio.Event()
    frames = box.streams.follow(ID, window, hold=PATIENT, begun=begun.set)
    following = asyncio.ensure_future(taken(frames))
    await begun.wait()
    await box.write(OUTPUT)
    box.become(state=State.EXITED, pid=0)
    wanted = b"" if window.since else OUTPUT[-7:] + OUTPUT if window.tail else OUTPUT
    assert data(await following) == wanted
