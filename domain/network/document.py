"""A network as the industry's JSON document."""

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from domain.network.model import Addresses, Network
from domain.text.times import rfc3339


def network_document(id: str, network: Network, created_at: int, users: Mapping[str, str]) -> dict[str, Any]:
    """`users` are the containers that live on it: id → name."""
    return {
        "Name": network.name,
        "Id": id,
        "Created": rfc3339(created_at),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": any(ip_network(one.subnet).version == 4 for one in network.addresses),
        "EnableIPv6": network.ipv6,
        "IPAM": {"Driver": "default", "Options": {}, "Config": [_config(one) for one in network.addresses]},
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {user: _endpoint(name) for user, name in users.items()},
        "Options": dict(network.options),
        "Labels": dict(network.labels),
    }


def _config(one: Addresses) -> dict[str, Any]:
    config: dict[str, Any] = {"Subnet": one.subnet, "Gateway": one.gateway}
    if one.range != one.subnet:
        config["IPRange"] = one.range
    if one.reserved:
        config["AuxiliaryAddresses"] = dict(one.reserved)
    return config


def _endpoint(name: str) -> dict[str, str]:
    return {"Name": name, "EndpointID": "", "MacAddress": "", "IPv4Address": "", "IPv6Address": ""}
