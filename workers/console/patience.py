"""Long waits speak: on a terminal, a line on stderr says after a second what is being waited for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from workers.console.verb import Invocation

AFTER = 1.0


@asynccontextmanager
async def speaking(invocation: Invocation, reason: str, what: str) -> AsyncIterator[None]:
    """While this lasts longer than a second, a person is told `what: reason`."""
    if not invocation.call.terminal.stderr_tty:
        yield
        return
    note = asyncio.ensure_future(_later(invocation, f"{what}: {reason}"))
    try:
        yield
    finally:
        note.cancel()
        await asyncio.gather(note, return_exceptions=True)


async def _later(invocation: Invocation, text: str) -> None:
    await asyncio.sleep(AFTER)
    await invocation.warn(text)
