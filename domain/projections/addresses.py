"""Who has which address on which network: now, as a rule that no two may break, and at any time."""

from collections.abc import Iterator

from domain.lifecycle.network import (
    ConnectFailed,
    ConnectRequested,
    Disconnected,
    NetworkGranted,
    NetworkReleased,
)
from domain.lifecycle.remove import Removed
from domain.messages import Event, Recorded
from domain.network.wishes import Interface
from domain.projections.fold import Column, Row

_TOUCHING = (NetworkGranted, NetworkReleased, ConnectRequested, ConnectFailed, Disconnected)


def _interfaces(event: Event) -> Iterator[Interface]:
    match event:
        case NetworkGranted(interfaces=found) | NetworkReleased(interfaces=found):
            yield from found
        case ConnectRequested(interface=one) | ConnectFailed(interface=one):
            yield one
        case Disconnected(interface=maybe) if maybe is not None:
            yield maybe


class Addresses:
    """Key: `container/network/address`. `held` is `network/address`: nobody else on this host has it. `live` says
    whether the container runs with it, `fixed` that it is kept for it while it does not."""

    name = "addresses"
    inline = True
    revision = 1
    cares = frozenset({*_TOUCHING, Removed})
    columns = (
        Column("key", "text"),
        Column("held", "text", unique=True),
        Column("network", "text", indexed=True),
        Column("address", "text"),
        Column("container", "text"),
        Column("live", "integer"),
        Column("fixed", "integer"),
    )

    def keys(self, record: Recorded) -> tuple[str, ...]:
        """Only the container's own stream touches its rows."""
        held = record.event.let_go if isinstance(record.event, Removed) else (
            held for interface in _interfaces(record.event) for held in interface.held)
        return tuple(f"{record.stream.key}/{each}" for each in held)

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """The row after the event."""
        container, network, address = key.split("/", 2)
        fixed = any(address in interface.fixed for interface in _interfaces(record.event))
        live = isinstance(record.event, NetworkGranted | ConnectRequested)
        if isinstance(record.event, ConnectFailed | Disconnected | Removed) or not (live or fixed):
            return None
        return {
            "key": key,
            "held": f"{network}/{address}",
            "network": network,
            "address": address,
            "container": container,
            "live": int(live),
            "fixed": int(fixed),
        }


class Tenures:
    """Key: `container/link/address`: who had an address from when to when (ns, `until` 0: still). Rows are never
    deleted."""

    name = "tenures"
    inline = False
    revision = 2
    cares = frozenset(_TOUCHING)
    columns = (
        Column("key", "text"),
        Column("address", "text", indexed=True),
        Column("network", "text"),
        Column("network_name", "text"),
        Column("container", "text"),
        Column("since", "integer", indexed=True),
        Column("until", "integer"),
    )

    def keys(self, record: Recorded) -> tuple[str, ...]:
        """Each address of each interface; every interface ever made has a name of its own on the host."""
        return tuple(f"{record.stream.key}/{interface.link}/{address}"
                     for interface in _interfaces(record.event) for address in interface.hosts)

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """From the moment in which it was given."""
        if row is not None:
            ends = isinstance(record.event, NetworkReleased | ConnectFailed | Disconnected)
            return {**row, "until": record.time} if ends and not row["until"] else row
        container, link, address = key.split("/", 2)
        interface = next(each for each in _interfaces(record.event) if each.link == link)
        return {
            "key": key,
            "address": address,
            "network": interface.network,
            "network_name": interface.network_name,
            "container": container,
            "since": record.time,
            "until": 0,
        }
