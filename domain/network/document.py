"""A network as the industry's JSON document."""

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from domain.network.model import Addresses, Network
from domain.network.wishes import DEFAULT, Interface
from domain.text.times import rfc3339


def network_document(id: str, network: Network, created_at: int,
                     users: Mapping[str, tuple[str, Interface | None]]) -> dict[str, Any]:
    """`users` are the containers that live on it: id → name and what it has there."""
    return {
        "Name": network.name,
        "Id": id,
        "Created": rfc3339(created_at),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": any(ip_network(one.subnet).version == 4 for one in network.addresses),
        "EnableIPv6": network.ipv6,
        "IPAM": {"Driver": "default", "Options": None, "Config": [_config(one) for one in network.addresses]},
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {user: _endpoint(*found) for user, found in users.items()},
        "Options": {**(_of_default(network) if network.name == DEFAULT else {}), **network.options},
        "Labels": dict(network.labels),
    }


def _of_default(network: Network) -> dict[str, str]:
    """What scripts ask the default network for: by these names it says how it is, although nobody has asked for it."""
    return {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": str(not network.isolated).lower(),
        "com.docker.network.bridge.enable_ip_masquerade": str(network.masquerade).lower(),
        "com.docker.network.bridge.host_binding_ipv4": network.publish_on or "0.0.0.0",
        "com.docker.network.bridge.name": network.link,
        "com.docker.network.driver.mtu": str(network.mtu),
    }


def _config(one: Addresses) -> dict[str, Any]:
    config: dict[str, Any] = {"Subnet": one.subnet, "Gateway": one.gateway}
    if one.range != one.subnet:
        config["IPRange"] = one.range
    if one.reserved:
        config["AuxiliaryAddresses"] = dict(one.reserved)
    return config


def _endpoint(name: str, interface: Interface | None) -> dict[str, str]:
    addresses = interface.addresses if interface is not None else ()
    return {
        "Name": name,
        "EndpointID": interface.link if interface is not None else "",
        "MacAddress": interface.mac if interface is not None else "",
        "IPv4Address": next((text for text in addresses if ":" not in text), ""),
        "IPv6Address": next((text for text in addresses if ":" in text), ""),
    }
