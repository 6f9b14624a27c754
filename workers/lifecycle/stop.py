"""Carry out a stop: signal, patience, KILL. The exit that follows settles the intent."""

import contextlib

from domain.container import Container
from domain.errors import KernelError, NotFound
from domain.failpoints import failpoint
from domain.lifecycle.stop import StopFailed, StopRequested
from domain.messages import Recorded
from workers.lifecycle.hands import Hands

KILL_PATIENCE = 10.0
"""Seconds that the kernel has for ending killed processes (one may hang in an uninterruptible wait)."""


async def stop(container: Container, intent: Recorded, hands: Hands) -> StopFailed | None:
    """Returns None when the container has ended."""
    assert isinstance(intent.event, StopRequested)
    failpoint("stop.before-act")
    try:
        await _ask(container, intent.event.signal, hands)
        if await hands.ended(container.id, _patience(intent, hands)):
            return None
        failpoint("stop.before-kill")
        await hands.runtime.kill_all(container.id)
    except NotFound:
        pass  # it has ended already: the exit is on its way
    except KernelError as error:
        return StopFailed(reason=error.message)
    if await hands.ended(container.id, KILL_PATIENCE):
        return None
    return StopFailed(reason="the kernel did not end the processes in time")


async def _ask(container: Container, signal: int, hands: Hands) -> None:
    await hands.runtime.signal(container.id, signal)
    with contextlib.suppress(NotFound):
        await hands.runtime.thaw(
            container.id
        )  # a frozen process would not notice; thawing what is not frozen is nothing


def _patience(intent: Recorded, hands: Hands) -> float | None:
    """Seconds that are left: a stop that is carried on after a crash does not begin anew."""
    assert isinstance(intent.event, StopRequested)
    if intent.event.timeout < 0:
        return None
    gone = (hands.clock.now() - intent.time) / 1e9
    return max(0.0, min(float(intent.event.timeout), intent.event.timeout - gone))
