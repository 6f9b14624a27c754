"""Pause: freeze every process of a running container; memory and network stay."""

from domain.container import Container, State
from domain.errors import Refused
from domain.lifecycle.absent import running
from domain.machine import Move, Transition
from domain.messages import Command, Event


class Pause(Command):
    """Freeze it."""


class PauseRequested(Event, stored_as="pause-requested.v1", intent=True):
    """A user asked to freeze the container."""


class Paused(Event, stored_as="paused.v1", settles=("pause-requested.v1",)):
    """The freezer reports frozen."""


class PauseFailed(Event, stored_as="pause-failed.v1", settles=("pause-requested.v1",)):
    """The container runs on."""

    reason: str


def _pause(container: Container, command: Pause) -> tuple[Event, ...]:
    running(container, "pause")
    if container.state is State.PAUSED:
        raise Refused(f"Container {container.name} is already paused")
    if container.state is not State.RUNNING:
        raise Refused(f"Container {container.name} is {container.state}")
    return (PauseRequested(),)


TRANSITION = Transition(
    decisions={Pause: _pause},
    moves=(
        Move(PauseRequested, frozenset({State.RUNNING}), State.PAUSING),
        Move(Paused, frozenset({State.PAUSING}), State.PAUSED),
        Move(PauseFailed, frozenset({State.PAUSING}), State.RUNNING),
    ),
)
