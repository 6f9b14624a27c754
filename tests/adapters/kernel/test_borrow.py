"""What the daemon reads of an exec, by itself, from the supervisor's pipes."""

import asyncio
import os

from adapters.kernel.borrow import BorrowedOutput


async def test_output_lasts_as_long_as_its_process() -> None:
    """One that has closed its outputs may still want its input: it is over when it has ended, not before."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    output = BorrowedOutput("ab")
    output.give({"stdout": reading})
    output.taken = True
    os.write(writing, b"last")
    frames = output.frames()
    assert (await anext(frames)).data == b"last"
    os.close(writing)
    over = asyncio.ensure_future(anext(frames, None))
    for _ in range(50):
        await asyncio.sleep(0)
    assert (over.done(), output.open, output.held) == (False, False, True)
    output.end()
    async with asyncio.timeout(5):
        assert await over is None
    assert not output.held
