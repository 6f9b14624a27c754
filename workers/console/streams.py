"""Following what a container writes, and giving up when the client is gone; the container never waits for a client."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from domain.container import LIVE
from domain.errors import LadingError
from domain.lifecycle.kill import Kill
from domain.ports import LogFrame
from workers.console.call import Call
from workers.console.engine import Engine
from workers.mover import Caller

STDOUT, STDERR = 1, 2
T = TypeVar("T")


async def until_gone(call: Call, work: Awaitable[T]) -> T | None:
    """The result of `work`, or None as soon as the client is gone; `work` is cancelled then."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(call.closed.wait())
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        for future in (task, gone):
            future.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def pump(call: Call, frames: AsyncIterator[LogFrame], streams: frozenset[int]) -> None:
    """Every frame to its stream of the client, byte for byte; streams that nobody attached are dropped."""
    async for frame in frames:
        if frame.stream in streams:
            await (call.out if frame.stream == STDOUT else call.err)(frame.data)


def forwarder(engine: Engine, id: str, who: Caller, *, proxy: bool) -> Callable[[int], Awaitable[None]]:
    """What a signal to the client does: it goes to the first process, or (without proxying) nowhere."""

    async def forward(signal: int) -> None:
        if not proxy or (await engine.container(id)).state not in LIVE:
            return
        try:
            await engine.execute(id, Kill(signal=signal), Caller(who.actor))
        except LadingError:
            return  # it ended in the same moment: its status is on the way

    return forward


class Signals:
    """Signals that came while the container was being started: kept, and sent on when it runs."""

    def __init__(self) -> None:
        self._kept: list[int] = []
        self._send: Callable[[int], Awaitable[None]] | None = None

    async def take(self, signal: int) -> None:
        """One signal of the client."""
        if self._send is None:
            self._kept.append(signal)
        else:
            await self._send(signal)

    async def send(self, send: Callable[[int], Awaitable[None]]) -> None:
        """From now on `send` gets them, first those that were kept."""
        self._send = send
        kept, self._kept = self._kept, []
        for signal in kept:
            await send(signal)


async def attached(
    call: Call, engine: Engine, id: str, streams: frozenset[int], *, since: int | None = None, replay: bool = True
) -> bool:
    """Show the container's output until its run ends; False when the client went away before.

    Without `replay` only what comes from now on, else all of it, or all since a moment.
    """
    frames = engine.follow(id, since=since) if replay else engine.output(id, from_start=False)

    async def watch() -> bool:
        await pump(call, frames, streams)
        return True

    return bool(await until_gone(call, watch()))
