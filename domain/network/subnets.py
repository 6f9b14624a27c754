"""Which subnet a network gets: what was asked for, checked, or the first one of the pools that is free here.

Addresses are `ipaddress` objects; `taken` are subnets that exist already: of other networks, and of the host's routes,
addresses and resolvers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from domain.errors import InvalidValue, Refused

Address = IPv4Address | IPv6Address
Subnet = IPv4Network | IPv6Network

_SMALLEST_V4, _SMALLEST_V6 = 30, 126
"""Longest prefixes that leave room for a gateway and one container."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Addresses to cut subnets of one size from."""

    base: IPv4Network
    prefix: int

    def subnets(self) -> Iterator[IPv4Network]:
        """All of them, in order."""
        return self.base.subnets(new_prefix=self.prefix)


DEFAULT_BRIDGE = IPv4Network("10.212.0.0/20")
"""The default network's subnet, where nothing else has it: away from what other engines and clusters take."""
POOLS = tuple(Pool(IPv4Network(f"10.{second}.0.0/16"), 24) for second in (213, 214, 215))
"""Where networks without a wish get theirs from: 768 of 254 addresses each."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The addresses of one network in one family.

    Dynamic addresses come from `range`; `reserved` are names of addresses that nobody gets (`--aux-address`).
    """

    subnet: Subnet
    gateway: Address
    range: Subnet
    reserved: Mapping[str, Address] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wish:
    """What was typed for one subnet; empty is no wish."""

    subnet: str = ""
    gateway: str = ""
    range: str = ""
    reserved: Mapping[str, str] = field(default_factory=dict)


def free_subnet(taken: Iterable[Subnet], pools: Sequence[Pool] = POOLS) -> IPv4Network:
    """The first subnet of the pools that overlaps with none of `taken`. Raises: Refused when there is none."""
    spans = sorted((int(net[0]), int(net[-1])) for net in taken if isinstance(net, IPv4Network))
    count = 0
    for pool in pools:
        for subnet in pool.subnets():
            count += 1
            if not _meets(int(subnet[0]), int(subnet[-1]), spans):
                return subnet
    raise Refused(f"no free subnet is left in the configured pools ({count} used)",
                  hint="remove networks that nobody needs, or give one with --subnet")


def _meets(first: int, last: int, spans: Sequence[tuple[int, int]]) -> bool:
    return any(low <= last and first <= high for low, high in spans)


def overlap(subnet: Subnet, others: Mapping[str, Sequence[Subnet]]) -> str:
    """Who in `others` (a name → its subnets) has part of `subnet`; empty if nobody."""
    for name, subnets in others.items():
        if any(net.version == subnet.version and subnet.overlaps(net) for net in subnets):
            return name
    return ""


def plan(wish: Wish, fallback: Subnet) -> Plan:
    """The addresses of a network that was asked for so, on `fallback` if no subnet was named.

    Raises: InvalidValue, naming the value that does not fit.
    """
    subnet = _subnet(wish.subnet) if wish.subnet else fallback
    gateway = _inside(wish.gateway, subnet, "gateway") if wish.gateway else subnet[1]
    narrow = _range(wish.range, subnet) if wish.range else subnet
    reserved = {name: _inside(text, subnet, "auxiliary address") for name, text in wish.reserved.items()}
    if gateway in reserved.values():
        raise InvalidValue(f"the auxiliary address {gateway} is the gateway's", hint="reserve another one")
    return Plan(subnet, gateway, narrow, reserved)


def wishes(
    subnets: Sequence[str], gateways: Sequence[str], ranges: Sequence[str], reserved: Mapping[str, str]
) -> tuple[Wish, ...]:
    """What `--subnet`, `--gateway`, `--ip-range` and `--aux-address` say, sorted by the subnets they lie in.

    Raises: InvalidValue for one that lies in no subnet, or in a subnet that has one already.
    """
    if not subnets:
        return _without_subnet(gateways, ranges, reserved)
    nets = [_subnet(text) for text in subnets]
    if any(a.version == b.version for at, a in enumerate(nets) for b in nets[at + 1:]):
        raise InvalidValue("a network has at most one subnet of each family")
    found: list[dict[str, str]] = [{} for _ in nets]
    extra: list[dict[str, str]] = [{} for _ in nets]
    for what, values in (("gateway", gateways), ("range", ranges)):
        for value in values:
            at = _home(value, nets, what)
            if what in found[at]:
                raise InvalidValue(f"the subnet {nets[at]} has a second {what}: {value}")
            found[at][what] = value
    for name, value in reserved.items():
        extra[_home(value, nets, "auxiliary address")][name] = value
    return tuple(Wish(str(net), one.get("gateway", ""), one.get("range", ""), more)
                 for net, one, more in zip(nets, found, extra, strict=True))


def _without_subnet(gateways: Sequence[str], ranges: Sequence[str], reserved: Mapping[str, str]) -> tuple[Wish, ...]:
    for option, given in (("--gateway", gateways), ("--ip-range", ranges), ("--aux-address", reserved)):
        if given:
            raise InvalidValue(f"{option} needs a subnet", hint="give the network's --subnet as well")
    return ()


def _home(text: str, nets: Sequence[Subnet], what: str) -> int:
    """The number of the subnet in which an address, or a range, lies."""
    first = _subnet(text)[0] if "/" in text else _address(text, what)
    for at, net in enumerate(nets):
        if first in net:
            return at
    raise InvalidValue(f"no matching subnet for {what} {text}", hint=f"subnets: {', '.join(map(str, nets))}")


def _subnet(text: str) -> Subnet:
    try:
        net = ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidValue(f"invalid subnet {text!r}", hint="write it as 10.1.2.0/24 or fd00:1::/64") from error
    if "/" not in text or net.prefixlen > (_SMALLEST_V4 if net.version == 4 else _SMALLEST_V6):
        raise InvalidValue(f"the subnet {text!r} has no room for a gateway and a container", hint="shorten the prefix")
    if net.is_multicast or net.is_loopback or net.is_link_local or net.prefixlen == 0:
        raise InvalidValue(f"the subnet {text!r} cannot be used for containers", hint="use a private one")
    return net


def _range(text: str, subnet: Subnet) -> Subnet:
    try:
        net = ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidValue(f"invalid range {text!r}", hint="write it as 10.1.2.128/25") from error
    if net.version != subnet.version or not net.subnet_of(subnet):  # type: ignore[arg-type]
        raise InvalidValue(f"the range {text} does not lie in the subnet {subnet}")
    return net


def _inside(text: str, subnet: Subnet, what: str) -> Address:
    address = _address(text, what)
    if address not in subnet or address == subnet[0]:
        raise InvalidValue(f"the {what} {text} does not lie in the subnet {subnet}")
    if subnet.version == 4 and address == subnet[-1]:
        raise InvalidValue(f"the {what} {text} is the broadcast address of {subnet}")
    return address


def _address(text: str, what: str) -> Address:
    try:
        return ip_address(text)
    except ValueError as error:
        raise InvalidValue(f"invalid {what} {text!r}", hint="give an IP address") from error
