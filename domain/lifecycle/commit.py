"""Commit: a new image from what the container has changed; the container itself goes on as it was."""

from domain.container import Container, State
from domain.errors import Refused
from domain.images.reference import parse_target
from domain.lifecycle.absent import present
from domain.machine import Move, Transition
from domain.messages import Command, Event

COMMITTABLE = frozenset({State.CREATED, State.RUNNING, State.PAUSED, State.EXITED, State.STOPPING, State.RESTARTING})
_ANY = frozenset(State) - {State.ABSENT, State.REMOVED}


class Commit(Command):
    """Make an image called `reference` (may be empty); `changes` are instructions for its config."""

    reference: str = ""
    author: str = ""
    message: str = ""
    changes: tuple[str, ...] = ()
    pause: bool = True


class CommitRequested(Event, stored_as="commit-requested.v1", intent=True):
    """An image is to be made."""

    reference: str = ""
    author: str = ""
    message: str = ""
    changes: tuple[str, ...] = ()
    pause: bool = True


class Committed(Event, stored_as="committed.v1", settles=("commit-requested.v1",)):
    """The image exists."""

    image_id: str
    reference: str = ""


class CommitFailed(Event, stored_as="commit-failed.v1", settles=("commit-requested.v1",)):
    """No image was made."""

    reason: str


def _commit(container: Container, command: Commit) -> tuple[Event, ...]:
    present(container)
    if container.state not in COMMITTABLE:
        raise Refused(f"cannot commit container {container.name}: it is {container.state}")
    if command.reference:
        parse_target(command.reference)
    return (CommitRequested(**command.model_dump()),)


TRANSITION = Transition(
    decisions={Commit: _commit},
    moves=(
        Move(CommitRequested, COMMITTABLE, None),
        Move(Committed, _ANY, None),
        Move(CommitFailed, _ANY, None),
    ),
)
