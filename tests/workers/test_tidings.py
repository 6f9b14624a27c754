"""What happens, told to many at once."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing

import pytest

from domain.messages import Meta, Recorded, StreamId
from domain.notices import Notice
from domain.volumes.events import VolumeCreated
from tests.workers.console.fakes import EPOCH, SECOND, FakeStore
from workers import tidings
from workers.tidings import Tidings


class Told(FakeStore):
    """A log whose records are told at once; `reads` counts how often somebody reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.tidings = Tidings(self)
        self.reads = 0

    def happen(self, name: str) -> None:
        """A volume appears."""
        self.tidings.hear(self.add(StreamId("volume", name), VolumeCreated(), Meta()))

    async def read(
        self, after: int, limit: int = 1000, *, streams: Sequence[StreamId] | None = None
    ) -> Sequence[Recorded]:
        """Counted."""
        self.reads += 1
        return await super().read(after, limit, streams=streams)


async def heard(
    store: Told, count: int, fits: Callable[[Notice], bool] = lambda notice: True, after: int | None = None
) -> list[str]:
    """The first ones that somebody hears."""
    found: list[str] = []
    async with aclosing(store.tidings.follow(fits, after=after)) as told:
        async for notice in told:
            found.append(notice.id)
            if len(found) == count:
                break
    return found


async def listening(store: Told, count: int = 1) -> None:
    """Returns when so many wait."""
    while len(store.tidings._listeners) < count:
        await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_a_thousand_listeners_read_the_log_not_once_for_what_comes() -> None:
    """Whoever writes does not pay for those who listen."""
    store = Told()
    store.happen("before")
    works = [asyncio.ensure_future(heard(store, 2)) for _ in range(1000)]
    await listening(store, 1000)
    store.happen("a")
    store.happen("b")
    assert await asyncio.gather(*works) == [["a", "b"]] * 1000
    assert store.reads == 0


async def test_the_past_and_what_comes_meet_without_a_gap_and_nothing_twice() -> None:
    """Also when something happens while the past is read."""
    store = Told()
    for name in "abc":
        store.happen(name)
    work = asyncio.ensure_future(heard(store, 5, after=1))
    await listening(store)
    store.happen("d")
    await asyncio.sleep(0)
    store.happen("e")
    store.happen("f")
    assert await work == ["b", "c", "d", "e", "f"]


async def test_who_does_not_keep_up_reads_the_log_and_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """And costs no more memory than the others."""
    monkeypatch.setattr(tidings, "MOST_WAITING", 3)
    store = Told()
    found: list[str] = []
    async with aclosing(store.tidings.follow(lambda notice: True)) as told:
        first = asyncio.ensure_future(anext(told))
        await listening(store)
        store.happen("0")
        found.append((await first).id)
        for number in range(1, 9):
            store.happen(str(number))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        while len(found) < 9:
            found.append((await anext(told)).id)
    assert found == [str(number) for number in range(9)]
    assert store.reads >= 1


async def test_a_listener_ends_at_its_moment() -> None:
    """What happens later is not for him."""
    store = Told()
    store.happen("a")
    until = EPOCH + 2 * SECOND
    work = asyncio.ensure_future(_all(store, until))
    await asyncio.sleep(0)
    store.happen("b")
    store.happen("c")
    assert await work == ["a", "b"]


async def test_a_listener_whose_moment_comes_before_he_was_told_reads_the_log() -> None:
    """What has happened before that moment is his, however late it is told."""
    store = Told()
    until = EPOCH + 2 * SECOND
    work = asyncio.ensure_future(_all(store, until))
    await listening(store)
    store.add(StreamId("volume", "a"), VolumeCreated(), Meta())
    assert await work == ["a"]


async def _all(store: Told, until: int) -> list[str]:
    told = store.tidings.follow(lambda notice: True, after=0, until=until, now=lambda: until - SECOND // 100)
    return [notice.id async for notice in told]


async def test_nobody_is_left_when_the_last_one_goes() -> None:
    """A log that nobody watches costs nothing."""
    store = Told()
    work = asyncio.ensure_future(heard(store, 1))
    await listening(store)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    store.happen("a")
    assert (store.tidings._telling, len(store.tidings._fresh)) == (None, 0)
