"""How much containers use at the moment: one task reads the figures of all of them, however many people watch.

It runs only while somebody does. A share of processors is what was used between two looks, a second apart.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from domain.ports.bus import Clock
from domain.ports.files import Meter, Usage

PERIOD = 1.0
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one container uses: `cpu` in percent of one processor."""

    cpu: float
    usage: Usage


Sample = Mapping[str, Figures]
"""Figures by container id; who was not there at the look before is missing."""


def figures(before: Mapping[str, Usage], now: Mapping[str, Usage]) -> Sample:
    """What two looks say together; a counter that has gone backwards belongs to another run."""
    return {
        id: Figures(_percent(before[id], usage), usage)
        for id, usage in now.items()
        if id in before and usage.time > before[id].time
    }


def _percent(before: Usage, now: Usage) -> float:
    return max(100.0 * (now.cpu - before.cpu) / (now.time - before.time), 0.0)


class Sampler:
    """Samples for any number of watchers; `live` tells which containers have processes."""

    def __init__(self, meter: Meter, clock: Clock, live: Callable[[], Awaitable[Sequence[str]]]) -> None:
        self.meter = meter
        self._clock, self._live = clock, live
        self._watchers: set[asyncio.Queue[Sample | Exception]] = set()
        self._task: asyncio.Task[None] | None = None

    async def samples(self) -> AsyncGenerator[Sample, None]:
        """One sample after the other, the first after a second; who is slow misses some. Raises what a look raises."""
        queue: asyncio.Queue[Sample | Exception] = asyncio.Queue(1)
        self._watchers.add(queue)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        try:
            while True:
                sample = await queue.get()
                if isinstance(sample, Exception):
                    raise sample
                yield sample
        finally:
            self._watchers.discard(queue)
            if not self._watchers and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _run(self) -> None:
        before: Mapping[str, Usage] = {}
        first = True
        while True:
            try:
                now = await self.meter.usage(await self._live())
            except Exception as error:  # the outermost loop of this task: its watchers tell it
                self._tell(error)
                return
            if not first:
                self._tell(figures(before, now))
            before, first = now, False
            await self._clock.sleep(PERIOD)

    def _tell(self, sample: Sample | Exception) -> None:
        for queue in self._watchers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(sample)
