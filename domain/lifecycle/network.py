"""Networks of a container: what it gets at a start, lets go of at the end of a run, and is connected to meanwhile.

What a run gets is decided while its start is under way, before anything is made in the kernel: `network-granted` names
every address, interface and port of the host, and `network-released` lets go of the same. Connecting a container that
lives is an intent with an outcome; one that rests only remembers it for its next start.
"""

from collections.abc import Mapping

from domain.container import LIVE, Container, State
from domain.errors import NotFound, Refused
from domain.lifecycle.absent import present
from domain.machine import Move, Transition
from domain.messages import Command, Event, Recorded
from domain.network.ports import Binding
from domain.network.wishes import Attachment, Interface, Lease

_RESTING = frozenset({State.CREATED, State.EXITED, State.RESTARTING})
_EXISTS = frozenset(State) - {State.ABSENT, State.REMOVED}
_AT_REST = _EXISTS - LIVE - {State.STARTING}


class Grant(Command):
    """What the run whose start is under way gets."""

    lease: Lease


class Connect(Command):
    """Be on one network more; `interface` is what it gets there at once, None for a container that rests."""

    attachment: Attachment
    interface: Interface | None = None


class Disconnect(Command):
    """Leave the network with this id and name; the last one only with `force`. If that one leads out, `leading` is what
    the next one that does becomes; None: none does."""

    network: str
    name: str
    force: bool = False
    leading: Interface | None = None


class Unlink(Command):
    """Forget the name `name` that only this container has for another one."""

    name: str


class NetworkGranted(Event, stored_as="network-granted.v1"):
    """These are the interfaces, with their addresses, and the ports of the host of the run `attempt`."""

    attempt: int
    interfaces: tuple[Interface, ...] = ()
    bindings: tuple[Binding, ...] = ()


class NetworkReleased(Event, stored_as="network-released.v1"):
    """The run `attempt` has them no longer: others may get the addresses that are not fixed, and the ports."""

    attempt: int
    interfaces: tuple[Interface, ...] = ()


class ConnectRequested(Event, stored_as="connect-requested.v1", intent=True):
    """A running container is to be on one network more, with this interface, which is its own from now on."""

    attachment: Attachment
    interface: Interface
    attempt: int


class Connected(Event, stored_as="connected.v1", settles=("connect-requested.v1",)):
    """It is on that network, or will be from its next start on (without an `interface`)."""

    attachment: Attachment
    interface: Interface | None = None


class ConnectFailed(Event, stored_as="connect-failed.v1", settles=("connect-requested.v1",)):
    """It is not, and nothing of the attempt is left."""

    attachment: Attachment
    interface: Interface
    reason: str


class DisconnectRequested(Event, stored_as="disconnect-requested.v1", intent=True):
    """A running container is to leave a network, and does not come back to it at its next start. `leading` is then its
    way out, and where its ports of the host lead; None: as before, or nowhere."""

    attachment: Attachment
    network: str
    name: str
    attempt: int
    leading: Interface | None = None


class Disconnected(Event, stored_as="disconnected.v1", settles=("disconnect-requested.v1",)):
    """It is not on that network any more; `interface` is what it had there, in this run or its last one, `leading` what
    leads out instead."""

    network: str
    name: str
    interface: Interface | None = None
    leading: Interface | None = None


class DisconnectFailed(Event, stored_as="disconnect-failed.v1", settles=("disconnect-requested.v1",)):
    """It still is."""

    attachment: Attachment
    network: str
    name: str
    reason: str


class Unlinked(Event, stored_as="unlinked.v1"):
    """It does not know another container as `name` any more."""

    name: str


def released(container: Container) -> tuple[Event, ...]:
    """What the end of a run lets go of."""
    if container.lease is None or not container.leased:
        return ()
    return (NetworkReleased(attempt=container.lease.attempt, interfaces=container.lease.interfaces),)


def _grant(container: Container, command: Grant) -> tuple[Event, ...]:
    lease = command.lease
    if container.state is not State.STARTING or container.leased or container.attempt != lease.attempt:
        return ()
    return (NetworkGranted(attempt=lease.attempt, interfaces=lease.interfaces, bindings=lease.bindings),)


def _connect(container: Container, command: Connect) -> tuple[Event, ...]:
    present(container)
    attachment, interface = command.attachment, command.interface
    if any(each.meets(attachment.id, attachment.network) for each in container.attachments):
        raise Refused(f"endpoint with name {container.name} already exists in network {attachment.network}",
                      hint=f"lading network disconnect {attachment.network} {container.name}")
    _check_own(container, "connected to a network")
    if container.state in _RESTING:
        return (Connected(attachment=attachment),)
    if container.state not in LIVE or interface is None:
        raise Refused(f"container {container.name} cannot be connected to a network: it is {container.state}")
    return (ConnectRequested(attachment=attachment, interface=interface, attempt=container.attempt),)


def _check_own(container: Container, what: str) -> None:
    """Raises: Refused for one that has no networks of its own."""
    mode = container.settled.network_mode
    if mode == "host":
        raise Refused(f"container sharing network namespace with the host cannot be {what}")
    if mode.startswith("container:"):
        raise Refused(f"container sharing network namespace with another container cannot be {what}")
    if mode == "none" and not container.attachments:
        raise Refused(f"container {container.name} has no network (--network none) and cannot be {what}")


def _disconnect(container: Container, command: Disconnect) -> tuple[Event, ...]:
    present(container)
    _check_own(container, f"disconnected from {command.name}")
    attachment = next((each for each in container.attachments if each.meets(command.network, command.name)), None)
    if attachment is None:
        raise Refused(f"container {container.name} is not connected to network {command.name}")
    if len(container.attachments) == 1 and not command.force:
        raise Refused(f"{command.name} is the last network of container {container.name}",
                      hint="connect it to another one first, or use --force")
    if container.state in _AT_REST:
        return (left(container, command.network, command.name),)
    if container.state not in LIVE:
        raise Refused(f"container {container.name} cannot leave a network while it is {container.state}")
    return (DisconnectRequested(attachment=attachment, network=command.network, name=command.name,
                                attempt=container.attempt, leading=command.leading),)


def _unlink(container: Container, command: Unlink) -> tuple[Event, ...]:
    present(container)
    if not any(command.name in each.called for each in container.attachments):
        raise NotFound(f"container {container.name} has no link called {command.name}")
    return (Unlinked(name=command.name),)


def left(container: Container, network: str, name: str, leading: Interface | None = None) -> Disconnected:
    """The fact that it is not on a network any more."""
    interface = container.lease.on(network) if container.lease is not None else None
    return Disconnected(network=network, name=name, interface=interface, leading=leading)


def _granted(container: Container, event: NetworkGranted, record: Recorded) -> Mapping[str, object]:
    lease = Lease(attempt=event.attempt, interfaces=event.interfaces, bindings=event.bindings)
    return {"lease": lease, "leased": True}


def _released(container: Container, event: NetworkReleased, record: Recorded) -> Mapping[str, object]:
    return {"leased": False}


def _wanted(container: Container, event: ConnectRequested, record: Recorded) -> Mapping[str, object]:
    lease = container.lease.with_one(event.interface) if container.lease is not None else None
    return {"attachments": (*container.attachments, event.attachment), "lease": lease}


def _connected(container: Container, event: Connected, record: Recorded) -> Mapping[str, object]:
    asked = event.attachment
    known = any(each.meets(asked.id, asked.network) for each in container.attachments)  # since it was asked for
    return {} if known else {"attachments": (*container.attachments, event.attachment)}


def _refused(container: Container, event: ConnectFailed, record: Recorded) -> Mapping[str, object]:
    lease = container.lease.without(event.interface.network) if container.lease is not None else None
    return {"attachments": _others(container, event.attachment), "lease": lease}


def _unwanted(container: Container, event: DisconnectRequested, record: Recorded) -> Mapping[str, object]:
    return {"attachments": _others(container, event.attachment)}


def _disconnected(container: Container, event: Disconnected, record: Recorded) -> Mapping[str, object]:
    stay = tuple(each for each in container.attachments if not each.meets(event.network, event.name))
    lease = container.lease.left(event.network, event.leading) if container.lease is not None else None
    return {"attachments": stay, "lease": lease}


def _kept(container: Container, event: DisconnectFailed, record: Recorded) -> Mapping[str, object]:
    return {"attachments": (*_others(container, event.attachment), event.attachment)}


def _unlinked(container: Container, event: Unlinked, record: Recorded) -> Mapping[str, object]:
    return {"attachments": tuple(each.unlinked(event.name) for each in container.attachments)}


def _others(container: Container, attachment: Attachment) -> tuple[Attachment, ...]:
    return tuple(each for each in container.attachments if not each.meets(attachment.id, attachment.network))


TRANSITION = Transition(
    decisions={Grant: _grant, Connect: _connect, Disconnect: _disconnect, Unlink: _unlink},
    moves=(
        Move(NetworkGranted, frozenset({State.STARTING}), None, _granted),
        Move(NetworkReleased, _AT_REST, None, _released),
        Move(ConnectRequested, LIVE, None, _wanted),
        Move(Connected, _EXISTS, None, _connected),
        Move(ConnectFailed, _EXISTS, None, _refused),
        Move(DisconnectRequested, LIVE, None, _unwanted),
        Move(Disconnected, _EXISTS, None, _disconnected),
        Move(DisconnectFailed, _EXISTS, None, _kept),
        Move(Unlinked, _EXISTS, None, _unlinked),
    ),
)
