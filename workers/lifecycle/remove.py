"""Carry out a removal: nothing of the container may be left when its name is free again."""

from domain.container import Container
from domain.errors import KernelError
from domain.failpoints import failpoint
from domain.lifecycle.remove import Removed, RemoveFailed
from domain.messages import Recorded
from workers.lifecycle.hands import Hands

KILL_PATIENCE = 10.0
EXEC_PATIENCE = 5.0
"""Seconds in which the ends of the container's other processes are reported, once its first one has ended."""


async def remove(container: Container, intent: Recorded, hands: Hands) -> Removed | RemoveFailed:
    """Kill what runs, wait for its exit to be in the log, then take everything away."""
    failpoint("remove.before-act")
    try:
        if container.pid:
            await hands.runtime.kill_all(container.id)
            if not await hands.ended(container.id, KILL_PATIENCE):
                return RemoveFailed(residue="processes that the kernel did not end in time")
        await hands.execs_ended(container.id, EXEC_PATIENCE)
        failpoint("remove.before-delete")
        await hands.runtime.remove(container.id)
    except KernelError as error:
        return RemoveFailed(residue=error.message)
    failpoint("remove.after-act")
    return Removed(let_go=await hands.leases.kept(container.id))
