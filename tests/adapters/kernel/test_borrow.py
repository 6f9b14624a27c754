"""What the daemon reads of an exec, by itself, from the supervisor's pipes."""

import asyncio
import os
from pathlib import Path

from adapters.kernel.borrow import BorrowedOutput
from adapters.kernel.runtime import KernelRuntime
from adapters.kernel.supervisor.wire import Message
from domain.spec import ContainerSpec, ExecSpec


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


class Late(KernelRuntime):
    """Its supervisor has told of the end of every exec before it is asked for one."""

    async def _borrow(self, message: Message) -> tuple[Message, list[int]]:
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.write(writing, b"left")
        os.close(writing)
        return {"pid": 7, "start": 7, "cgroup": "", "lends": ["stdout"], "over": True}, [reading]


async def test_what_an_exec_has_left_that_was_over_before_is_all_there_is(tmp_path: Path) -> None:
    """Nobody tells of its end another time, so nobody may wait for that."""
    runtime = Late(tmp_path, tmp_path, tmp_path)
    spec = ContainerSpec(image="alpine", image_id="sha256:a", command=("sh",))
    await runtime.exec("ab", 1, "cd", ExecSpec(argv=("true",)), spec, ())
    async with asyncio.timeout(5):
        assert [frame.data async for frame in runtime.exec_output("ab", "cd")] == [b"left"]
