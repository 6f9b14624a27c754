"""Unpause: let every process of a paused container go on."""

from domain.container import Container, State
from domain.errors import Refused
from domain.lifecycle.absent import running
from domain.machine import Move, Transition
from domain.messages import Command, Event


class Unpause(Command):
    """Thaw it."""


class UnpauseRequested(Event, stored_as="unpause-requested.v1", intent=True):
    """A user asked to let the container go on."""


class Unpaused(Event, stored_as="unpaused.v1", settles=("unpause-requested.v1",)):
    """Every process runs again."""


class UnpauseFailed(Event, stored_as="unpause-failed.v1", settles=("unpause-requested.v1",)):
    """The container is still frozen."""

    reason: str


def _unpause(container: Container, command: Unpause) -> tuple[Event, ...]:
    running(container, "unpause")
    if container.state is not State.PAUSED:
        raise Refused(f"Container {container.name} is not paused")
    return (UnpauseRequested(),)


TRANSITION = Transition(
    decisions={Unpause: _unpause},
    moves=(
        Move(UnpauseRequested, frozenset({State.PAUSED}), State.UNPAUSING),
        Move(Unpaused, frozenset({State.UNPAUSING}), State.RUNNING),
        Move(UnpauseFailed, frozenset({State.UNPAUSING}), State.PAUSED),
    ),
)
