"""What a build shows of itself: one block of lines for each step, in the words that scripts know.

    Step 2/4 : RUN make
     ---> Not in the cache: src/main.c changed
     ---> Running in 4f1c0a9b8d7e
    cc -o app src/main.c
     ---> 0b1c2d3e4f5a (1.24s, 18.3kB)

Of stages that are built at the same time the blocks do not get mixed: one step has the screen until it ends, and what
others say meanwhile is kept (their output only up to its last bytes).
"""

from collections.abc import Awaitable, Callable
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


class Plain:
    """Implements `workers.build.request.Progress`; `write` puts bytes on the client's output."""

    def __init__(self, write: Write, *, colors: bool = False) -> None:
        self._write, self._colors = write, colors
        self._blocks: dict[int, _Block] = {}
        self._shown = 0

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

    async def flush(self) -> None:
        """Show what is left of steps that did not end."""
        for block in list(self._blocks.values()):
            if block.held:
                await self._write(bytes(block.held))
            if block.open_line:
                await self._write(b"\n")
        self._blocks.clear()

    async def _say(self, step: Step, line: str, *, bold: bool = False) -> None:
        block = self._blocks[step.number]
        text = f"\x1b[1m{line}\x1b[0m" if bold and self._colors else line
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

    async def flush(self) -> None:
        """Show the last lines of what did not end."""
        for tail in self._tails.values():
            lines = tail.splitlines()[-LAST:]
            if lines:
                await self._write(b"\n".join(lines) + b"\n")
        self._tails.clear()
