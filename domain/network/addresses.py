"""Which address a container gets: the next one after the last that was given, so that a freed one rests."""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address

from domain.errors import InvalidValue, Refused
from domain.network.subnets import Address, Plan

MOST_ENDPOINTS = 1023
"""Ports of a Linux bridge (BR_MAX_PORTS - 1): more containers cannot be connected to one network."""


def next_address(plan: Plan, used: Collection[Address], last: Address | None, network: str) -> Address:
    """A dynamic address that nobody in `used` has; `last` is the one that was given before, None for none yet.

    Raises: Refused when the range is full; `network` is the name for that message.
    """
    taken = {int(address) for address in used} | {int(plan.gateway)} | {int(a) for a in plan.reserved.values()}
    low, high = _bounds(plan)
    begin = int(last) + 1 if last is not None and low <= int(last) < high else low
    for number in (*range(begin, min(high, begin + len(taken) + 1) + 1), *range(low, min(begin, low + len(taken) + 1))):
        if number not in taken:
            return _same_family(plan, number)
    raise Refused(f"network {network} is full: no address is left in {plan.range}",
                  hint="disconnect or remove containers, or create a network with a larger --subnet")


def fixed_address(plan: Plan, text: str, holders: "dict[Address, str]") -> Address:
    """The address that was asked for; `holders` says which container has which.

    Raises: InvalidValue for one outside of the subnet or of the wrong kind, Refused for one in use, naming who has it.
    """
    try:
        address = ip_address(text)
    except ValueError as error:
        raise InvalidValue(f"invalid address {text!r}", hint="give an IP address of the network's subnet") from error
    if address not in plan.subnet:
        raise InvalidValue(f"address {text} is not inside {plan.subnet}")
    edges = {plan.subnet[0], plan.subnet[-1]} if plan.subnet.version == 4 else {plan.subnet[0]}
    if address in edges or address == plan.gateway or address in plan.reserved.values():
        raise Refused(f"address {text} is reserved in {plan.subnet}", hint="choose another one")
    if address in holders:
        raise Refused(f"address {text} belongs to container {holders[address]}",
                      hint=f"choose another one, or free it with: lading rm {holders[address]}")
    return address


def _bounds(plan: Plan) -> tuple[int, int]:
    """First and last number that may be given; the ends of the subnet itself are not for hosts (RFC 919)."""
    low, high = int(plan.range.network_address), int(plan.range.broadcast_address)
    low += low == int(plan.subnet.network_address)
    high -= plan.subnet.version == 4 and high == int(plan.subnet.broadcast_address)
    return low, high


def _same_family(plan: Plan, number: int) -> Address:
    return IPv4Address(number) if plan.subnet.version == 4 else IPv6Address(number)


def mac_of(address: IPv4Address) -> str:
    """The hardware address that goes with an address for ever, so that no neighbour's table can be stale."""
    return "02:1d:" + ":".join(f"{byte:02x}" for byte in address.packed)


def interface_id(subnet_v6: "Plan", address: IPv4Address, plan_v4: Plan) -> IPv6Address:
    """The IPv6 address of a container: its number among the IPv4 addresses, in the other subnet."""
    return IPv6Address(int(subnet_v6.subnet[0]) + int(address) - int(plan_v4.subnet[0]))


def link_local(text: str) -> str:
    """An address that is valid on one link only (RFC 3927, RFC 4291), with the prefix of its kind. Raises:
    InvalidValue for others."""
    try:
        address = ip_address(text)
    except ValueError as error:
        raise InvalidValue(f"{text} is not an ip address") from error
    if not address.is_link_local:
        raise InvalidValue(f"{text} is not a link-local address", hint="they begin with 169.254. or fe80:")
    return f"{address}/{16 if address.version == 4 else 64}"


def hardware_address(text: str) -> str:
    """A MAC address as it is written, in small letters. Raises: InvalidValue for others, and for groups' addresses."""
    parts = text.replace("-", ":").lower().split(":")
    if len(parts) != 6 or any(len(part) != 2 or set(part) - set("0123456789abcdef") for part in parts):
        raise InvalidValue(f"invalid MAC address {text!r}", hint="write it as 02:42:ac:11:00:02")
    if int(parts[0], 16) & 1 or set(parts) == {"00"}:
        raise InvalidValue(f"the MAC address {text!r} is not that of one interface", hint="its first byte must be even")
    return ":".join(parts)
