"""Every name a container ever had, so that what once existed can be named again. Rows are never deleted.

Neither holds a set rule, so they follow the log a little later and cost no append anything; views catch up first.
"""

from domain.lifecycle.create import Created
from domain.lifecycle.exit import Exited
from domain.lifecycle.remove import Removed
from domain.lifecycle.rename import Renamed
from domain.lifecycle.start import StartFailed
from domain.messages import Recorded
from domain.projections.fold import Column, Row


class Names:
    """Key: `<id>/<name>`; `since` is the position at which the container took the name."""

    name = "names"
    inline = False
    revision = 1
    cares = frozenset({Created, Renamed})
    columns = (
        Column("key", "text"),
        Column("name", "text", indexed=True),
        Column("id", "text"),
        Column("since", "integer"),
        Column("time", "integer"),
    )

    def keys(self, record: Recorded) -> tuple[str, ...]:
        """Events that give a name."""
        if isinstance(record.event, Created | Renamed):
            return (f"{record.stream.key}/{record.event.name}",)
        return ()

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """The first time counts."""
        id, _, name = key.partition("/")
        return row or {"key": key, "name": name, "id": id, "since": record.position, "time": record.time}


class Past:
    """Key: container id; what is left of a container that may be removed. Rows are never deleted."""

    name = "past"
    inline = False
    revision = 1
    cares = frozenset({Created, Renamed, Removed, Exited, StartFailed})
    columns = (
        Column("id", "text"),
        Column("name", "text"),
        Column("created_at", "integer"),
        Column("removed_at", "integer"),
        Column("exit_code", "integer"),
    )

    def keys(self, record: Recorded) -> tuple[str, ...]:
        """The container's own stream."""
        return (record.stream.key,) if record.stream.kind == "container" else ()

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """Name, life span and last exit status."""
        event = record.event
        if isinstance(event, Created):
            return {"id": key, "name": event.name, "created_at": record.time, "removed_at": 0, "exit_code": 0}
        if row is None:
            return None
        if isinstance(event, Renamed):
            return {**row, "name": event.name}
        if isinstance(event, Removed):
            return {**row, "removed_at": record.time}
        if isinstance(event, Exited):
            return {**row, "exit_code": event.code}
        if isinstance(event, StartFailed):
            return {**row, "exit_code": event.exit_code}
        return row
