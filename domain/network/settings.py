"""What `inspect` shows of the networks and ports of a container, in the industry's keys. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any

from domain.container import Container
from domain.network.ports import Binding, Publication
from domain.network.wishes import DEFAULT, Attachment, Interface, Networking
from domain.spec import ContainerSpec

Document = dict[str, Any]

_NO_ADDRESS: Document = {
    "IPAddress": "",
    "IPPrefixLen": 0,
    "Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "IPv6Gateway": "",
    "MacAddress": "",
}
_SHORT = 12


def network_settings(container: Container) -> Document:
    """Addresses are those of the run; what rests shows on which networks it will be."""
    lease = container.lease if container.leased else None
    interfaces = lease.interfaces if lease is not None else ()
    leading = next((each for each in interfaces if each.gateways), next(iter(interfaces), None))
    bindings = lease.bindings if lease is not None else ()
    return {
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": "",
        "Ports": _ports(container.settled.net, bindings) if lease is not None else {},
        "EndpointID": leading.link if leading is not None else "",
        **(_addresses(leading) if leading is not None else _NO_ADDRESS),
        "Networks": _networks(container, interfaces),
    }


def of_resting(networks: Iterable[tuple[str, str]]) -> Document:
    """`Networks` of a container that does not run, of names and ids alone."""
    return {
        name: {
            "IPAMConfig": None, "Links": None, "Aliases": None, "DriverOpts": None, "GwPriority": 0, "NetworkID": id,
            "EndpointID": "", **_NO_ADDRESS, "DNSNames": None,
        }
        for name, id in networks
    }  # fmt: skip


def _networks(container: Container, interfaces: Iterable[Interface]) -> Document:
    spec = container.settled
    if not spec.net.attachments:
        return {} if spec.net.container else {spec.network: _endpoint(container, None, None)}
    live = {each.network: each for each in interfaces}
    found: Document = {}
    for wish in container.attachments:
        interface = next((each for each in live.values() if wish.meets(each.network, each.network_name)), None)
        found[interface.network_name if interface else wish.network] = _endpoint(container, wish, interface)
    return found


def _endpoint(container: Container, wish: Attachment | None, interface: Interface | None) -> Document:
    names = [container.name, *(wish.aliases if wish else ()), container.id[:_SHORT]]
    return {
        "IPAMConfig": _asked(wish),
        "Links": [f"{other}:{name}" for name, other in wish.called.items()] or None if wish else None,
        "Aliases": list(wish.aliases) or None if wish else None,
        "DriverOpts": dict(wish.driver_options) or None if wish else None,
        "GwPriority": wish.priority if wish else 0,
        "NetworkID": interface.network if interface else wish.id if wish else "",
        "EndpointID": interface.link if interface else "",
        **(_addresses(interface) if interface else {**_NO_ADDRESS, "MacAddress": wish.mac if wish else ""}),
        "DNSNames": list(dict.fromkeys(names)) if interface else None,
    }


def _asked(wish: Attachment | None) -> Document | None:
    if wish is None:
        return None
    local = [text.partition("/")[0] for text in wish.link_local]
    found = {"IPv4Address": wish.ip, "IPv6Address": wish.ip6, "LinkLocalIPs": local}
    return {key: value for key, value in found.items() if value} or None


def _addresses(interface: Interface) -> Document:
    found = {**_NO_ADDRESS, "MacAddress": interface.mac}
    for text in interface.addresses:
        address, _, length = text.partition("/")
        keys = ("GlobalIPv6Address", "GlobalIPv6PrefixLen") if ":" in address else ("IPAddress", "IPPrefixLen")
        found |= {keys[0]: address, keys[1]: int(length)}
    for gateway in interface.gateways:
        found["IPv6Gateway" if ":" in gateway else "Gateway"] = gateway
    return found


def _ports(networking: Networking, bindings: Iterable[Binding]) -> Document:
    """`80/tcp` → where it is published; None for what is merely exposed."""
    found: Document = {_key(each): None for each in (*networking.exposed, *networking.publish)}
    for each in bindings:
        there = found.get(_key(each)) or []
        found[_key(each)] = [*there, {"HostIp": each.host_ip, "HostPort": str(each.host_port)}]
    return dict(sorted(found.items()))


def _key(port: Binding | Publication) -> str:
    return f"{port.port}/{port.protocol}"


def exposed_ports(spec: ContainerSpec) -> Document | None:
    """`Config.ExposedPorts`."""
    found: Document = {_key(each): {} for each in (*spec.net.exposed, *spec.net.publish)}
    return dict(sorted(found.items())) or None


def host_config(spec: ContainerSpec, name: str, attachments: Iterable[Attachment]) -> Document:
    """The part of `HostConfig` that is about networks; `name` is the container's, `attachments` are as they are now."""
    networking = spec.net
    bindings: Document = {}
    for each in networking.publish:
        port = f"{each.host_port}-{each.highest}" if each.highest else str(each.host_port or "")
        bindings.setdefault(_key(each), []).append({"HostIp": each.host_ip, "HostPort": port})
    return {
        "NetworkMode": spec.network_mode,
        "PortBindings": bindings,
        "PublishAllPorts": networking.publish_all,
        "Dns": list(networking.dns),
        "DnsOptions": list(networking.dns_options),
        "DnsSearch": list(networking.dns_search),
        "ExtraHosts": [f"{name}:{address}" for name, address in networking.hosts] or None,
        "Links": [text for each in attachments for text in _links(each, name)] or None,
    }


def _links(attachment: Attachment, name: str) -> Iterator[str]:
    """On the default network as paths, as the industry has kept them there."""
    for known_as, other in attachment.called.items():
        yield f"/{other}:/{name}/{known_as}" if attachment.network == DEFAULT else f"{other}:{known_as}"
