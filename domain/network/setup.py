"""What the kernel is to have of networks, as plain values: the wishes of `domain.ports.NetworkDriver`.

Addresses are text with their prefix (`10.213.0.5/24`); an interface name has at most 15 characters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from domain.network.ports import Binding

DEFAULT_LINK = "ldg0"
"""The default network's bridge, on a host with one engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """One network: `link` is the bridge's name, `addresses` its own ones (the gateways), `isolated` keeps its
    containers from each other, `masquerade` lets them out behind the host's addresses, `internal` not at all."""

    id: str
    link: str
    addresses: tuple[str, ...]
    mtu: int = 1500
    internal: bool = False
    isolated: bool = False
    masquerade: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One interface of one container: `link` is its end on the host, `name` the one inside (`eth0`). `gateways` are
    where its default routes lead; none for another network than the first. `sysctls` are paths below /proc/sys/net
    inside, and their values."""

    network: str
    link: str
    name: str
    mac: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """Who answers a container's questions for names: its networks in the order in which they are looked in, names that
    only it knows and what they stand for there (`links`: the first of these that there is), servers of its own
    (`servers`, empty: the host's), `outside` whether others are asked."""

    networks: tuple[str, ...] = ()
    links: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    servers: tuple[str, ...] = ()
    outside: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """The network of one run of one container; `bindings` lead to the endpoint that has gateways, and nowhere if none
    has. Without a resolver nothing answers at 127.0.0.11. With `ids` (the first one on the host, and how many) it
    belongs to a user namespace of its own, whose root has rights there as the host's has."""

    id: str
    attempt: int
    endpoints: tuple[Endpoint, ...] = ()
    bindings: tuple[Binding, ...] = ()
    resolver: Resolver | None = None
    ids: tuple[int, int] | None = None
    sysctls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """A network namespace that waits for its container: `path` leads to it as long as its maker lives, `inode` proves
    that it is the one. `user_path` and `user_inode` are those of the user namespace that owns it; empty: the host's."""

    path: str
    inode: int
    user_path: str = ""
    user_inode: int = 0
