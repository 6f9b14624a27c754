"""How a new network is laid out: what was asked for, checked against everything that has addresses already. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Network, ip_address, ip_network
from types import MappingProxyType

from domain.errors import InvalidValue, Refused
from domain.network.model import BUILT_IN, OWN_LINKS, Addresses, Network, link_of, stored
from domain.network.setup import DEFAULT_LINK
from domain.network.subnets import DEFAULT_BRIDGE, POOLS, Subnet, Wish, free_subnet, overlap, plan, wishes

LONGEST_NAME = 128
_SMALLEST_MTU, _SMALLEST_MTU_V6, _LARGEST_MTU = 68, 1280, 65535
_NOT_IN_NAMES = frozenset("/:,=\"'\\")
_TRUE, _FALSE = ("true", "1"), ("false", "0")
_MTU = ("com.docker.network.driver.mtu", "mtu")
_ICC = ("com.docker.network.bridge.enable_icc", "icc")
_MASQUERADE = ("com.docker.network.bridge.enable_ip_masquerade", "masquerade")
_PUBLISH_ON = ("com.docker.network.bridge.host_binding_ipv4", "host-binding")
_NAMES = ("names",)
_LINK = ("com.docker.network.bridge.name", "bridge-name")
_KNOWN = (*_MTU, *_ICC, *_MASQUERADE, *_PUBLISH_ON, *_NAMES)
_IN_LINKS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_LONGEST_LINK = 15
"""IFNAMSIZ - 1."""
_KEPT_LINKS = ("lo", "all", "default")


NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
"""None were given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What `network create` says; empty is no wish."""

    name: str
    driver: str = "bridge"
    subnets: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    reserved: Mapping[str, str] = field(default_factory=dict)
    internal: bool = False
    attachable: bool = False
    ipv6: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Site:
    """What has addresses here: `networks` by name, `host` the host's routes, addresses and resolvers. `mtu` is that of
    its way out, `local` the range from which its networks get addresses of version 6 (a /48 of RFC 4193).
    `default_link` and `default_subnet` are the default network's, `links` says which network has which bridge."""

    networks: Mapping[str, Sequence[Subnet]]
    host: Sequence[Subnet]
    mtu: int
    local: IPv6Network
    default_link: str = DEFAULT_LINK
    default_subnet: Subnet = DEFAULT_BRIDGE
    links: Mapping[str, str] = field(default_factory=dict)


def design(asked: Asked, id: str, site: Site) -> Network:
    """The network as it will be. Raises: InvalidValue, naming the value; Refused for what overlaps, naming with what,
    and when no subnet is left."""
    _check_name(asked.name)
    if asked.driver != "bridge":
        raise InvalidValue(f"could not find driver {asked.driver!r}", hint="the only driver for new networks is bridge")
    check_options({name: value for name, value in asked.options.items() if name not in _LINK})
    link = _link(asked.options, site)
    addresses = _addresses(asked, id, site)
    ipv6 = any(ip_network(one.subnet).version == 6 for one in addresses)
    return Network(
        name=asked.name,
        link=link or link_of(id),
        addresses=addresses,
        mtu=_mtu(asked.options, site.mtu, ipv6=ipv6),
        internal=asked.internal,
        attachable=asked.attachable,
        ipv6=ipv6,
        isolated=not _switch(asked.options, _ICC),
        masquerade=_switch(asked.options, _MASQUERADE),
        names=_switch(asked.options, _NAMES),
        publish_on=_publish_on(asked.options),
        options=dict(asked.options),
        labels=dict(asked.labels),
    )


def built_in(name: str, site: Site, options: Mapping[str, str] = NO_OPTIONS) -> Network:
    """One of the networks that every host has; `options` are the default one's, which alone has addresses.

    Raises: Refused when no subnet is left for it, InvalidValue for an option.
    """
    if name == "host":
        return Network(name=name, driver="host")
    if name == "none":
        return Network(name=name, driver="null")
    taken = [net for nets in (*site.networks.values(), site.host) for net in nets]
    free = not any(net.version == 4 and net.overlaps(site.default_subnet) for net in taken)
    subnet = site.default_subnet if free else free_subnet(taken)
    return Network(
        name=name,
        link=site.default_link,
        addresses=(stored(plan(Wish(), subnet)),),
        mtu=_mtu(options, site.mtu, ipv6=False),
        isolated=not _switch(options, _ICC),
        masquerade=_switch(options, _MASQUERADE),
        names=_switch(options, _NAMES),
        publish_on=_publish_on(options),
        options=dict(options),
    )


def as_configured(network: Network, options: Mapping[str, str]) -> Network:
    """The default network with the options of today's configuration in the place of those that it was made with. Where
    nothing is said of the largest packet, it stays. Raises: InvalidValue."""
    if options == network.options:
        return network
    return network.model_copy(update={
        "mtu": _mtu(options, network.mtu, ipv6=False),
        "isolated": not _switch(options, _ICC),
        "masquerade": _switch(options, _MASQUERADE),
        "names": _switch(options, _NAMES),
        "publish_on": _publish_on(options),
        "options": dict(options),
    })


def check_options(options: Mapping[str, str]) -> None:
    """Raises: InvalidValue, naming the one that is not known, or cannot be meant."""
    for option in options:
        if option not in _KNOWN:
            raise InvalidValue(f"unknown network option {option!r}", hint=f"known: {', '.join((*_KNOWN, *_LINK))}")
    for spellings in (_ICC, _MASQUERADE, _NAMES):
        _switch(options, spellings)
    _publish_on(options)
    _mtu(options, _LARGEST_MTU, ipv6=False)


def local_range(id: str) -> IPv6Network:
    """A /48 for the networks of one host, out of 40 random bits (RFC 4193): the first ones of a random id."""
    return IPv6Network((int(f"fd{id[:10]}", 16) << 80, 48))


def _check_name(name: str) -> None:
    if name in BUILT_IN:
        raise Refused(f"operation is not permitted on predefined {name} network")
    wrong = not name.isprintable() or name.strip() != name or not name or len(name) > LONGEST_NAME
    if name == "default":
        raise InvalidValue("a network cannot be called default: that means the network bridge",
                           hint="choose another name")
    if wrong or set(name) & _NOT_IN_NAMES:
        raise InvalidValue(
            f"invalid network name {name!r}",
            hint=f"use at most {LONGEST_NAME} printable characters without / : , = and quotes",
        )


def _addresses(asked: Asked, id: str, site: Site) -> tuple[Addresses, ...]:
    wanted = list(wishes(asked.subnets, asked.gateways, asked.ranges, asked.reserved))
    taken = [net for nets in (*site.networks.values(), site.host) for net in nets]
    if not any(_is_v4(wish) for wish in wanted):
        wanted.insert(0, Wish())
    found = [plan(wish, free_subnet(taken, POOLS)) if not wish.subnet else plan(wish, DEFAULT_BRIDGE)
             for wish in wanted]
    if asked.ipv6 and not any(one.subnet.version == 6 for one in found):
        found.append(plan(Wish(), _free_v6(id, site.local, taken)))
    for one in found:
        _check_free(one.subnet, site)
    return tuple(stored(one) for one in found)


def _is_v4(wish: Wish) -> bool:
    return bool(wish.subnet) and ip_network(wish.subnet, strict=False).version == 4


def _free_v6(id: str, local: IPv6Network, taken: Sequence[Subnet]) -> IPv6Network:
    """A /64 of the host's range, by the network's random id, or the next one that is free."""
    first = int(id[:4], 16)
    for step in range(1 << 16):
        number = (first + step) % (1 << 16)
        subnet = IPv6Network((int(local[0]) + (number << 64), 64))
        if not any(net.version == 6 and net.overlaps(subnet) for net in taken):
            return subnet
    raise Refused(f"no free subnet is left in {local}", hint="remove networks that nobody needs")


def _check_free(subnet: Subnet, site: Site) -> None:
    common = "Pool overlaps with other one on this address space"
    if name := overlap(subnet, site.networks):
        theirs = next(net for net in site.networks[name] if net.version == subnet.version and net.overlaps(subnet))
        raise Refused(f"{common}: subnet {subnet} overlaps network {name} ({theirs})", hint="choose another --subnet")
    if route := overlap(subnet, {str(net): (net,) for net in site.host}):
        raise Refused(f"{common}: subnet {subnet} overlaps route {route} of this host", hint="choose another --subnet")


def _given(options: Mapping[str, str], spellings: Sequence[str]) -> str | None:
    return next((options[name] for name in spellings if name in options), None)


def _switch(options: Mapping[str, str], spellings: Sequence[str]) -> bool:
    """An option that is on unless it says otherwise."""
    text = _given(options, spellings)
    if text is not None and text.lower() not in (*_TRUE, *_FALSE):
        raise InvalidValue(f"invalid value {text!r} of the network option {spellings[-1]}", hint="use true or false")
    return text is None or text.lower() in _TRUE


def _link(options: Mapping[str, str], site: Site) -> str:
    """What the bridge is to be called in the kernel; empty: as all of ours are. Raises: InvalidValue, Refused for one
    that another network has."""
    name = _given(options, _LINK) or ""
    if not name:
        return ""
    if len(name) > _LONGEST_LINK or not _IN_LINKS.issuperset(name) or name.strip(".") == "" or name in _KEPT_LINKS:
        raise InvalidValue(f"invalid name of a bridge: {name[:50]!a}", hint="use at most 15 letters, digits, _ . and -")
    if name.startswith(OWN_LINKS):
        raise InvalidValue(f"invalid name of a bridge: {name}", hint=f"{' and '.join(OWN_LINKS)} begin names of ours")
    if name in site.links:
        raise Refused(f"bridge {name} belongs to network {site.links[name]}", hint="choose another name")
    return name


def _publish_on(options: Mapping[str, str]) -> str:
    """An address of version 4, or nothing for every address of the host, which 0.0.0.0 means as well."""
    text = _given(options, _PUBLISH_ON) or ""
    try:
        address = ip_address(text or "0.0.0.0")
    except ValueError as error:
        raise InvalidValue(f"invalid host address {text!r}", hint="give one of version 4: 127.0.0.1") from error
    if address.version != 4:
        raise InvalidValue(f"the host address {text} is not of version 4", hint="for version 6 name it with -p")
    return "" if address.is_unspecified else str(address)


def _mtu(options: Mapping[str, str], way_out: int, *, ipv6: bool) -> int:
    text = _given(options, _MTU)
    if text is None:
        return way_out
    low = _SMALLEST_MTU_V6 if ipv6 else _SMALLEST_MTU
    if not (text.isascii() and text.isdigit() and len(text) < 6 and low <= int(text) <= _LARGEST_MTU):
        raise InvalidValue(f"invalid MTU {text!r}", hint=f"give bytes between {low} and {_LARGEST_MTU}")
    return int(text)
