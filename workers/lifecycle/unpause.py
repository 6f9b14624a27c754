"""Carry out an unpause."""

from domain.container import Container
from domain.errors import KernelError, NotFound
from domain.failpoints import failpoint
from domain.lifecycle.unpause import Unpaused, UnpauseFailed
from domain.messages import Recorded
from workers.lifecycle.hands import Hands


async def unpause(container: Container, intent: Recorded, hands: Hands) -> Unpaused | UnpauseFailed:
    """Thaw the cgroup; returns when every process runs again."""
    failpoint("unpause.before-act")
    try:
        await hands.runtime.thaw(container.id)
    except (NotFound, KernelError) as error:
        return UnpauseFailed(reason=error.message)
    failpoint("unpause.after-act")
    return Unpaused()
