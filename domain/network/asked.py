"""What `run` and `create` say about networks: checked, and put in the shape in which it is stored. Pure.

Names of networks and containers are as they were typed; what they mean is found out by who knows them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from pydantic import BaseModel, ConfigDict, Field

from domain.errors import InvalidValue
from domain.network.addresses import hardware_address, link_local
from domain.network.files import HOST_GATEWAY
from domain.network.options import interface_name, interface_sysctls
from domain.network.ports import Publication, exposed, parse
from domain.network.wishes import DEFAULT, HOST, JOINED, NONE, Attachment, Networking

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_LONGEST_NAME = 253


class NetworkWish(BaseModel):
    """One network: its name or id, and what the container wants there; empty is no wish. What `driver_options` may say
    is in `domain.network.options`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    aliases: tuple[str, ...] = ()
    ip: str = ""
    ip6: str = ""
    mac: str = ""
    priority: int = 0
    link_local: tuple[str, ...] = ()
    driver_options: dict[str, str] = Field(default_factory=dict)


class NetworkingWish(BaseModel):
    """All of it, as it is typed: `publish` as for `-p`, `expose` `80` or `80-90/udp`, `hosts` `NAME:ADDRESS`, `links`
    `CONTAINER[:NAME]`. Without networks it is the default one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    networks: tuple[NetworkWish, ...] = ()
    publish: tuple[str, ...] = ()
    publish_all: bool = False
    expose: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    links: tuple[str, ...] = ()

    @property
    def mode(self) -> str:
        """`host`, `none`, `container:NAME`, or the name of its first network."""
        return self.networks[0].name if self.networks else DEFAULT


@dataclass(frozen=True, slots=True)
class Wished:
    """`networking` with names as they were typed; `links` are (container, name)."""

    mode: str
    networking: Networking
    links: tuple[tuple[str, str], ...] = ()


def alone(mode: str) -> bool:
    """Whether such a container is on no network of its own."""
    return mode in (HOST, NONE) or mode.startswith(JOINED)


def wished(asked: NetworkingWish, *, named: bool = False) -> Wished:
    """What was asked for; `named` says whether a host name was, too. Raises: InvalidValue for a value that cannot be
    meant, and for wishes that exclude each other."""
    mode, links, published = asked.mode, tuple(map(parse_link, asked.links)), _ports(asked.publish)
    _check_networks(asked.networks)
    if mode.startswith(JOINED):
        _check_joined(asked, named=named)
        return Wished(mode, Networking(container=mode.removeprefix(JOINED)))
    if links and alone(mode):
        raise InvalidValue(f"conflicting options: {mode} type networking can't be used with links")
    networking = Networking(
        attachments=() if alone(mode) else tuple(map(_attachment, asked.networks or (NetworkWish(name=DEFAULT),))),
        publish=() if alone(mode) else published,
        publish_all=asked.publish_all and not alone(mode),
        exposed=tuple(port for text in asked.expose for port in exposed(text)),
        dns=tuple(_server(text) for text in asked.dns),
        dns_search=tuple(_word(text, "search domain") for text in asked.dns_search),
        dns_options=tuple(_word(text, "resolver option") for text in asked.dns_options),
        hosts=tuple(_host(text, mode) for text in asked.hosts),
    )
    return Wished(mode, networking, links)


def attachment(wish: NetworkWish) -> Attachment:
    """What `network connect` asks for. Raises: InvalidValue."""
    _check_networks((wish,))
    return _attachment(wish)


def _check_networks(wishes: Sequence[NetworkWish]) -> None:
    names = [wish.name for wish in wishes]
    if "" in names:
        raise InvalidValue("a network needs a name", hint="lading network ls")
    lonely = next((name for name in names if alone(name)), None)
    if lonely is not None and len(names) > 1:
        raise InvalidValue(f"conflicting options: {lonely} networking cannot be combined with other networks")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidValue(f'network "{twice}" is specified multiple times')
    for wish in wishes:
        _check_own_address(wish)


def _check_own_address(wish: NetworkWish) -> None:
    """Addresses and other names belong to networks that a user has laid out."""
    if alone(wish.name) and (wish.link_local or wish.driver_options):
        what = "link-local addresses" if wish.link_local else "driver options"
        raise InvalidValue(f"conflicting options: {what} and the network mode {wish.name.partition(':')[0]}")
    if wish.name != DEFAULT and not alone(wish.name):
        return
    if wish.ip or wish.ip6:
        raise InvalidValue("user specified IP address is supported on user defined networks only",
                           hint="lading network create NAME, then --network NAME")
    if wish.aliases:
        raise InvalidValue("network-scoped alias is supported only for containers in user defined networks",
                           hint="lading network create NAME, then --network NAME")
    if wish.mac and alone(wish.name):
        raise InvalidValue("conflicting options: mac-address and the network mode")


def _check_joined(asked: NetworkingWish, *, named: bool) -> None:
    """What belongs to the network belongs to the container that has it."""
    taken: dict[str, object] = {
        "hostname": named,
        "links": asked.links,
        "dns": (*asked.dns, *asked.dns_search, *asked.dns_options),
        "custom host-to-IP mapping": asked.hosts,
        "port publishing": asked.publish or asked.publish_all,
        "port exposing": asked.expose,
    }
    for what, given in taken.items():
        if given:
            raise InvalidValue(f"conflicting options: {what} and the container type network mode",
                               hint="give it to the container whose network is shared")


def _attachment(wish: NetworkWish) -> Attachment:
    interface_name(wish.driver_options)
    interface_sysctls(wish.driver_options, "eth0")
    return Attachment(
        network=wish.name,
        aliases=tuple(dict.fromkeys(_name(text, "network alias") for text in wish.aliases)),
        ip=_family(wish.ip, 4),
        ip6=_family(wish.ip6, 6),
        mac=hardware_address(wish.mac) if wish.mac else "",
        priority=wish.priority,
        link_local=tuple(dict.fromkeys(link_local(text) for text in wish.link_local)),
        driver_options=tuple(wish.driver_options.items()),
    )


def _family(text: str, version: int) -> str:
    if text and ip_address(_server(text)).version != version:
        raise InvalidValue(f"invalid IPv{version} address: {text}")
    return _server(text) if text else ""


def _ports(texts: Sequence[str]) -> tuple[Publication, ...]:
    return tuple(dict.fromkeys(port for text in texts for port in parse(text)))


def parse_link(text: str) -> tuple[str, str]:
    """(container, name) of `CONTAINER[:NAME]`. Raises: InvalidValue."""
    container, _, name = text.removeprefix("/").partition(":")
    if not container or ":" in name:
        raise InvalidValue(f"bad format for links: {text}", hint="write it as CONTAINER:NAME")
    return container, _name(name or container, "link")


def _server(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise InvalidValue(f"{text} is not an ip address") from error


def _word(text: str, what: str) -> str:
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidValue(f"invalid {what}: {text!r}")
    return text


def _name(text: str, what: str) -> str:
    if not text or len(text) > _LONGEST_NAME or not _LETTERS.issuperset(text) or text.startswith((".", "-")):
        raise InvalidValue(f"invalid {what}: {text!r}", hint="use letters, digits, - _ and .")
    return text


def _host(text: str, mode: str) -> tuple[str, str]:
    """`NAME:ADDRESS` or `NAME=ADDRESS`; one of version 6 may stand in brackets."""
    mark = "=" if "=" in text else ":"
    name, given, address = text.partition(mark)
    if not given or not name or not address:
        raise InvalidValue(f'bad format for add-host: "{text}"', hint="write it as NAME:ADDRESS")
    if address != HOST_GATEWAY:
        try:
            address = str(ip_address(address.removeprefix("[").removesuffix("]")))
        except ValueError as error:
            raise InvalidValue(f'invalid IP address in add-host: "{address}"') from error
    elif mode == NONE:
        raise InvalidValue("host-gateway: there is no way to the host without a network")
    return _name(name, "name of a host"), address
