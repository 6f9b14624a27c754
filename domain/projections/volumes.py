"""The volumes of this host: one row each, gone when its contents are."""

from domain.messages import Recorded
from domain.projections.fold import Column, Row
from domain.volumes.events import (
    VolumeClaimed,
    VolumeCreated,
    VolumeReleased,
    VolumeRemoved,
    VolumeRemoveFailed,
    VolumeRemoveRequested,
)


class Volumes:
    """Key: the name. `state` is present, removing or broken; `users` are ids of containers, in the order of their
    claims; `created` in ns."""

    name = "volumes"
    inline = True
    revision = 1
    cares = frozenset({
        VolumeCreated, VolumeClaimed, VolumeReleased, VolumeRemoveRequested, VolumeRemoveFailed, VolumeRemoved,
    })
    columns = (
        Column("name", "text"),
        Column("driver", "text"),
        Column("options", "json"),
        Column("labels", "json"),
        Column("anonymous", "integer"),
        Column("created", "integer"),
        Column("state", "text"),
        Column("users", "json"),
    )

    def keys(self, record: Recorded) -> tuple[str, ...]:
        """Only the volume's own stream touches its row."""
        return (record.stream.key,) if record.stream.kind == "volume" else ()

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """The row after the event."""
        if isinstance(record.event, VolumeCreated):
            return _created(record.event, record.time, key)
        if row is None or isinstance(record.event, VolumeRemoved):
            return None
        users = [str(id) for id in row["users"]] if isinstance(row["users"], list | tuple) else []
        match record.event:
            case VolumeClaimed(container=container):
                return {**row, "users": [*users, container]}
            case VolumeReleased(container=container):
                return {**row, "users": [id for id in users if id != container]}
            case VolumeRemoveRequested():
                return {**row, "state": "removing"}
            case VolumeRemoveFailed():
                return {**row, "state": "broken"}
            case _:
                return row


def _created(event: VolumeCreated, time: int, key: str) -> Row:
    return {
        "name": key,
        "driver": event.driver,
        "options": dict(sorted(event.options.items())),
        "labels": dict(sorted(event.labels.items())),
        "anonymous": int(event.anonymous),
        "created": time,
        "state": "present",
        "users": [],
    }
