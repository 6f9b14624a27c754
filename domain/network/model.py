"""A network as it was asked for and laid out, in the shape in which it is stored."""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from domain.network.setup import Bridge
from domain.network.subnets import Plan, Subnet

Driver = Literal["bridge", "host", "null"]
BUILT_IN = ("bridge", "host", "none")
"""The networks that every host has from its first start on."""
_LINK_DIGITS = 10
_PLANS = 1024
OWN_LINKS = ("ldg", "lv")
"""How names of interfaces begin that nobody else has chosen: bridges, and cables of containers."""


class Addresses(BaseModel):
    """The addresses of a network in one family, as text: see `domain.network.subnets.Plan`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    subnet: str
    gateway: str
    range: str
    reserved: dict[str, str] = Field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """What addresses are given from."""
        return _plan(self.subnet, self.gateway, self.range, tuple(self.reserved.items()))

    @property
    def own(self) -> str:
        """The address of the bridge itself, with its prefix."""
        return f"{self.gateway}/{ip_network(self.subnet).prefixlen}"


class Network(BaseModel):
    """`link` is the bridge's name in the kernel, empty where there is none. `isolated` keeps its containers from each
    other, `masquerade` lets them out behind the host's addresses, `internal` not at all. Without `names` nobody finds
    others by theirs. `publish_on` is the host's address for ports that name none, empty for every one. `options` are as
    typed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    driver: Driver = "bridge"
    link: str = ""
    addresses: tuple[Addresses, ...] = ()
    mtu: int = 1500
    internal: bool = False
    attachable: bool = False
    ipv6: bool = False
    isolated: bool = False
    masquerade: bool = True
    names: bool = True
    publish_on: str = ""
    options: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)

    @property
    def built_in(self) -> bool:
        """Whether it is there by itself and for ever."""
        return self.name in BUILT_IN

    @property
    def subnets(self) -> tuple[Subnet, ...]:
        """Of each family."""
        return tuple(ip_network(one.subnet) for one in self.addresses)

    def bridge(self, id: str) -> Bridge | None:
        """What the kernel is to have of it; None: nothing."""
        if self.driver != "bridge":
            return None
        return Bridge(
            id=id,
            link=self.link,
            addresses=tuple(one.own for one in self.addresses),
            mtu=self.mtu,
            internal=self.internal,
            isolated=self.isolated,
            masquerade=self.masquerade,
        )


def link_of(id: str) -> str:
    """The name of a bridge: all of ours begin alike, which is what other firewalls are told, and fit 15 characters."""
    return f"ldg-{id[:_LINK_DIGITS]}"


@lru_cache(maxsize=_PLANS)
def _plan(subnet: str, gateway: str, range: str, reserved: tuple[tuple[str, str], ...]) -> Plan:
    """Read once: it is asked for with every container that comes."""
    names = {name: ip_address(text) for name, text in reserved}
    return Plan(ip_network(subnet), ip_address(gateway), ip_network(range), names)


def stored(plan: Plan) -> Addresses:
    """A plan in the shape in which it is stored."""
    reserved: Mapping[str, object] = plan.reserved
    return Addresses(
        subnet=str(plan.subnet),
        gateway=str(plan.gateway),
        range=str(plan.range),
        reserved={name: str(address) for name, address in reserved.items()},
    )
