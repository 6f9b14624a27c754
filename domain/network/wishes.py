"""What a container wants of networks, and what it has got of them at a start, as it is stored."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from domain.network.ports import Binding, Publication
from domain.network.setup import Endpoint

HOST, NONE, DEFAULT = "host", "none", "bridge"
JOINED = "container:"
"""In front of the container whose network another one shares."""
_SHORT = 12
"""Digits of an id that are a name on every network."""


class Stored(BaseModel):
    """Never changed; fields of later versions are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Attachment(Stored):
    """One network that a container is to be on: its name, and its id if there was such a network when this was said.

    `aliases` are its other names there; `ip`, `ip6` and `mac` are empty if any will do. The highest `priority` leads
    out. `links` are names that this container alone has for others there: (name, id of the other), and `linked` says
    how each of those was called, also of one that was not there yet. `link_local` are addresses that it has besides,
    `driver_options` are kept and shown; what those of `domain.network.options` mean is done.
    """

    network: str
    id: str = ""
    aliases: tuple[str, ...] = ()
    ip: str = ""
    ip6: str = ""
    mac: str = ""
    priority: int = 0
    links: tuple[tuple[str, str], ...] = ()
    linked: tuple[tuple[str, str], ...] = ()
    link_local: tuple[str, ...] = ()
    driver_options: tuple[tuple[str, str], ...] = ()

    def meets(self, id: str, name: str) -> bool:
        """Whether it means the network with this id and name."""
        return self.id == id or (not self.id and self.network == name)

    @property
    def called(self) -> Mapping[str, str]:
        """Name of each link → what it stands for, as it was called."""
        return {name: id[:_SHORT] for name, id in self.links} | dict(self.linked)

    def unlinked(self, name: str) -> "Attachment":
        """Without that link."""
        return self.model_copy(update={
            "links": tuple(pair for pair in self.links if pair[0] != name),
            "linked": tuple(pair for pair in self.linked if pair[0] != name),
        })


class Networking(Stored):
    """Everything about networks that was asked for, besides sharing the host's or having none.

    `container` is the id of the one whose network is shared; then there are no `attachments`. `publish` are ports that
    the host is to have, with `publish_all` also those that are merely `exposed`. `dns`, `dns_search` and `dns_options`
    go into resolv.conf, `hosts` are (name, address or `host-gateway`) for /etc/hosts.
    """

    attachments: tuple[Attachment, ...] = ()
    container: str = ""
    publish: tuple[Publication, ...] = ()
    publish_all: bool = False
    exposed: tuple[Publication, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    hosts: tuple[tuple[str, str], ...] = ()

    @property
    def published(self) -> tuple[Publication, ...]:
        """What the host is to have, each once."""
        named = {(each.port, each.protocol) for each in self.publish}
        others = self.exposed if self.publish_all else ()
        return (*self.publish, *(each for each in others if (each.port, each.protocol) not in named))


NOTHING = Networking()


class Interface(Stored):
    """What a container has on one network: the interface `name` inside, `link` on the host, addresses with their
    prefix. `fixed` are those that were asked for: they are kept for it until it is removed, or leaves the network.
    `link_local` are addresses besides, which nobody gives away; `sysctls` are its own settings, by their paths."""

    network: str
    network_name: str
    link: str
    name: str
    mac: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    link_local: tuple[str, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()

    @property
    def endpoint(self) -> Endpoint:
        """As the driver makes it."""
        return Endpoint(network=self.network, link=self.link, name=self.name, mac=self.mac,
                        addresses=(*self.addresses, *self.link_local), gateways=self.gateways,
                        sysctls=dict(self.sysctls))

    @property
    def hosts(self) -> tuple[str, ...]:
        """Its addresses alone."""
        return tuple(text.partition("/")[0] for text in self.addresses)

    @property
    def held(self) -> dict[str, bool]:
        """`network/address` of each, and whether it stays reserved while the container is at rest."""
        return {f"{self.network}/{address}": address in self.fixed for address in self.hosts}


class Lease(Stored):
    """What a container has in one run, or had in its last one: interfaces in order, and ports of the host."""

    attempt: int
    interfaces: tuple[Interface, ...] = ()
    bindings: tuple[Binding, ...] = ()

    @property
    def preferred(self) -> Mapping[tuple[int, str, str], int]:
        """(port, protocol, address of the host) → port of the host, as far as it may come again."""
        return {(each.port, each.protocol, each.host_ip): each.host_port for each in self.bindings}

    def on(self, network: str) -> Interface | None:
        """Its interface on a network."""
        return next((each for each in self.interfaces if each.network == network), None)

    def without(self, network: str) -> "Lease":
        """What is left when it leaves that network."""
        return self.model_copy(update={"interfaces": tuple(i for i in self.interfaces if i.network != network)})

    def left(self, network: str, leading: Interface | None) -> "Lease":
        """The same, and `leading` is how one of the others is from then on: it leads out."""
        others = self.without(network)
        return others if leading is None or others.on(leading.network) is None else others.in_place(leading)

    def in_place(self, interface: Interface) -> "Lease":
        """With this one in the place of what it has on that network."""
        return self.model_copy(update={"interfaces": tuple(
            interface if each.network == interface.network else each for each in self.interfaces)})

    def with_one(self, interface: Interface) -> "Lease":
        """And one more."""
        return self.model_copy(update={"interfaces": (*self.without(interface.network).interfaces, interface)})
