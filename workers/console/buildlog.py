"""What a build shows of itself: one block of lines for each step, in the words that scripts know.

    Step 2/4 : RUN make
     ---> Not in the cache: src/main.c changed
     ---> Running in 4f1c0a9b8d7e
    cc -o app src/main.c
     ---> 0b1c2d3e4f5a (1.24s, 18.3kB)

Of stages that are built at the same time the blocks do not get mixed: one step has the screen until it ends, and what
others say meanwhile is kept (their output only up to its last bytes). On a terminal, a last line tells which steps are
being carried out and for how long; it gives way to everything else.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from domain.text.safe import safe
from domain.text.units import exact_duration, human_size
from workers.build.request import Ended, Step

_KEPT = 256 * 1024
LAST = 20
"""Lines of output that are shown with an error when nothing was shown before."""
Write = Callable[[bytes], Awaitable[None]]


@dataclass
class _Block:
    step: Step
    held: bytearray = field(default_factory=bytearray)
    open_line: bool = False
    ended: bool = False
    begun: float = field(default_factory=time.monotonic)


class Plain:
    """Implements `workers.build.request.Progress`; `to` puts bytes on the client's output, which is a terminal of so
    many `columns`, or (0) something that keeps every line."""

    def __init__(self, to: Write, columns: int = 0) -> None:
        self._to, self._columns = to, columns
        self._blocks: dict[int, _Block] = {}
        self._status = False

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """While the build lasts; at its end, what is left of steps that did not end is shown."""
        ticking = asyncio.ensure_future(self._tick()) if self._columns else None
        try:
            yield
        finally:
            if ticking is not None:
                ticking.cancel()
                with suppress(asyncio.CancelledError):
                    await ticking
            await self._flush()

    async def step(self, step: Step) -> None:
        """See Progress."""
        self._blocks[step.number] = _Block(step)
        await self._say(step, f"Step {step.number}/{step.total} : {safe(step.text)}", bold=True)

    async def running(self, step: Step, container: str, cause: str) -> None:
        """See Progress."""
        if cause:
            await self._say(step, f" ---> Not in the cache: {safe(cause)}")
        if container:
            await self._say(step, f" ---> Running in {container[:12]}")

    async def output(self, step: Step, stream: int, data: bytes) -> None:
        """See Progress."""
        await self._put(step, data)

    async def ended(self, step: Step, ended: Ended) -> None:
        """See Progress."""
        if ended.how == "cached":
            await self._say(step, " ---> Using cache")
        if ended.container:
            await self._say(step, f" ---> Removed intermediate container {ended.container[:12]}")
        if ended.image_id:
            took = f" ({exact_duration(ended.took)}, {human_size(ended.size)})" if ended.how == "ran" else ""
            await self._say(step, f" ---> {ended.image_id.removeprefix('sha256:')[:12]}{took}")
        self._blocks[step.number].ended = True
        await self._next()

    async def note(self, text: str) -> None:
        """See Progress."""
        await self._write((safe(text) + "\n").encode())

    async def _tick(self) -> None:
        """The last line of a terminal, anew each second."""
        while True:
            await asyncio.sleep(1)
            block = self._blocks.get(self._holder())
            if block is None or block.open_line:
                continue
            now = time.monotonic()
            running = [one for one in self._blocks.values() if not one.ended]
            told = ", ".join(
                f"[{one.step.number}/{one.step.total}] {safe(one.step.text)[:40]} {now - one.begun:.0f}s"
                for one in running
            )
            self._status = True
            await self._to(b"\r\x1b[K" + told[: self._columns - 1].encode("utf-8", "backslashreplace"))

    async def _write(self, data: bytes) -> None:
        if self._status:
            self._status = False
            data = b"\r\x1b[K" + data
        await self._to(data)

    async def _flush(self) -> None:
        if self._status:
            await self._write(b"")
        for block in list(self._blocks.values()):
            if block.held:
                await self._write(bytes(block.held))
            if block.open_line:
                await self._write(b"\n")
        self._blocks.clear()

    async def _say(self, step: Step, line: str, *, bold: bool = False) -> None:
        block = self._blocks[step.number]
        text = f"\x1b[1m{line}\x1b[0m" if bold and self._columns else line
        await self._put(step, (("\n" if block.open_line else "") + text + "\n").encode("utf-8", "backslashreplace"))

    async def _put(self, step: Step, data: bytes) -> None:
        if not data:
            return
        block = self._blocks[step.number]
        block.open_line = not data.endswith(b"\n")
        if self._holder() == step.number:
            await self._write(data)
            return
        block.held += data
        if len(block.held) > _KEPT:
            del block.held[: len(block.held) - _KEPT]

    def _holder(self) -> int:
        """Who has the screen: the step that has begun first of those that have not ended."""
        return next(iter(self._blocks), 0)

    async def _next(self) -> None:
        while self._blocks:
            number = self._holder()
            block = self._blocks[number]
            if block.held:
                data = bytes(block.held)
                block.held.clear()
                await self._write(data)
            if not block.ended:
                return
            del self._blocks[number]


class Quiet:
    """Keeps the last lines of each step's output, for the error if there is one."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._tails: dict[int, bytes] = {}

    async def step(self, step: Step) -> None:
        """See Progress."""
        self._tails[step.number] = b""

    async def running(self, step: Step, container: str, cause: str) -> None:
        """See Progress."""

    async def output(self, step: Step, stream: int, data: bytes) -> None:
        """See Progress."""
        self._tails[step.number] = (self._tails.get(step.number, b"") + data)[-_KEPT:]

    async def ended(self, step: Step, ended: Ended) -> None:
        """See Progress."""
        self._tails.pop(step.number, None)

    async def note(self, text: str) -> None:
        """See Progress."""

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """While the build lasts; at its end, the last lines of what did not end are shown."""
        try:
            yield
        finally:
            await self._flush()

    async def _flush(self) -> None:
        for tail in self._tails.values():
            lines = tail.splitlines()[-LAST:]
            if lines:
                await self._write(b"\n".join(lines) + b"\n")
        self._tails.clear()
