"""Work that is not torn by a caller who goes away, and that begins at once."""

import asyncio

import pytest

from workers.unbroken import unbroken


async def test_work_that_need_not_wait_is_done_before_anybody_else_gets_a_turn() -> None:
    """That is what it is for: `asyncio.shield` lets others go first."""
    turns: list[str] = []
    asyncio.get_running_loop().call_soon(turns.append, "others")

    async def work() -> int:
        turns.append("work")
        return 7

    assert await unbroken(work()) == 7
    assert turns == ["work"]


async def test_work_goes_on_to_its_end_when_its_caller_is_cancelled() -> None:
    """What was begun is also ended: an append that is half known would be worse than none."""
    done, go = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go.wait()
        await asyncio.sleep(0)
        done.set()

    caller = asyncio.create_task(unbroken(work()))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go.set()
    await asyncio.wait_for(done.wait(), 5)


@pytest.mark.parametrize("waits", [False, True])
async def test_what_the_work_raises_reaches_its_caller(waits: bool) -> None:
    """A refusal before the first wait or after it is the same refusal."""
    async def work() -> None:
        if waits:
            await asyncio.sleep(0)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await unbroken(work())


async def test_what_the_work_waits_for_may_fail() -> None:
    """The error is raised where the work waits, which may go on with it."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work() -> str:
        try:
            await future
        except OSError:
            await asyncio.sleep(0)
            return "caught"
        return "nothing"

    asyncio.get_running_loop().call_soon(future.set_exception, OSError())
    assert await unbroken(work()) == "caught"
