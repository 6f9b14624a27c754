"""What is told of an act that has failed in a way nobody has foreseen, more than once: a defect of the engine.

Without it the work would be told again for ever, and whoever asked would wait as long. Each failure says something
about the kernel ("nothing of the attempt is left"), so that is made true first. Where this does not succeed either, the
work stays open and is told again: log and kernel may never be left in disagreement.
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping

from domain.container import Container
from domain.errors import KernelError, LadingError, NotFound
from domain.lifecycle.commit import CommitFailed, CommitRequested
from domain.lifecycle.exec import ExecFailed, ExecRequested
from domain.lifecycle.kill import KillRequested, SignalFailed
from domain.lifecycle.network import ConnectFailed, ConnectRequested, DisconnectFailed, DisconnectRequested
from domain.lifecycle.pause import PauseFailed
from domain.lifecycle.remove import RemoveFailed
from domain.lifecycle.start import StartFailed, StartRequested
from domain.lifecycle.stop import StopFailed
from domain.lifecycle.unpause import UnpauseFailed
from domain.lifecycle.update import LimitsFailed, LimitsRequested
from domain.messages import Event, Recorded
from domain.text.safe import safe
from workers.lifecycle.hands import Hands

GiveUp = Callable[[Container, Recorded, Hands, str], Awaitable[Event]]

_LONGEST = 300
_KILL = 9


def reason_of(error: Exception) -> str:
    """One line for the user. Errors of ours say what is wrong; of others the log has the rest."""
    if isinstance(error, LadingError):
        return error.message
    words = safe(" ".join(str(error).split()))[:_LONGEST]
    return f"internal error: {type(error).__name__}{': ' if words else ''}{words}"


async def _start(container: Container, intent: Recorded, hands: Hands, reason: str) -> StartFailed:
    assert isinstance(intent.event, StartRequested)
    await hands.runtime.kill_all(container.id)
    return StartFailed(attempt=intent.event.attempt, reason=reason)


async def _exec(container: Container, intent: Recorded, hands: Hands, reason: str) -> ExecFailed:
    assert isinstance(intent.event, ExecRequested)
    with contextlib.suppress(NotFound):
        await hands.runtime.exec_signal(container.id, intent.event.exec_id, _KILL)
    return ExecFailed(exec_id=intent.event.exec_id, reason=reason)


async def _stop(container: Container, intent: Recorded, hands: Hands, reason: str) -> StopFailed:
    return StopFailed(reason=reason)


async def _kill(container: Container, intent: Recorded, hands: Hands, reason: str) -> SignalFailed:
    assert isinstance(intent.event, KillRequested)
    return SignalFailed(signal=intent.event.signal, reason=reason)


async def _pause(container: Container, intent: Recorded, hands: Hands, reason: str) -> PauseFailed:
    with contextlib.suppress(NotFound):
        await hands.runtime.thaw(container.id)
    return PauseFailed(reason=reason)


async def _unpause(container: Container, intent: Recorded, hands: Hands, reason: str) -> UnpauseFailed:
    with contextlib.suppress(NotFound):
        await hands.runtime.freeze(container.id)
    return UnpauseFailed(reason=reason)


async def _commit(container: Container, intent: Recorded, hands: Hands, reason: str) -> CommitFailed:
    """The act itself thaws what it has frozen, whatever happens in between."""
    assert isinstance(intent.event, CommitRequested)
    return CommitFailed(reason=reason)


async def _update(container: Container, intent: Recorded, hands: Hands, reason: str) -> LimitsFailed:
    assert isinstance(intent.event, LimitsRequested)
    limits, before = intent.event.limits, intent.event.before
    with contextlib.suppress(KernelError):
        await hands.runtime.limit(container.id, limits, before)
    return LimitsFailed(limits=limits, before=before, reason=reason)


async def _remove(container: Container, intent: Recorded, hands: Hands, reason: str) -> RemoveFailed:
    return RemoveFailed(residue=reason)


async def _connect(container: Container, intent: Recorded, hands: Hands, reason: str) -> ConnectFailed:
    event = intent.event
    assert isinstance(event, ConnectRequested)
    before = container.lease.without(event.interface.network) if container.lease is not None else None
    await hands.leases.change(container, container.lease, before)
    return ConnectFailed(attachment=event.attachment, interface=event.interface, reason=reason)


async def _disconnect(container: Container, intent: Recorded, hands: Hands, reason: str) -> DisconnectFailed:
    event = intent.event
    assert isinstance(event, DisconnectRequested)
    left = container.lease.left(event.network, event.leading) if container.lease is not None else None
    await hands.leases.change(container, left, container.lease)
    return DisconnectFailed(attachment=event.attachment, network=event.network, name=event.name, reason=reason)


GIVEN_UP: Mapping[str, GiveUp] = {
    "start-requested.v1": _start,
    "stop-requested.v1": _stop,
    "kill-requested.v1": _kill,
    "pause-requested.v1": _pause,
    "unpause-requested.v1": _unpause,
    "commit-requested.v1": _commit,
    "exec-requested.v1": _exec,
    "limits-requested.v1": _update,
    "remove-requested.v1": _remove,
    "connect-requested.v1": _connect,
    "disconnect-requested.v1": _disconnect,
}
"""For every act what is told when it is given up."""
