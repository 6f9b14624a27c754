"""Carry out a pause."""

from domain.container import Container
from domain.errors import KernelError, NotFound
from domain.failpoints import failpoint
from domain.lifecycle.pause import Paused, PauseFailed
from domain.messages import Recorded
from workers.lifecycle.hands import Hands


async def pause(container: Container, intent: Recorded, hands: Hands) -> Paused | PauseFailed:
    """Freeze the cgroup; returns when the kernel reports frozen."""
    failpoint("pause.before-act")
    try:
        await hands.runtime.freeze(container.id)
    except (NotFound, KernelError) as error:
        return PauseFailed(reason=error.message)
    failpoint("pause.after-act")
    return Paused()
