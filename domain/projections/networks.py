"""The networks of this host: one row each, gone when nothing of the network is left."""

from domain.messages import Recorded
from domain.network.events import NetworkCreated, NetworkRemoved, NetworkRemoveFailed, NetworkRemoveRequested
from domain.projections.fold import Column, Row


class Networks:
    """Key: network id. No two have one name. `state` is present, removing or stuck (see `domain.network.streams`),
    `network` the whole network as it is stored, `created_at` in ns; `error` says what could not be taken away."""

    name = "networks"
    inline = True
    revision = 2
    cares = frozenset({NetworkCreated, NetworkRemoveRequested, NetworkRemoved, NetworkRemoveFailed})
    columns = (
        Column("id", "text"),
        Column("name", "text", unique=True),
        Column("driver", "text"),
        Column("network", "json"),
        Column("created_at", "integer"),
        Column("state", "text"),
        Column("error", "text"),
    )

    def keys(self, record: Recorded) -> tuple[str, ...]:
        """Only the network's own stream touches its row."""
        return (record.stream.key,) if record.stream.kind == "network" else ()

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """The row after the event."""
        match record.event:
            case NetworkCreated(network=network):
                return {
                    "id": key,
                    "name": network.name,
                    "driver": network.driver,
                    "network": network.model_dump(mode="json"),
                    "created_at": record.time,
                    "state": "present",
                    "error": "",
                }
            case NetworkRemoveRequested() if row is not None:
                return {**row, "state": "removing", "error": ""}
            case NetworkRemoveFailed(residue=residue) if row is not None:
                return {**row, "state": "stuck", "error": residue}
            case NetworkRemoved():
                return None
            case _:
                return row


class PastNetworks:
    """Key: network id; what is left of a network that may be removed. Rows are never deleted."""

    name = "past_networks"
    inline = False
    revision = 1
    cares = frozenset({NetworkCreated, NetworkRemoved})
    columns = (
        Column("id", "text"),
        Column("name", "text", indexed=True),
        Column("created_at", "integer"),
        Column("removed_at", "integer"),
    )

    def keys(self, record: Recorded) -> tuple[str, ...]:
        """The network's own stream."""
        return (record.stream.key,) if record.stream.kind == "network" else ()

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """Name and life span."""
        match record.event:
            case NetworkCreated(network=network):
                return {"id": key, "name": network.name, "created_at": record.time, "removed_at": 0}
            case NetworkRemoved() if row is not None:
                return {**row, "removed_at": record.time}
            case _:
                return row
