"""Who is on which network at the moment, and under which names: a copy of what the log says, for quick answers.

Names follow at once: a renamed container is found by its new name only.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from domain.container import Container
from domain.network.ports import Binding, clash
from domain.network.wishes import Attachment, Lease
from domain.network.zones import Addresses, Zone, zone

_SHORT = 12


@dataclass(frozen=True, slots=True)
class Member:
    """One container that has a lease."""

    id: str
    name: str
    hostname: str
    attachments: tuple[Attachment, ...]
    lease: Lease

    def names_on(self, network: str, network_name: str) -> Iterator[str]:
        """Its other names there."""
        yield self.id[:_SHORT]
        if self.hostname:
            yield self.hostname
        for each in self.attachments:
            if each.meets(network, network_name):
                yield from each.aliases


@dataclass
class Roster:
    """All members by id."""

    members: dict[str, Member] = field(default_factory=dict)

    def enter(self, container: Container) -> None:
        """Take it in as it is, or out."""
        if container.lease is None or not container.leased:
            self.members.pop(container.id, None)
            return
        self.members[container.id] = Member(container.id, container.name, container.settled.hostname,
                                            container.attachments, container.lease)

    def update(self, container: Container) -> None:
        """The same for a run that goes on: one that has left meanwhile stays out, or its names and its ports of the
        host would be nobody's, and kept for ever."""
        member, lease = self.members.get(container.id), container.lease
        if member is not None and lease is not None and member.lease.attempt == lease.attempt:
            self.enter(container)

    def rename(self, id: str, name: str) -> None:
        """If it is here."""
        if id in self.members:
            self.members[id] = replace(self.members[id], name=name)

    def leave(self, id: str, attempt: int) -> None:
        """That run of it is over."""
        member = self.members.get(id)
        if member is not None and member.lease.attempt <= attempt:
            del self.members[id]

    def holder(self, wanted: Iterable[Binding], but: str) -> tuple[Member, Binding] | None:
        """Who, other than the container `but`, has one of these ports of the host."""
        for binding in wanted:
            for member in self.members.values():
                if member.id != but and (found := clash(binding, member.lease.bindings)) is not None:
                    return member, found
        return None

    @property
    def networks(self) -> set[str]:
        """Those that somebody is on (ids)."""
        return {interface.network for member in self.members.values() for interface in member.lease.interfaces}

    def zones(self, nameless: Collection[str] = ()) -> dict[str, Zone]:
        """The names of every network; those on the ones in `nameless` (ids) are for links alone."""
        members: dict[str, dict[str, tuple[Addresses, list[str]]]] = {}
        names: dict[str, str] = {}
        for member in self.members.values():
            for interface in member.lease.interfaces:
                addresses = tuple(ip_address(text) for text in interface.hosts)
                others = list(member.names_on(interface.network, interface.network_name))
                members.setdefault(interface.network, {})[member.name] = addresses, others
                names[interface.network] = interface.network_name
        return {id: zone(names[id], found, open=id not in nameless) for id, found in members.items()}


def on(roster: Roster, network: str) -> Mapping[str, Member]:
    """The members of one network."""
    return {id: member for id, member in roster.members.items() if member.lease.on(network) is not None}
