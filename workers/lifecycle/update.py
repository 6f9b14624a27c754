"""Carry out an update of limits: they are written into the groups of the container that lives."""

from domain.container import Container
from domain.errors import KernelError
from domain.failpoints import failpoint
from domain.lifecycle.update import LimitsChanged, LimitsFailed, LimitsRequested
from domain.messages import Recorded
from workers.lifecycle.hands import Hands


async def update(container: Container, intent: Recorded, hands: Hands) -> LimitsChanged | LimitsFailed:
    """A container that has ended meanwhile has nothing to be written into: the limits hold from its next start on."""
    assert isinstance(intent.event, LimitsRequested)
    limits, before = intent.event.limits, intent.event.before
    failpoint("update.before-act")
    try:
        await hands.runtime.limit(container.id, before, limits)
    except KernelError as error:
        return LimitsFailed(limits=limits, before=before, reason=error.message)
    failpoint("update.after-act")
    return LimitsChanged(limits=limits, before=before)
