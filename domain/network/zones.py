"""Who is called what on which network, and what a container is told when it asks for a name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address
Addresses = tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Zone:
    """The names of one network: lower-case name → addresses of all containers that are called so. One that is not
    `open` is for links alone: nobody else is told its names."""

    name: str
    names: Mapping[str, Addresses]
    reverse: Mapping[Address, str] = field(default_factory=dict)
    open: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """A name is known here: never ask anybody else, even if it has no address of the wanted family."""

    addresses: Addresses


def zone(network: str, members: Mapping[str, tuple[Addresses, Sequence[str]]], *, open: bool = True) -> Zone:
    """The names of a network; `members` maps a container's name to its addresses and its other names there."""
    names: dict[str, Addresses] = {}
    reverse: dict[Address, str] = {}
    for name, (addresses, others) in members.items():
        for each in dict.fromkeys(text.lower() for text in (name, *others)):
            names[each] = names.get(each, ()) + addresses
        reverse |= {address: f"{name}.{network}" for address in addresses}
    return Zone(network.lower(), names, reverse, open)


def find(name: str, zones: Sequence[Zone], links: Mapping[str, Sequence[str]]) -> Known | None:
    """What `name` means to a container on `zones`, in the order in which it was connected to them; None: nothing, here.

    `links` are names that only this container knows, for names of others there: the first that is there counts. A whole
    name is looked for on every network, then `a.b` of `a.b.c` on the network `c`, then `a` on the network `b.c`, and so
    on.
    """
    if name in links:
        return next((known for other in links[name] if (known := _found(other, zones))), Known(()))
    return _found(name, [each for each in zones if each.open])


def _found(name: str, zones: Sequence[Zone]) -> Known | None:
    for each in zones:
        if name in each.names:
            return Known(each.names[name])
    labels = name.split(".")
    for at in range(len(labels) - 1, 0, -1):
        front, network = ".".join(labels[:at]), ".".join(labels[at:])
        for each in zones:
            if each.name == network and front in each.names:
                return Known(each.names[front])
    return None


def host(address: Address, zones: Sequence[Zone]) -> str:
    """The name of the container that has `address` on one of the networks; empty if none has."""
    return next((each.reverse[address] for each in zones if each.open and address in each.reverse), "")
