"""The sampler: figures from two looks, one task for everybody, none for nobody."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from domain.errors import KernelError
from domain.ports.files import Usage
from tests.workers.console.filefakes import Still
from workers.sampler import Sampler, figures

SECOND = 1_000_000_000


def usage(time: int, cpu: int) -> Usage:
    """At a moment in seconds, so many seconds of a processor."""
    return Usage(time * SECOND, cpu * SECOND, 0, 0, 0, 0, 1)


@pytest.mark.parametrize(
    ("before", "now", "percent"),
    [((1, 5), (2, 5), 0.0), ((1, 5), (2, 6), 100.0), ((1, 0), (3, 5), 250.0), ((1, 9), (2, 1), 0.0)],
)
def test_processors_are_counted_between_two_looks(
    before: tuple[int, int], now: tuple[int, int], percent: float
) -> None:
    """A counter that goes backwards belongs to another run."""
    assert figures({"a": usage(*before)}, {"a": usage(*now)})["a"].cpu == percent


def test_who_was_not_there_before_has_no_figures_yet() -> None:
    """Neither has who is gone."""
    assert set(figures({"a": usage(1, 1), "b": usage(1, 1)}, {"b": usage(2, 1), "c": usage(2, 1)})) == {"b"}


async def test_watchers_share_one_task_that_ends_with_the_last_of_them() -> None:
    """A hundred terminals cost one look a second."""
    still = Still(["a"])
    sampler = Sampler(still, still, lambda: asyncio.sleep(0, still.live))
    streams = [sampler.samples() for _ in range(100)]
    got = await asyncio.gather(*(anext(stream) for stream in streams))
    assert {sample["a"].cpu for sample in got} == {50.0}
    assert still.looks < 10
    for stream in streams:
        await stream.aclose()
    looks = still.looks
    await asyncio.sleep(0.02)
    assert still.looks == looks
    assert (await anext(sampler.samples()))["a"].cpu == 50.0


async def test_a_slow_watcher_misses_samples_and_keeps_nobody() -> None:
    """What it gets is the newest."""
    still = Still(["a"])
    sampler = Sampler(still, still, lambda: asyncio.sleep(0, still.live))
    slow, quick = sampler.samples(), sampler.samples()
    first = await anext(slow)
    for _ in range(20):
        last = await anext(quick)
    second = await anext(slow)
    assert first["a"].usage.time < last["a"].usage.time
    assert second["a"].usage.time > first["a"].usage.time + SECOND
    await slow.aclose()
    await quick.aclose()


async def test_a_look_that_fails_is_told_to_who_watches() -> None:
    """And the next watcher tries again."""

    class Blind(Still):
        async def usage(self, ids: Sequence[str]) -> Mapping[str, Usage]:
            """The first look fails."""
            self.looks += 1
            if self.looks == 1:
                raise KernelError("no control groups")
            return await super().usage(ids)

    blind = Blind(["a"])
    sampler = Sampler(blind, blind, lambda: asyncio.sleep(0, blind.live))
    with pytest.raises(KernelError):
        await anext(sampler.samples())
    assert (await anext(sampler.samples()))["a"].cpu == 50.0
