"""Attach: somebody watches, or types into, the first process. A fact for the audit; the container does not change."""

from collections.abc import Mapping

from domain.container import Container, State
from domain.errors import Refused
from domain.lifecycle.absent import present
from domain.machine import Move, Transition
from domain.messages import Command, Event, Recorded

EXISTS = frozenset(State) - {State.ABSENT, State.REMOVED}


class Attach(Command):
    """Take part in `streams` (of `stdin`, `stdout`, `stderr`); with `starting` of the run that is about to begin."""

    streams: tuple[str, ...] = ()
    tty: bool = False
    starting: bool = False


class Attached(Event, stored_as="attached.v1"):
    """A client takes part in these streams from now on."""

    streams: tuple[str, ...] = ()
    tty: bool = False


def _attach(container: Container, command: Attach) -> tuple[Event, ...]:
    present(container)
    if not command.starting:
        _runs(container)
    return (Attached(streams=command.streams, tty=command.tty),)


def _runs(container: Container) -> None:
    match container.state:
        case State.PAUSED:
            raise Refused("You cannot attach to a paused container, unpause it first")
        case State.RESTARTING:
            raise Refused("You cannot attach to a restarting container, wait until it is running")
        case State.CREATED | State.EXITED | State.DEAD:
            raise Refused("You cannot attach to a stopped container, start it first")


def _attached(container: Container, event: Attached, record: Recorded) -> Mapping[str, object]:
    return {"attached": event.streams} if container.state is State.CREATED and not container.attempt else {}


TRANSITION = Transition(decisions={Attach: _attach}, moves=(Move(Attached, EXISTS, None, _attached),))
