"""The kernel's side of networks: bridges, namespaces with their interfaces, the table. For one thread, which enters
other namespaces for moments.

It knows what it was told; `settle` tells everything after a restart. Links of ours are found by their group.
"""

import errno
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_interface, ip_network
from pathlib import Path

from adapters.net import firewall, foreign, links, namespaces, resolver, resolving
from adapters.net.links import Link
from adapters.net.netlink import Netlink, Refusal, as_error
from domain.errors import KernelError, NotFound, Refused
from domain.network.addresses import mac_of
from domain.network.setup import Bridge, Endpoint, Sandbox
from domain.ports.network import Surroundings

log = logging.getLogger(__name__)
Run = tuple[str, int]
_SYSCTLS = Path("/proc/sys/net")
_THERE = "there "
"""Begins the note of an interface that was there before this host forwarded anything."""
_BRIDGES = "ldg"
_KINDS = ("bridge", "veth")
_HIGHEST_DEFAULT_MTU = 1500
_DEFAULT_PREFIXES = ("0.0.0.0/0", "::/0")


@dataclass(slots=True)
class Room:
    """The namespace of one run: `namespace` is a descriptor, `user` another one of the user namespace that owns it, as
    long as nobody lives in it (-1: none, or not needed any more), `endpoints` are by network, in order."""

    sandbox: Sandbox
    namespace: int
    user: int = -1
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    elements: firewall.Elements = field(default_factory=dict)

    def close(self) -> None:
        """Let go of the namespaces."""
        for fd in (self.namespace, self.user):
            if fd >= 0:
                os.close(fd)

    def targets(self) -> dict[int, str]:
        """Where published ports lead, by family: to the interface that leads out. Without one they lead nowhere."""
        if not self.sandbox.bindings:
            return {}
        leading = next((endpoint for endpoint in self.sandbox.endpoints if endpoint.gateways), None)
        addresses = [ip_interface(text).ip for text in leading.addresses] if leading else []
        return {address.version: str(address) for address in reversed(addresses) if not address.is_link_local}


class Host:
    """One engine's part of this host; `name` is the table's, `group` the number of its links (one more is that of links
    that wait to be deleted), `notes` a file that remembers what was changed for good until `clean`, `mode` what other
    firewalls are asked for (see `foreign`)."""

    def __init__(self, name: str, group: int, notes: Path, mode: str) -> None:
        self._group, self._dead, self._notes, self.mode = group, group + 1, notes, mode
        self._links, self._reaper = Netlink(), Netlink()
        self._firewall = firewall.Firewall(name)
        self.bridges: dict[str, Bridge] = {}
        self.rooms: dict[Run, Room] = {}
        self._loaded = False
        self._admitting = threading.Lock()

    # Networks --------------------------------------------------------------------------------------------------------

    def surroundings(self) -> Surroundings:
        """See the port; our own bridges do not count."""
        ours = {link.index for link in self._ours()}
        subnets = {str(ip_interface(text).network) for index, text in links.addresses(self._links) if index not in ours}
        uplinks = []
        for destination, index in links.routes(self._links):
            if destination == "default" or destination in _DEFAULT_PREFIXES:
                uplinks.append(index)
            elif index not in ours:
                subnets.add(str(ip_network(destination, strict=False)))
        subnets |= {f"{server}/{32 if ':' not in server else 128}" for server in resolving.servers()}
        found = {link.index: link.mtu for link in links.all_links(self._links)}
        mtus = [found[index] for index in uplinks if found.get(index)]
        return Surroundings(tuple(sorted(subnets)), min(*mtus[:1], _HIGHEST_DEFAULT_MTU, _HIGHEST_DEFAULT_MTU))

    def add_bridge(self, bridge: Bridge) -> None:
        """Make it, or make it as it should be."""
        self._ensure_table()
        before = self.bridges.get(bridge.id)
        try:
            self._make_bridge(bridge)
        except Refusal as refusal:
            raise as_error(refusal, "bridge", bridge.link) from refusal
        first = not self.bridges
        self.bridges[bridge.id] = bridge
        if first or not _covered(bridge.link):
            self.admit()  # before anything is sent; later ones are looked after aside, or known by how they begin
        if before is not None and before != bridge:
            self._firewall.remove(firewall.of_bridge(before))
        self._firewall.add(firewall.of_bridge(bridge))
        self._open_ways(bridge)

    def _make_bridge(self, bridge: Bridge) -> None:
        link = self._living(bridge.link)
        if link is None:
            self._links.send([links.bridge(bridge.link, mac=_bridge_mac(bridge), mtu=bridge.mtu, group=self._group)])
            link = links.find(self._links, bridge.link)
        if link is None or link.kind != "bridge" or link.group != self._group:
            raise Refused(f"an interface {bridge.link} exists already and is not ours", hint="remove it, or rename it")
        _write("ipv6", bridge.link, "accept_ra", "0")
        _write("ipv6", bridge.link, "disable_ipv6", "0" if _has_v6(bridge.addresses) else "1")
        there = {text for index, text in links.addresses(self._links) if index == link.index}
        self._links.send([*(links.address(link.index, text) for text in bridge.addresses if text not in there),
                          links.change(link.index, mtu=bridge.mtu, up=True)])

    def _living(self, name: str) -> Link | None:
        """The link of that name; one that waits to be deleted goes now."""
        link = links.find(self._links, name)
        if link is not None and link.group == self._dead:
            self.reap()
            return None
        return link

    def _open_ways(self, bridge: Bridge) -> None:
        """Only now that the table guards them: loopback addresses over the bridge, and forwarding."""
        _write("ipv4", bridge.link, "route_localnet", "1")
        if self._switch_on(_SYSCTLS / "ipv4/ip_forward", there=self._others):
            self._reload()
        if _has_v6(bridge.addresses):
            self._keep_router_advertisements()
            self._switch_on(_SYSCTLS / "ipv6/conf/all/forwarding")

    def _switch_on(self, path: Path, there: Callable[[], Iterable[str]] = tuple) -> bool:
        """Whether that was necessary; it is noted, to be undone by `clean`, with the interfaces that were `there`."""
        if path.read_text().strip() != "0":
            return False
        with self._notes.open("a") as notes:
            notes.writelines(f"{line}\n" for line in (path, *(_THERE + name for name in there())))
        path.write_text("1")
        return True

    def _others(self) -> list[str]:
        """Virtual interfaces that are not ours."""
        return [link.name for link in links.all_links(self._links) if link.kind and not self._is_ours(link)]

    def _keep_router_advertisements(self) -> None:
        """A host that forwards no longer listens to its own router, unless told to (ip-sysctl, accept_ra)."""
        if (_SYSCTLS / "ipv6/conf/all/forwarding").read_text().strip() != "0":
            return
        ours = {link.name for link in self._ours()}
        for conf in (_SYSCTLS / "ipv6/conf").iterdir():
            if conf.name not in (*ours, "all", "default", "lo") and (conf / "accept_ra").read_text().strip() == "1":
                (conf / "accept_ra").write_text("2")

    def remove_bridge(self, id: str) -> None:
        """Down and without a part in anything; `reap` deletes it. What is not there is fine."""
        bridge = self.bridges.pop(id, None)
        if bridge is None:
            return
        if not _covered(bridge.link):
            with self._admitting:  # who is at it at the moment, in another thread, must not go on with this one
                foreign.forget(links=(bridge.link,))
        link = links.find(self._links, bridge.link)
        if link is not None:
            self._doom([link])
        if self._loaded:
            self._firewall.remove(firewall.of_bridge(bridge))

    # Runs ------------------------------------------------------------------------------------------------------------

    def open(self, sandbox: Sandbox) -> Room:
        """The namespace of a run, complete. Raises: NotFound, Refused, KernelError; then nothing is left."""
        run = sandbox.id, sandbox.attempt
        if run in self.rooms:
            return self.rooms[run]
        for endpoint in sandbox.endpoints:
            self._bridge(endpoint.network)
        self._ensure_table()
        with ExitStack() as undo:
            namespace, user = namespaces.owned(*sandbox.ids) if sandbox.ids else (namespaces.make(), -1)
            room = Room(sandbox, namespace, user)
            undo.callback(room.close)
            undo.callback(self._unplug, room, room.endpoints)
            with namespaces.inside(namespace):
                _prepare(sandbox)
                inner = undo.enter_context(Netlink())
                if sandbox.resolver is not None:
                    resolving.load_redirect()
            for endpoint in sandbox.endpoints:
                self._plug(room, inner, endpoint)
            if not sandbox.endpoints:
                inner.send([links.change(links.LOOPBACK, up=True)])
            self._publish(room)
            self.rooms[run] = room
            undo.pop_all()
            inner.close()
            return room

    def change(self, sandbox: Sandbox, pid: int) -> Room:
        """A run that goes on has this from now on. New interfaces come first: what cannot be made changes nothing."""
        room = self._room(sandbox.id, sandbox.attempt, pid)
        new = [endpoint for endpoint in sandbox.endpoints if endpoint.network not in room.endpoints]
        with namespaces.inside(room.namespace):
            if new:
                addresses = [text for endpoint in new for text in endpoint.addresses]
                _write_inside("ipv6", "default", "disable_ipv6", "0" if _has_v6(addresses) else "1")
            inner = Netlink()
        with inner:
            for endpoint in new:
                self._plug(room, inner, endpoint)
            wanted = {endpoint.network: endpoint for endpoint in sandbox.endpoints}
            gone = room.endpoints.keys() - wanted.keys()
            _set_aside(inner, [room.endpoints[network] for network in gone])
            self._unplug(room, gone)
            self._lead(room, inner, wanted)
        room.sandbox = sandbox
        self._publish(room)
        return room

    def _lead(self, room: Room, inner: Netlink, wanted: Mapping[str, Endpoint]) -> None:
        """Another interface may be the way out now."""
        try:
            for network, before in room.endpoints.items():
                endpoint = wanted[network]
                if endpoint.gateways and endpoint != before:
                    index = _index(inner, endpoint.name)
                    inner.send([links.default_route(index, gateway) for gateway in endpoint.gateways])
        except Refusal as refusal:
            raise as_error(refusal, "route") from refusal
        room.endpoints = dict(wanted)

    def close(self, id: str, attempt: int) -> None:
        """Everything of a run; its interfaces no longer take part at once, and are deleted by `reap`."""
        room = self.rooms.pop((id, attempt), None)
        if room is None:
            return
        self._firewall.remove(room.elements)
        self._unplug(room, room.endpoints)
        room.close()

    def reap(self) -> None:
        """Delete the links that wait for it, all in one go: one by one each takes an RCU grace period."""
        self._reap(self._links)

    def reap_aside(self) -> None:
        """The same, for another thread: it takes some 20 ms, in which a container could have been started."""
        self._reap(self._reaper)

    def _reap(self, here: Netlink) -> None:
        try:
            here.send([links.delete_group(self._dead)])
        except Refusal as refusal:
            if refusal.errno not in (errno.ENODEV, errno.EINVAL):  # there was none
                raise as_error(refusal, "delete links") from refusal

    def _plug(self, room: Room, inner: Netlink, endpoint: Endpoint) -> None:
        """Both ends of a cable and what lies at the inner one. Once is enough."""
        bridge = self._bridge(endpoint.network)
        if room.endpoints.get(endpoint.network) == endpoint and self._living(endpoint.link) is not None:
            return
        master = links.index_of(self._links, bridge.link)
        if master is None:
            raise NotFound(f"there is no bridge {bridge.link}")
        requests = [links.pair(endpoint.link, master=master, mtu=bridge.mtu, group=self._group,
                               peer=endpoint.name, mac=endpoint.mac, namespace=room.namespace)]
        if bridge.isolated or room.sandbox.bindings:
            requests.append(links.port(endpoint.link, isolated=bridge.isolated, hairpin=bool(room.sandbox.bindings)))
        room.endpoints[endpoint.network] = endpoint
        try:
            self._links.send(requests)
            _dress(inner, endpoint, room.namespace)
        except Refused:
            del room.endpoints[endpoint.network]
            self._retire([endpoint.link])
            raise
        except Refusal as refusal:
            del room.endpoints[endpoint.network]
            if refusal.errno != errno.EEXIST:  # else it is somebody else's
                self._retire([endpoint.link])
            if refusal.errno == links.MOST_PORTS_ERRNO:
                raise Refused("the network is full: a bridge takes 1023 containers",
                              hint="connect the others to a second network") from refusal
            raise as_error(refusal, "interface", endpoint.link) from refusal

    def _publish(self, room: Room) -> None:
        elements = firewall.of_bindings(room.sandbox.bindings, room.targets())
        if elements != room.elements:
            self._firewall.replace(room.elements, elements)
            room.elements = elements

    def _unplug(self, room: Room, networks: Iterable[str]) -> None:
        """Its interfaces on these networks."""
        self._retire([room.endpoints.pop(network).link for network in list(networks)])

    def _retire(self, names: Iterable[str]) -> None:
        """Off the bridge: the address is free at once."""
        found = [link for name in names if (link := links.find(self._links, name)) and link.group == self._group]
        requests = [links.change(link.index, master=0, group=self._dead, up=False)
                    for link in found]
        try:
            if requests:
                self._links.send(requests)
        except Refusal as refusal:
            if refusal.errno != errno.ENODEV:
                raise as_error(refusal, "interface") from refusal

    def _bridge(self, network: str) -> Bridge:
        bridge = self.bridges.get(network)
        if bridge is None:
            raise NotFound(f"there is no network {network[:12]} in the kernel")
        return bridge

    def _room(self, id: str, attempt: int, pid: int) -> Room:
        room = self.rooms.get((id, attempt))
        if room is None:
            raise NotFound(f"container {id[:12]} has no network of its own", hint=f"its process was {pid}")
        return room

    def sockets(self, room: Room) -> tuple[socket.socket, socket.socket]:
        """Where the container's resolver listens: datagrams and streams."""
        with namespaces.inside(room.namespace), ExitStack() as undo:
            found = []
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                each = undo.enter_context(socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC))
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
                each.bind((resolving.ADDRESS, resolving.PORT))
                found.append(each)
            found[1].listen(64)
            undo.pop_all()
        return found[0], found[1]

    def connected(self, room: Room, family: int, kind: int, address: str) -> socket.socket:
        """A socket of a container's to a server for names."""
        with namespaces.inside(room.namespace):
            return resolver.connected(family, kind, address)

    # All of it -------------------------------------------------------------------------------------------------------

    def settle(self, bridges: Sequence[Bridge], sandboxes: Mapping[int, Sandbox]) -> None:
        """Exactly this. What cannot be mended is told at the end, after everything else was done."""
        faults: list[str] = []
        self._rooms_for(sandboxes, faults)
        for id in self.bridges.keys() - {bridge.id for bridge in bridges}:
            self.remove_bridge(id)
        self.bridges = {bridge.id: bridge for bridge in bridges}
        if not bridges and not self.rooms:
            self._sweep(set())
            self._firewall.drop()
            self._loaded = False
            return
        self._reload()
        foreign.admit(self.mode, links=self._named())
        for bridge in bridges:
            _attempt(faults, partial(self.add_bridge, bridge))
        for room in self.rooms.values():
            _attempt(faults, partial(self._mend, room))
        wanted = {bridge.link for bridge in bridges}
        wanted |= {endpoint.link for room in self.rooms.values() for endpoint in room.endpoints.values()}
        self._sweep(wanted)
        if faults:
            raise KernelError(f"networks could not be settled: {'; '.join(faults)}", stage="settle")

    def _rooms_for(self, sandboxes: Mapping[int, Sandbox], faults: list[str]) -> None:
        wanted = {(sandbox.id, sandbox.attempt): (pid, sandbox) for pid, sandbox in sandboxes.items()}
        for run in self.rooms.keys() - wanted.keys():
            self.close(*run)
        for run, (pid, sandbox) in wanted.items():
            if run not in self.rooms:
                if pid < 0:
                    continue
                try:
                    self.rooms[run] = Room(sandbox, namespaces.of(pid))
                except KernelError as error:
                    faults.append(str(error))
                    continue
            room = self.rooms[run]
            room.sandbox = sandbox
            there = {endpoint.network: endpoint for endpoint in sandbox.endpoints
                     if self._living(endpoint.link) is not None}
            self._unplug(room, room.endpoints.keys() - {endpoint.network for endpoint in sandbox.endpoints})
            room.endpoints = there
            room.elements = firewall.of_bindings(sandbox.bindings, room.targets())

    def _mend(self, room: Room) -> None:
        """Ports of a bridge that was deleted by somebody are plugged into the new one; missing cables are new ones."""
        with namespaces.inside(room.namespace):
            inner = Netlink()
        with inner:
            for endpoint in room.sandbox.endpoints:
                link = self._living(endpoint.link)
                if link is None:
                    self._plug(room, inner, endpoint)
                    continue
                master = _index(self._links, self._bridge(endpoint.network).link)
                if link.master != master:
                    self._links.send([links.change(link.index, master=master, up=True)])

    def _sweep(self, wanted: set[str]) -> None:
        self._doom([link for link in self._ours() if link.name not in wanted])
        self.reap()

    def clean(self) -> None:
        """Nothing of ours is left."""
        for run in list(self.rooms):
            self.close(*run)
        self.settle((), {})
        if not any(_covered(link.name) for link in links.all_links(self._links)):  # else another engine needs them
            with self._admitting:  # who is at it at the moment, in another thread, must not go on behind this
                foreign.forget()
        if self._notes.exists():
            for line in self._notes.read_text().splitlines():
                if not line.startswith(_THERE):
                    Path(line).write_text("0")
            self._notes.unlink()

    def cables(self) -> int:
        """How many interfaces containers have."""
        return sum(link.group == self._group and link.kind == "veth" for link in self._ours())

    def _ours(self) -> list[Link]:
        return [link for link in links.all_links(self._links) if self._is_ours(link)]

    def _is_ours(self, link: Link) -> bool:
        return link.group in (self._group, self._dead) and link.kind in _KINDS

    def _doom(self, found: Iterable[Link]) -> None:
        """Into the group that is deleted by one message."""
        requests = [links.change(link.index, group=self._dead, up=False) for link in found
                    if link.group == self._group]
        if requests:
            self._links.send(requests)

    def _ensure_table(self) -> None:
        if not self._loaded:
            self._reload()

    def admit(self) -> None:
        """Let other firewalls let our networks through, as they are now. For any thread."""
        with self._admitting:
            if self.bridges:
                foreign.admit(self.mode, links=self._named())

    def _named(self) -> tuple[str, ...]:
        """Bridges that users have given names."""
        return tuple(bridge.link for bridge in list(self.bridges.values()) if not _covered(bridge.link))

    def reload(self) -> None:
        """The table again, after somebody has deleted it."""
        if self._loaded:
            self._reload()

    def _reload(self) -> None:
        parts = [*map(firewall.of_bridge, self.bridges.values()), *(room.elements for room in self.rooms.values())]
        noted = self._notes.read_text().splitlines() if self._notes.exists() else []
        elders = firewall.of_elders(line.removeprefix(_THERE) for line in noted if line.startswith(_THERE))
        switched = str(_SYSCTLS / "ipv4/ip_forward") in noted
        self._firewall.load(firewall.merged([*parts, elders]), router=switched)
        self._loaded = True


def _covered(link: str) -> bool:
    """Whether other firewalls know the bridge by how its name begins (see `foreign`)."""
    return link.startswith(_BRIDGES)


def _prepare(sandbox: Sandbox) -> None:
    """Before there are interfaces: neighbours must not become the router (CVE-2020-10749); then the user's wishes."""
    addresses = [text for endpoint in sandbox.endpoints for text in endpoint.addresses]
    for name, value in (("accept_ra", "0"), ("disable_ipv6", "0" if _has_v6(addresses) else "1")):
        _write_inside("ipv6", "default", name, value)
    for name, value in sandbox.sysctls.items():
        _set(name, name.removeprefix("net.").removeprefix("net/").replace(".", "/"), value)


def _set(name: str, path: str, value: str) -> None:
    """A setting by its path below /proc/sys/net, in the namespace of the thread. Raises: Refused."""
    try:
        (_SYSCTLS / path).write_text(value)
    except OSError as error:
        raise Refused(f"sysctl {name}: {error.strerror}", hint="this kernel does not take it") from error


def _dress(inner: Netlink, endpoint: Endpoint, namespace: int) -> None:
    """The container's end: its own settings, addresses, up, the ways out."""
    index = _index(inner, endpoint.name)
    if endpoint.sysctls:
        with namespaces.inside(namespace):
            for path, value in endpoint.sysctls.items():
                _set(f"net/{path}", path, value)
    inner.send([links.change(links.LOOPBACK, up=True),
                *(links.address(index, text) for text in endpoint.addresses), links.change(index, up=True),
                *(links.default_route(index, gateway) for gateway in endpoint.gateways)])


def _set_aside(inner: Netlink, gone: Iterable[Endpoint]) -> None:
    """Their names are free for new ones before they are deleted."""
    for endpoint in gone:
        link = links.find(inner, endpoint.name)
        if link is not None:
            inner.send([links.change(link.index, up=False), links.rename(link.index, endpoint.link)])


def _index(here: Netlink, name: str) -> int:
    index = links.index_of(here, name)
    if index is None:
        raise Refusal(errno.ENODEV, f"no interface {name}", 0)
    return index


def _bridge_mac(bridge: Bridge) -> str:
    """That of its address, as a container's; without one the kernel may choose: 02:1d and the end of the id."""
    four = [ip_interface(text).ip for text in bridge.addresses if ":" not in text]
    if four and four[0].version == 4:
        return mac_of(four[0])
    digits = f"{int(bridge.id[-8:], 16):08x}" if bridge.id else "00000001"
    return "02:1d:" + ":".join(digits[at:at + 2] for at in range(0, 8, 2))


def _has_v6(addresses: Iterable[str]) -> bool:
    return any(":" in text for text in addresses)


def _write(family: str, link: str, name: str, value: str) -> None:
    """A kernel without that family has no such file, and nothing to set."""
    path = f"{_SYSCTLS}/{family}/conf/{link}/{name}"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise KernelError(f"write {path}: {error.strerror}", errno=error.errno or 0, stage="write",
                          path=path) from error
    finally:
        os.close(fd)


_write_inside = _write  # the files show the namespace of the thread that opens them


def _attempt(faults: list[str], action: Callable[[], None]) -> None:
    try:
        action()
    except (KernelError, Refused, NotFound) as error:
        log.warning("%s", error)
        faults.append(str(error))
