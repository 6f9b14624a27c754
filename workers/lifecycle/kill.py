"""Carry out a kill: one signal to the first process."""

import contextlib

from domain.container import Container
from domain.errors import KernelError, NotFound
from domain.failpoints import failpoint
from domain.lifecycle.kill import KILL, KillRequested, SignalFailed, SignalSent
from domain.messages import Recorded
from workers.lifecycle.hands import Hands


async def kill(container: Container, intent: Recorded, hands: Hands) -> SignalSent | SignalFailed:
    """KILL also reaches a frozen process; that of cgroup v1 dies only once it is thawed."""
    assert isinstance(intent.event, KillRequested)
    signal = intent.event.signal
    failpoint("kill.before-act")
    try:
        await hands.runtime.signal(container.id, signal)
        if signal == KILL:
            with contextlib.suppress(NotFound):
                await hands.runtime.thaw(container.id)
    except (NotFound, KernelError) as error:
        return SignalFailed(signal=signal, reason=error.message)
    failpoint("kill.after-act")
    return SignalSent(signal=signal)
