"""Files that were taken out of a container or brought into it: facts for the audit; the container does not change."""

from domain.container import Container, State
from domain.machine import Move, Transition
from domain.messages import Command, Event

_EXISTS = frozenset(State) - {State.ABSENT, State.REMOVED}


class NoteCopiedOut(Command):
    """So much of what is at `path` has left the container; `broken` when it was not all."""

    path: str
    bytes: int
    broken: bool = False


class NoteCopiedIn(Command):
    """So much has come to `path`; `broken` when it was not all, and some of it may be there."""

    path: str
    bytes: int
    broken: bool = False


class NoteExported(Command):
    """So much of the root file system has left the container."""

    bytes: int
    broken: bool = False


class CopiedOut(Event, stored_as="copied-out.v1"):
    """An archive of what is at `path` was read, of so many bytes."""

    path: str
    bytes: int
    broken: bool = False


class CopiedIn(Event, stored_as="copied-in.v1"):
    """An archive of so many bytes was spread at `path`."""

    path: str
    bytes: int
    broken: bool = False


class Exported(Event, stored_as="exported.v1"):
    """The root file system was read as an archive of so many bytes."""

    bytes: int
    broken: bool = False


def _copied_out(container: Container, command: NoteCopiedOut) -> tuple[Event, ...]:
    return (CopiedOut(**command.model_dump()),) if container.state in _EXISTS else ()


def _copied_in(container: Container, command: NoteCopiedIn) -> tuple[Event, ...]:
    return (CopiedIn(**command.model_dump()),) if container.state in _EXISTS else ()


def _exported(container: Container, command: NoteExported) -> tuple[Event, ...]:
    return (Exported(**command.model_dump()),) if container.state in _EXISTS else ()


TRANSITION = Transition(
    decisions={NoteCopiedOut: _copied_out, NoteCopiedIn: _copied_in, NoteExported: _exported},
    moves=tuple(Move(event, _EXISTS, None) for event in (CopiedOut, CopiedIn, Exported)),
)
