"""Blocking work on what its caller has for itself: a descriptor that he closes, a table that he goes on with.

A thread goes on when who waits for it is cancelled. If a descriptor is closed then, its number is soon that of
another file or of somebody's connection: the thread would write into that, read from it, or put its own file in its
place.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def whole(work: Callable[[], T], stop: threading.Event | None = None) -> T:
    """`asyncio.to_thread`, but who is cancelled goes on only when the thread has ended; `stop` is set for it then."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        if stop is not None:
            stop.set()
        await _ended(working)
        raise


async def _ended(working: "asyncio.Future[T]") -> None:
    """Returns when it has ended, however often that is called off; how it has ended is of no interest any more."""
    while not working.done():
        try:
            await asyncio.wait((working,))
        except asyncio.CancelledError:
            continue  # the first one is passed on in the end
    if not working.cancelled():
        working.exception()
