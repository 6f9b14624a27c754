"""Stop and restart: ask the first process to end, and make it end when the time is over."""

from collections.abc import Mapping

from domain.container import Container, State
from domain.errors import Refused
from domain.lifecycle.absent import present
from domain.lifecycle.exit import RestartCancelled
from domain.lifecycle.start import begin
from domain.machine import Move, Transition
from domain.messages import Command, Event, Recorded
from domain.signals import number

STOPPABLE = frozenset({State.RUNNING, State.PAUSED})


class Stop(Command):
    """End it: `signal` (a number; None for the container's own), then KILL after `timeout` seconds (-1: never)."""

    signal: int | None = None
    timeout: int | None = None


class Restart(Command):
    """Stop, then start; a container that does not run is just started."""

    signal: int | None = None
    timeout: int | None = None


class StopRequested(Event, stored_as="stop-requested.v1", intent=True, settles_all=("stop-requested.v1",)):
    """The container is to end; `then_start` when a restart was wished. It takes the place of an earlier stop."""

    signal: int
    timeout: int
    then_start: bool = False


class StopFailed(Event, stored_as="stop-failed.v1", settles=("stop-requested.v1",)):
    """The container runs on, or what somebody else has asked for meanwhile goes on."""

    reason: str


def _request(container: Container, command: Stop | Restart, *, then_start: bool) -> StopRequested:
    spec = container.settled
    signal = number(spec.stop_signal) if command.signal is None else command.signal
    timeout = spec.stop_timeout if command.timeout is None else command.timeout
    return StopRequested(signal=signal, timeout=timeout, then_start=then_start)


def _stop(container: Container, command: Stop) -> tuple[Event, ...]:
    present(container)
    if container.state is State.RESTARTING:
        return (RestartCancelled(),)
    called_off = container.state is State.STOPPING and container.then_start  # the last wish counts: no start follows
    if container.state not in STOPPABLE and not called_off:
        return ()
    return (_request(container, command, then_start=False),)


def _restart(container: Container, command: Restart) -> tuple[Event, ...]:
    present(container)
    if container.state in STOPPABLE:
        return (_request(container, command, then_start=True),)
    if container.state is State.STOPPING:
        raise Refused(f"cannot restart container {container.name}: it is stopping")
    return begin(container, "restart")


def _requested(container: Container, event: StopRequested, record: Recorded) -> Mapping[str, object]:
    return {"requested": record.position, "manual": not event.then_start, "then_start": event.then_start}


def _failed(container: Container, event: StopFailed, record: Recorded) -> Mapping[str, object]:
    if container.state is not State.STOPPING:
        return {}
    return {"requested": 0, "manual": False, "then_start": False, "error": event.reason}


def _goes_on(container: Container) -> State:
    return State.RUNNING if container.state is State.STOPPING else container.state


TRANSITION = Transition(
    decisions={Stop: _stop, Restart: _restart},
    moves=(
        Move(StopRequested, STOPPABLE | {State.STOPPING}, State.STOPPING, _requested),
        Move(StopFailed, frozenset({State.STOPPING, State.REMOVING, State.DEAD}), _goes_on, _failed),
    ),
)
