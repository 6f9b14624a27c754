"""The state machine: Transition, decide() and evolve(). Pure; the table itself is `domain.lifecycle.TRANSITIONS`.

A command is decided against the folded container and gives events (none: the wish is already fulfilled). An event moves
the state as its `Move` says; every other cell of the product state × event raises.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.container import Container, State
from domain.errors import IllegalTransition, Refused
from domain.messages import Command, Event, Recorded

Change = Callable[[Container, Any, Recorded], Mapping[str, object]]
Decision = Callable[[Container, Any], tuple[Event, ...]]


def unchanged(container: Container, event: Event, record: Recorded) -> Mapping[str, object]:
    """For events that change nothing but the state."""
    return {}


@dataclass(frozen=True, slots=True)
class Move:
    """`event` leads from any state in `start` to `to`: a state, None to stay, or a function of the container."""

    event: type[Event]
    start: frozenset[State]
    to: State | Callable[[Container], State] | None
    change: Change = unchanged


@dataclass(frozen=True, slots=True)
class Transition:
    """One verb: how its commands are decided and where its events lead."""

    decisions: Mapping[type[Command], Decision]
    moves: tuple[Move, ...]


class Machine:
    """The table of all transitions, indexed for deciding and folding."""

    def __init__(self, transitions: Sequence[Transition]) -> None:
        self.decisions: dict[type[Command], Decision] = {}
        self.moves: dict[type[Event], Move] = {}
        self._cells: dict[tuple[str, str, type[Event]], str] = {}
        for transition in transitions:
            self.decisions.update(transition.decisions)
            self.moves.update({move.event: move for move in transition.moves})

    def decide(self, container: Container, command: Command) -> tuple[Event, ...]:
        """The events that fulfil the command.

        Raises: Refused with the reason, in the words users of the industry's CLI know.
        """
        decision = self.decisions.get(type(command))
        if decision is None:
            raise Refused(f"a container knows no command {type(command).__name__}")
        return decision(container, command)

    def target(self, container: Container, event: Event) -> State:
        """Where the event leads. Raises: IllegalTransition."""
        move = self.moves.get(type(event))
        if move is None or container.state not in move.start:
            raise IllegalTransition(
                f"{event.stored_as or type(event).__name__} cannot happen to a container that is "
                f"{container.state} ({container.short})"
            )
        if move.to is None:
            return container.state
        return move.to if isinstance(move.to, State) else move.to(container)

    def leads(self, state: str, rest: str, event: Event) -> str:
        """`target` for a row of a projection, which knows only these names; asked once per cell of the table, because
        a rebuild asks for every event ever stored. Raises: IllegalTransition."""
        cell = state, rest, type(event)
        known = self._cells.get(cell)
        if known is None:
            known = self._cells[cell] = self.target(Container(id="", state=State(state), rest=State(rest)), event).value
        return known

    def evolve(self, container: Container, record: Recorded) -> Container:
        """The container after the event. Raises: IllegalTransition."""
        event = record.event
        state = self.target(container, event)
        changes: dict[str, Any] = dict(self.moves[type(event)].change(container, event, record))
        changes |= {"state": state, "version": record.version, "open": _still_open(container.open, record)}
        return container.changed(changes)

    def fold(self, id: str, records: Sequence[Recorded]) -> Container:
        """All events of one stream, oldest first."""
        container = Container(id=id)
        for record in records:
            container = self.evolve(container, record)
        return container


def settled_by(open_intents: Mapping[int, str], event: Event, cause: int) -> set[int]:
    """The positions of the open intents that the event ends (the rule is in `domain.messages.Event`)."""
    ended = set()
    for position, kind in open_intents.items():
        if kind in event.settles_all or (kind in event.settles and cause in {0, position}):
            ended.add(position)
    return ended


def _still_open(before: Mapping[int, str], record: Recorded) -> Mapping[int, str]:
    """Open intents after the event."""
    ended = settled_by(before, record.event, record.meta.cause)
    if not record.event.intent and not ended:
        return before
    after = {position: kind for position, kind in before.items() if position not in ended}
    if record.event.intent:
        after[record.position] = record.event.stored_as
    return after
