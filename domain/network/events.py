"""What happens to networks; each has a stream of its own (`network/<id>`), whose id is never used again."""

from domain.messages import Event
from domain.network.model import Network


class NetworkCreated(Event, stored_as="network-created.v1"):
    """Containers can be connected to it from now on."""

    network: Network


class NetworkRemoveRequested(Event, stored_as="network-remove-requested.v1", intent=True):
    """Nobody can be connected to it any more; what the kernel has of it is to go."""


class NetworkRemoved(Event, stored_as="network-removed.v1", settles=("network-remove-requested.v1",)):
    """No link, rule or address of it is left; its name and subnets are free. `name` and `driver` are what it had."""

    name: str = ""
    driver: str = ""


class NetworkRemoveFailed(Event, stored_as="network-remove-failed.v1", settles=("network-remove-requested.v1",)):
    """Something could not be taken away; it can be removed once more."""

    residue: str
