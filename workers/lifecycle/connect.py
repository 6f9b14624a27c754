"""Carry out connects and disconnects of a running container: an interface more, an interface less."""

from domain.container import Container
from domain.errors import LadingError, Unavailable
from domain.failpoints import failpoint
from domain.lifecycle.network import (
    Connected,
    ConnectFailed,
    ConnectRequested,
    Disconnected,
    DisconnectFailed,
    DisconnectRequested,
    left,
)
from domain.messages import Recorded
from workers.lifecycle.hands import Hands


async def connect(container: Container, intent: Recorded, hands: Hands) -> Connected | ConnectFailed:
    """The interface is in the log already; what cannot be made is taken back there."""
    event = intent.event
    assert isinstance(event, ConnectRequested)
    failpoint("connect.before-act")
    try:
        before = container.lease.without(event.interface.network) if container.lease is not None else None
        await hands.leases.change(container, before, container.lease)
    except Unavailable:
        raise
    except LadingError as error:
        return ConnectFailed(attachment=event.attachment, interface=event.interface, reason=error.message)
    failpoint("connect.after-act")
    return Connected(attachment=event.attachment, interface=event.interface)


async def disconnect(container: Container, intent: Recorded, hands: Hands) -> Disconnected | DisconnectFailed:
    """Its address is free when the outcome is in the log."""
    event = intent.event
    assert isinstance(event, DisconnectRequested)
    failpoint("disconnect.before-act")
    try:
        lease = container.lease.left(event.network, event.leading) if container.lease is not None else None
        await hands.leases.change(container, container.lease, lease)
    except Unavailable:
        raise
    except LadingError as error:
        return DisconnectFailed(
            attachment=event.attachment, network=event.network, name=event.name, reason=error.message
        )
    failpoint("disconnect.after-act")
    return left(container, event.network, event.name, event.leading)
