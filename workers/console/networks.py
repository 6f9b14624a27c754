"""The options of `run` and `create` about networks, names and ports."""

from collections.abc import Mapping, Sequence

from domain.errors import InvalidValue
from domain.network.asked import NetworkingWish, NetworkWish, alone, wished
from domain.network.wishes import DEFAULT, HOST, NONE
from domain.options import Option, OptionError, Parsed, alias, flag, many, one
from workers.console.errors import UNREADABLE, Plain

_NETWORK = many("network", "", "Network: bridge (the default), a name, host, none or container:NAME",
                value="name|name=NAME,ip=…")
_ALIAS = many("network-alias", "", "One more name of the container on its network", value="name")
_DNS_OPTION = many("dns-option", "", "Option of resolv.conf: timeout:1", value="option")

OPTIONS: tuple[Option, ...] = (
    many("add-host", "", "A line for /etc/hosts; host-gateway is the host's address", value="NAME:ADDRESS"),
    many("dns", "", "Server that is asked for names of the outside", value="address"),
    _DNS_OPTION,
    alias("dns-opt", _DNS_OPTION),
    many("dns-search", "", "Domain in which short names are looked for", value="domain"),
    many("expose", "", "Port that others on its networks may use: 80, 90-92/udp", value="port"),
    one("ip", "", "Its address on a network of yours", value="address"),
    one("ip6", "", "The same of version 6", value="address"),
    many("link", "", "Another container under a name that only this one knows", value="CONTAINER[:NAME]"),
    many("link-local-ip", "", "One more address, valid on its first network only: 169.254.8.8", value="address"),
    one("mac-address", "", "Hardware address of its first interface", value="address"),
    _NETWORK,
    alias("net", _NETWORK),
    _ALIAS,
    alias("net-alias", _ALIAS),
    many("publish", "p", "Port of the host that leads to one inside: 8080:80, 127.0.0.1:53:53/udp",
         value="[[ADDRESS:]PORT:]PORT"),
    flag("publish-all", "P", "Any free ports of the host for all exposed ones"),
)
_KEYS = ("name", "alias", "ip", "ip6", "mac-address", "gw-priority", "driver-opt", "link-local-ip")


def networking(options: Parsed) -> NetworkingWish:
    """What was asked for. Raises Plain, OptionError."""
    networks = [_wish(text) for text in options.many("network")]
    asked = NetworkingWish(
        networks=_with_options(networks, options),
        publish=options.many("publish"),
        publish_all=options.flag("publish-all"),
        expose=options.many("expose"),
        dns=options.many("dns"),
        dns_search=options.many("dns-search"),
        dns_options=options.many("dns-option"),
        hosts=options.many("add-host"),
        links=options.many("link"),
    )
    try:
        wished(asked, named=bool(options.text("hostname")))
    except InvalidValue as error:
        raise Plain(error.message, hint=error.hint, status=UNREADABLE) from error
    return asked


def advice(asked: NetworkingWish) -> str:
    """What is not done of what was asked for, in a sentence; empty if all is."""
    if asked.mode in (HOST, NONE) and (asked.publish or asked.publish_all):
        return f"Published ports are discarded when using {asked.mode} network mode"
    return ""


def _with_options(networks: Sequence[NetworkWish], options: Parsed) -> tuple[NetworkWish, ...]:
    """Options that stand alone belong to the first network."""
    found = {
        "ip": options.text("ip"),
        "ip6": options.text("ip6"),
        "mac": options.text("mac-address"),
        "aliases": options.many("network-alias"),
        "link_local": options.many("link-local-ip"),
    }
    given = {name: value for name, value in found.items() if value}
    if not given:
        return tuple(networks)
    first, *others = networks or (NetworkWish(name=DEFAULT),)
    twice = next((name for name in given if getattr(first, name)), None)
    if twice is not None:
        raise _bad(f"conflicting options: cannot specify both --{_SPELLED[twice]} and per-network {_SPELLED[twice]}")
    if first.name.startswith("container:") and "mac" in given:
        raise _bad("conflicting options: mac-address and the container type network mode")
    return (first.model_copy(update=given), *others)


_SPELLED: Mapping[str, str] = {"ip": "ip", "ip6": "ip6", "mac": "mac-address",
                                "aliases": "network-alias", "link_local": "link-local-ip"}


def _wish(text: str) -> NetworkWish:
    """`NAME`, or `name=NAME,ip=…,alias=…`. Raises OptionError."""
    if "=" not in text or alone(text):
        return NetworkWish(name=text)
    values: dict[str, list[str]] = {}
    for item in text.split(","):
        key, equals, value = item.partition("=")
        if key not in _KEYS or not equals:
            raise _invalid(text, f"invalid field {key}")
        values.setdefault(key, []).append(value)
    if "name" not in values:
        raise _invalid(text, "it has no name=")
    return NetworkWish(
        name=values["name"][-1],
        aliases=tuple(values.get("alias", ())),
        ip=values.get("ip", [""])[-1],
        ip6=values.get("ip6", [""])[-1],
        mac=values.get("mac-address", [""])[-1],
        priority=_priority(text, values.get("gw-priority", ["0"])[-1]),
        link_local=tuple(values.get("link-local-ip", ())),
        driver_options=driver_options(values.get("driver-opt", ())),
    )


def driver_options(items: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE` each. Raises OptionError."""
    found: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not key or not equals:
            raise OptionError(f'invalid argument "{item}" for "--driver-opt" flag: write it as KEY=VALUE')
        found[key.strip()] = value
    return found


def _priority(text: str, number: str) -> int:
    try:
        return int(number)
    except ValueError as error:
        raise _invalid(text, f"invalid gw-priority ({number})") from error


def _invalid(text: str, why: str) -> OptionError:
    return OptionError(f'invalid argument "{text}" for "--network" flag: {why}')


def _bad(message: str) -> Plain:
    return Plain(message, status=UNREADABLE)
