"""The mover's folds, when somebody appends while somebody else reads."""

import asyncio
from collections.abc import Sequence

import pytest

from adapters.memory.event_store import MemoryEventStore
from adapters.system.clock import SystemClock
from domain.lifecycle.attach import Attach
from domain.messages import Append, Meta, Recorded, StreamId
from tests.domain.stories import ID, Story
from workers.mover import Caller, Mover, Origin


class Dawdling(MemoryEventStore):
    """A store whose answers are some turns of the loop old when they come."""

    turns = 0

    async def load(self, stream: StreamId) -> Sequence[Recorded]:
        """As it was."""
        turns, self.turns = self.turns, 0  # the next one is quick
        found = await super().load(stream)
        for _ in range(turns):
            await asyncio.sleep(0)
        return found


@pytest.mark.parametrize("turns", range(10))
async def test_who_waits_for_a_change_does_not_miss_one_that_comes_while_he_reads(turns: int) -> None:
    """The fold that he has read is older than the change, and the next change may never come: `wait` would hang."""
    store = Dawdling()
    stream = StreamId("container", ID)
    await store.append([Append(stream, 0, tuple(record.event for record in Story().records))], Meta())
    mover = Mover(store, SystemClock(), Origin())
    store.turns = turns
    waiting = asyncio.ensure_future(mover.until(ID, lambda container: container.version > 1))
    await asyncio.sleep(0)
    await mover.accept(ID, (Attach(starting=True),), Caller())
    async with asyncio.timeout(5):
        found = await waiting
    assert found is not None
    assert (found.version, (await mover.container(ID)).version) == (2, 2)
