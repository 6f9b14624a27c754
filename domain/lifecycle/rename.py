"""Rename: another name for the same container; decided and done at once."""

from collections.abc import Mapping

from domain.container import Container, State
from domain.errors import Refused
from domain.lifecycle.absent import present
from domain.machine import Move, Transition
from domain.messages import Command, Event, Recorded

NAMED = frozenset(State) - {State.ABSENT, State.REMOVING, State.REMOVED}


class Rename(Command):
    """Call it `name`."""

    name: str


class Renamed(Event, stored_as="renamed.v1"):
    """The container answers to `name` from now on."""

    name: str
    old: str


def _rename(container: Container, command: Rename) -> tuple[Event, ...]:
    present(container)
    if command.name == container.name:
        raise Refused(f"Renaming a container with the same name as its current name: {command.name}")
    return (Renamed(name=command.name, old=container.name),)


def _renamed(container: Container, event: Renamed, record: Recorded) -> Mapping[str, object]:
    return {"name": event.name}


TRANSITION = Transition(decisions={Rename: _rename}, moves=(Move(Renamed, NAMED, None, _renamed),))
