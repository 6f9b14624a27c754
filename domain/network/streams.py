"""The fold of a network's stream, and what may be appended to it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from domain.errors import Conflict, IllegalTransition, InUse, NotFound, Refused
from domain.messages import Append, Event, Recorded, StreamId
from domain.network.events import NetworkCreated, NetworkRemoved, NetworkRemoveFailed, NetworkRemoveRequested
from domain.network.model import Network

State = Literal["absent", "present", "removing", "stuck", "removed"]
"""`stuck`: it was to be removed, and something of it could not be taken away."""
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class NetworkStream:
    """One network: `request` is the position of the open wish to remove it, `created_at` in ns."""

    id: str
    version: int = 0
    state: State = "absent"
    network: Network | None = None
    created_at: int = 0
    request: int = 0

    @property
    def stream(self) -> StreamId:
        """Where its events are."""
        return StreamId("network", self.id)

    def append(self, *events: Event) -> Append:
        """Valid only while nobody else has appended."""
        return Append(self.stream, self.version, events)


def fold_network(id: str, records: Sequence[Recorded]) -> NetworkStream:
    """The network after its events. Raises: IllegalTransition."""
    network = NetworkStream(id)
    for record in records:
        network = replace(_after(network, record), version=record.version)
    return network


def _after(network: NetworkStream, record: Recorded) -> NetworkStream:
    match record.event:
        case NetworkCreated() as event if network.state == "absent":
            return replace(network, state="present", network=event.network, created_at=record.time)
        case NetworkRemoveRequested() if network.state in ("present", "stuck"):
            return replace(network, state="removing", request=record.position)
        case NetworkRemoved() if network.state == "removing":
            return replace(network, state="removed", request=0)
        case NetworkRemoveFailed() if network.state == "removing":
            return replace(network, state="stuck", request=0)
        case _:
            raise IllegalTransition(f"{record.stream}: {record.event.stored_as} while {network.state}")


def create(current: NetworkStream, network: Network) -> Append:
    """What makes the network known. Raises: Conflict when there is one with this id."""
    if current.state != "absent":
        raise Conflict(f"network {current.id[:12]} exists already")
    return current.append(NetworkCreated(network=network))


def request_removal(current: NetworkStream, users: Sequence[str]) -> Append:
    """The wish to remove it; `users` are the names of containers that are connected to it and live.

    Raises: NotFound, Refused for those that every host has, InUse naming who is connected, Conflict when it is being
    removed at the moment.
    """
    if current.network is None or current.state == "removed":
        raise NotFound(f"network {current.id[:12]} not found")
    name = current.network.name
    if current.network.built_in:
        raise Refused(f"{name} is a pre-defined network and cannot be removed")
    if current.state == "removing":
        raise Conflict(f"network {name} is being removed at the moment")
    if users:
        raise in_use(name, users)
    return current.append(NetworkRemoveRequested())


def in_use(name: str, users: Sequence[str]) -> InUse:
    """The refusal, with the names of those who are connected."""
    told = ", ".join(users[:_MOST_NAMED]) + (f" and {len(users) - _MOST_NAMED} more" if users[_MOST_NAMED:] else "")
    count = "1 container" if len(users) == 1 else f"{len(users)} containers"
    return InUse(
        f"error while removing network: network {name} has active endpoints: it still has {count}: {told}",
        hint="\n".join(f"lading stop {user}" for user in users[:_MOST_NAMED]),
    )
