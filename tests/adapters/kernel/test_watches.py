"""What the warden is told about watchers: the lowest hold, in steps, and at once when a container waits."""

import asyncio
from collections import deque

from adapters.kernel.supervisor.wire import Message
from adapters.kernel.watches import Watches

ID = "ab" * 32
MIB = 1 << 20
NOWHERE: deque[Message] = deque(maxlen=0)


def wish(hold: int | None) -> Message:
    """As it is told."""
    return {"op": "watch", "id": ID} | ({} if hold is None else {"hold": hold})


def test_the_lowest_hold_counts() -> None:
    """Of all watchers of one container; who holds nothing does not count."""
    watches = Watches(NOWHERE.append)
    first, second, third = watches.add(ID, 5 * MIB), watches.add(ID, None), watches.add(ID, 3 * MIB)
    assert watches.wish(ID) == wish(3 * MIB)
    third.hold(9 * MIB)
    assert watches.wish(ID) == wish(5 * MIB)
    first.hold(None)
    assert watches.wish(ID) == wish(9 * MIB)
    third.hold(None)
    assert watches.wish(ID) == wish(None)
    assert (first.held, second.held, third.held) == (None, None, None)


def test_progress_is_told_in_steps_of_a_mib() -> None:
    """A message for each frame would cost more than the frame."""
    told: list[Message] = []
    watches = Watches(told.append)
    watch = watches.add(ID, 0)
    watches.wish(ID)
    for position in range(0, 5 * MIB, 1 << 14):
        watch.hold(position)
    assert told == [wish(n * MIB) for n in range(1, 5)]


def test_a_container_that_waits_is_helped_at_once() -> None:
    """And from then on at every step: its store may be smaller than a MiB."""
    told: list[Message] = []
    watches = Watches(told.append)
    watch = watches.add(ID, 0)
    watches.wish(ID)
    watch.hold(100)
    assert told == []
    watches.urge(ID)
    watch.hold(200)
    assert told == [wish(100), wish(200)]


def test_to_hold_less_or_nothing_is_told_at_once() -> None:
    """A watcher who comes, and one who loses its hold, must not wait for a step."""
    told: list[Message] = []
    watches = Watches(told.append)
    watch = watches.add(ID, 5 * MIB)
    watches.wish(ID)
    watch.hold(None)
    watch.hold(5 * MIB + 1)
    watches.add(ID, 0).hold(1)
    assert told == [wish(None), wish(5 * MIB + 1), wish(1)]


def test_the_last_one_takes_the_bell_along() -> None:
    """Those who stay hold what they need."""
    watches = Watches(NOWHERE.append)
    first, second = watches.add(ID, 1), watches.add(ID, 2)
    watches.wish(ID)
    assert watches.discard(ID, first) == wish(2)
    assert watches.discard(ID, second) == {"op": "unwatch", "id": ID}
    assert watches.ids() == []
    assert watches.wish(ID) is None


def test_a_start_carries_the_wish() -> None:
    """So the first byte is held."""
    watches = Watches(NOWHERE.append)
    assert watches.with_start(ID) == {"watch": False}
    watch = watches.add(ID, 7)
    assert watches.with_start(ID) == {"watch": True, "id": ID, "hold": 7}
    watch.hold(None)
    assert watches.with_start(ID) == {"watch": True, "id": ID}


async def test_a_bell_rings_once_for_all_that_came_before() -> None:
    """Also what came between two looks; another container's does not."""
    watches = Watches(NOWHERE.append)
    watch = watches.add(ID, None)
    watches.ring("cd" * 32)
    bell = asyncio.ensure_future(watch.bell())
    await asyncio.sleep(0)
    assert not bell.done()
    watches.ring(ID)
    watches.ring(ID)
    await bell
    bell = asyncio.ensure_future(watch.bell())
    await asyncio.sleep(0)
    assert not bell.done()
    bell.cancel()
