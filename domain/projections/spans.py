"""Spans: in which state every container was at every position of the log, for `ps -a --at`.

One row per container and change, held from `from_pos` until before `to_pos`. A time becomes a position first
(`EventStore.position_at`); what else was true of a container at that position its own stream tells.
"""

from domain.container import State
from domain.lifecycle import MACHINE
from domain.lifecycle.create import Created
from domain.lifecycle.exit import Exited
from domain.lifecycle.remove import Removed
from domain.lifecycle.rename import Renamed
from domain.lifecycle.start import Started, StartFailed, StartRequested
from domain.messages import Recorded
from domain.projections.fold import Column, Row


class Spans:
    """Key: container id; `rest` is where a start that fails leads back to."""

    name = "spans"
    inline = False
    temporal = True
    revision = 1
    columns = (
        Column("id", "text"),
        Column("name", "text"),
        Column("state", "text"),
        Column("rest", "text"),
        Column("exit_code", "integer"),
    )

    def keys(self, record: Recorded) -> tuple[str, ...]:
        """Only the container's own stream touches its row."""
        return (record.stream.key,) if record.stream.kind == "container" else ()

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """The state after the event."""
        event = record.event
        if isinstance(event, Created):
            state = State.CREATED.value
            return {"id": key, "name": event.name, "state": state, "rest": state, "exit_code": 0}
        if row is None or isinstance(event, Removed):
            return None
        before, rest = str(row["state"]), str(row["rest"])
        after = MACHINE.leads(before, rest, event)
        if isinstance(event, StartRequested):
            rest = State.EXITED.value if before == State.RESTARTING else before
        return {
            "id": key,
            "name": event.name if isinstance(event, Renamed) else row["name"],
            "state": after,
            "rest": rest,
            "exit_code": _exit_code(row, event),
        }


def _exit_code(row: Row, event: object) -> object:
    match event:
        case Exited():
            return event.code
        case StartFailed():
            return event.exit_code
        case Started():
            return 0
    return row["exit_code"]
