"""What a container gets on its networks at a start: interfaces, addresses and the way out. Pure.

    joined = Joining(id=network_id, network=network, holders={IPv4Address("10.213.0.2"): "web"})
    (endpoint,) = endpoints([joined], ["lv3f9a01c2"])
    (endpoint.name, endpoint.addresses) == ("eth0", ("10.213.0.3/24",))
"""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address

from domain.errors import InvalidValue, Refused
from domain.network.addresses import (
    MOST_ENDPOINTS,
    fixed_address,
    hardware_address,
    interface_id,
    mac_of,
    next_address,
)
from domain.network.model import Network
from domain.network.setup import Endpoint
from domain.network.subnets import Address, Plan
from domain.network.wishes import Attachment, Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """One network that a container is to be on: `holders` says which container has which address there, also those
    that are kept for containers at rest, `last` is the address that was given before, `preferred` the one that this
    container had. `ip`, `ip6`, `mac` and `name` are wishes; the highest `priority` leads out."""

    id: str
    network: Network
    holders: Mapping[Address, str] = field(default_factory=dict)
    last: Address | None = None
    preferred: str = ""
    ip: str = ""
    ip6: str = ""
    mac: str = ""
    priority: int = 0
    name: str = ""


def endpoints(joining: Sequence[Joining], links: Sequence[str], taken: Collection[str] = ()) -> tuple[Endpoint, ...]:
    """An interface for each network, in order; `links` are names for their ends on the host, `taken` names that the
    container has inside already.

    Raises: InvalidValue for a wish that cannot be meant, Refused for an address in use, naming whose, and for a network
    that is full.
    """
    leading = max(range(len(joining)), key=lambda at: (_leads_out(joining[at]), joining[at].priority, -at), default=0)
    names = _names([each.name for each in joining], taken)
    return tuple(
        _endpoint(each, link, name, leads=at == leading and _leads_out(each))
        for at, (each, link, name) in enumerate(zip(joining, links, names, strict=True))
    )


def _names(wished: Sequence[str], taken: Collection[str]) -> list[str]:
    """Of the interfaces inside: as they are wished, the others eth0, eth1, and so on. Raises: Refused."""
    given = [*taken, *filter(None, wished)]
    twice = next((name for name in wished if name and given.count(name) > 1), None)
    if twice is not None:
        raise Refused(f"a container cannot have two interfaces called {twice}", hint="choose another ifname")
    free = (name for name in map("eth{}".format, itertools.count()) if name not in given)
    return [name or next(free) for name in wished]


def _leads_out(joining: Joining) -> bool:
    return not joining.network.internal


def next_way_out(
    interfaces: Sequence[Interface], attachments: Sequence[Attachment], networks: Mapping[str, Network]
) -> Interface | None:
    """What leads out of a container that has these interfaces left, of which none does yet: that of the highest
    priority, then the first. None when there are only internal ones. `networks` are by id."""
    open_ones = [each for each in interfaces if each.network in networks and not networks[each.network].internal]
    if not open_ones:
        return None
    priorities = {
        each.network: next((wish.priority for wish in attachments if wish.meets(each.network, each.network_name)), 0)
        for each in open_ones
    }
    found = max(open_ones, key=lambda each: priorities[each.network])  # of several the first
    versions = {ip_address(host).version for host in found.hosts}
    plans = [one.plan for one in networks[found.network].addresses]
    gateways = tuple(str(plan.gateway) for plan in plans if plan.subnet.version in versions)
    return found.model_copy(update={"gateways": gateways})


def _endpoint(joining: Joining, link: str, name: str, *, leads: bool) -> Endpoint:
    network, plans = joining.network, [one.plan for one in joining.network.addresses]
    if len(set(joining.holders.values())) >= MOST_ENDPOINTS:
        raise Refused(
            f"network {network.name} is full: a bridge takes {MOST_ENDPOINTS} containers",
            hint="connect the next ones to another network",
        )
    plan_v4 = next(plan for plan in plans if plan.subnet.version == 4)
    plan_v6 = next((plan for plan in plans if plan.subnet.version == 6), None)
    if joining.ip6 and plan_v6 is None:
        raise InvalidValue(f"network {network.name} has no addresses of version 6", hint="create it with --ipv6")
    first = _address(joining, plan_v4)
    found: list[tuple[Plan, Address]] = [(plan_v4, first)]
    if plan_v6 is not None:
        found.append((plan_v6, _address_v6(joining, plan_v6, plan_v4, first)))
    return Endpoint(
        network=joining.id,
        link=link,
        name=name,
        mac=hardware_address(joining.mac) if joining.mac else mac_of(first),
        addresses=tuple(f"{address}/{plan.subnet.prefixlen}" for plan, address in found),
        gateways=tuple(str(plan.gateway) for plan, _ in found) if leads else (),
    )


def _address(joining: Joining, plan: Plan) -> IPv4Address:
    holders = dict(joining.holders)
    if joining.ip:
        found = fixed_address(plan, joining.ip, holders)
    elif joining.preferred and _free(plan, ip_address(joining.preferred), holders):
        found = ip_address(joining.preferred)
    else:
        found = next_address(plan, holders, joining.last, joining.network.name)
    if not isinstance(found, IPv4Address):
        raise InvalidValue(f"{found} is no address of version 4", hint="give it with --ip6")
    return found


def _address_v6(joining: Joining, plan: Plan, plan_v4: Plan, first: IPv4Address) -> Address:
    """The one that goes with the address of version 4, if it is free."""
    holders = dict(joining.holders)
    if joining.ip6:
        return fixed_address(plan, joining.ip6, holders)
    matching = interface_id(plan, first, plan_v4)
    return matching if _free(plan, matching, holders) else next_address(plan, holders, None, joining.network.name)


def check_inside(text: str, network: Network) -> None:
    """Raises: InvalidValue, Refused for an address that nobody can ever have on that network."""
    version = ip_address(text).version
    plan = next((one.plan for one in network.addresses if one.plan.subnet.version == version), None)
    if plan is not None:
        fixed_address(plan, text, {})


def _free(plan: Plan, address: Address, holders: Mapping[Address, str]) -> bool:
    taken = address in holders or address == plan.gateway or address in plan.reserved.values()
    return address in plan.range and not taken
