"""Kill: send a signal to the first process. Whether it dies of it is another fact."""

from collections.abc import Mapping

from domain.container import LIVE, Container, State
from domain.lifecycle.absent import present, running
from domain.lifecycle.exit import RestartCancelled
from domain.machine import Move, Transition
from domain.messages import Command, Event, Recorded
from domain.signals import number

KILL = 9
SIGNALLED = LIVE | {State.REMOVING, State.DEAD}
"""States in which a signal that was asked for may have its outcome: a removal does not wait for it."""


class Kill(Command):
    """Send `signal` (a number)."""

    signal: int = KILL


class KillRequested(Event, stored_as="kill-requested.v1", intent=True):
    """The signal is to be sent; `ends` when the user means the end of the container (no restart policy)."""

    signal: int
    ends: bool = False


class SignalSent(Event, stored_as="signal-sent.v1", settles=("kill-requested.v1",)):
    """The kernel has accepted the signal."""

    signal: int


class SignalFailed(Event, stored_as="signal-failed.v1", settles=("kill-requested.v1",)):
    """The signal was not delivered."""

    signal: int
    reason: str


def _kill(container: Container, command: Kill) -> tuple[Event, ...]:
    present(container)
    spec = container.settled
    own = number(spec.stop_signal)
    ends = command.signal == KILL or (spec.stop_signal_given and command.signal == own)
    if ends and container.state is State.RESTARTING:
        return (RestartCancelled(),)
    running(container, "kill")
    return (KillRequested(signal=command.signal, ends=ends),)


def _requested(container: Container, event: KillRequested, record: Recorded) -> Mapping[str, object]:
    if event.ends:
        return {"requested": record.position, "manual": True, "then_start": False}
    return {"requested": record.position}


TRANSITION = Transition(
    decisions={Kill: _kill},
    moves=(
        Move(KillRequested, LIVE, None, _requested),
        Move(SignalSent, SIGNALLED, None),
        Move(SignalFailed, SIGNALLED, None),
    ),
)
