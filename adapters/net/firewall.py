"""The table of this engine: a fixed set of rules, in which networks and ports are elements of sets and maps.

    publish  pub4    { tcp . 8080 : 10.213.0.2 . 80 }      pub4ip  { 127.0.0.1 . tcp . 8080 : … }
    forward  bridges { "ldg-a1a1a1a1a1" }   same { "ldg-a1a1a1a1a1" . "ldg-a1a1a1a1a1" }   internal { … }

A new network or port is an element more, never a rule more. The kernel knows the table as ours (flags owner and
persist, 6.9): nobody else changes it, and it outlives us. Older kernels let others change it; then `load` is due again.
"""

import errno
import struct
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address, ip_interface

from adapters.net import nft
from adapters.net.netlink import NETFILTER, Netlink, Refusal, as_error
from adapters.net.nft import ACCEPT, DIFFERENT, DROP, IPV4, IPV6, MASQUERADE, RETURN, Element, Message
from domain.network.ports import Binding
from domain.network.setup import Bridge

Elements = dict[str, dict[Element, None]]
"""Set or map → (key, data) in order; data is empty in a set, and END at the first key behind an interval, which may be
where another one begins."""

_PROTOCOLS = {"tcp": 6, "udp": 17}
_ESTABLISHED, _CHANGED_DESTINATION = struct.pack("=I", 6), struct.pack("=I", 0x20)
_LOCAL = struct.pack("=I", 2)
_V4, _V6 = bytes((IPV4,)), bytes((IPV6,))
_LOOPBACK = b"lo".ljust(16, b"\0")
_RAW, _DSTNAT, _SRCNAT, _MANGLE, _FILTER = -300, -100, 100, -150, 0
_FULL_PREFIX = {4: 32, 6: 128}
_SETS: dict[str, tuple[tuple[str, ...], tuple[str, ...], int]] = {
    "pub4": (("inet_proto", "inet_service"), ("ipv4_addr", "inet_service"), 0),
    "pub4ip": (("ipv4_addr", "inet_proto", "inet_service"), ("ipv4_addr", "inet_service"), 0),
    "pub6": (("inet_proto", "inet_service"), ("ipv6_addr", "inet_service"), 0),
    "pub6ip": (("ipv6_addr", "inet_proto", "inet_service"), ("ipv6_addr", "inet_service"), 0),
    "bridges": (("ifname",), (), 0),
    "internal": (("ifname",), (), 0),
    "same": (("ifname", "ifname"), (), 0),
    "elders": (("ifname", "ifname"), (), 0),
    "nets4": (("ipv4_addr",), (), nft.INTERVAL),
    "nets6": (("ipv6_addr",), (), nft.INTERVAL),
    "masq4": (("ipv4_addr",), (), nft.INTERVAL),
    "masq6": (("ipv6_addr",), (), nft.INTERVAL),
}


class Firewall:
    """The table called `name`, in the namespace in which this object was made; for one thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = Netlink(NETFILTER)
        self._flags = nft.OWNER | nft.PERSIST

    def close(self) -> None:
        """The rules stay."""
        self._socket.close()

    def load(self, elements: Elements, *, router: bool) -> None:
        """The table anew with these elements, in one step without a gap. `router`: this host forwards only for us.

        Raises: KernelError, saying what this kernel lacks.
        """
        for flags in dict.fromkeys((self._flags, 0)):
            try:
                nft.commit(self._socket, self._whole(elements, flags, router=router))
            except Refusal as refusal:
                if flags and refusal.errno in (errno.EINVAL, errno.EOPNOTSUPP):
                    continue
                raise as_error(refusal, "nftables", self.name, _HINTS.get(refusal.errno, "")) from refusal
            self._flags = flags
            return

    @property
    def owned(self) -> bool:
        """Whether the kernel keeps others from changing the table."""
        return bool(self._flags)

    def add(self, elements: Elements) -> None:
        """Put these in as well. Raises: KernelError."""
        self._commit([message for name, rows in elements.items()
                      for message in nft.add(self.name, name, rows)])

    def remove(self, elements: Elements) -> None:
        """Take these out, if they are there. Raises: KernelError."""
        for name, rows in elements.items():
            for row in _pairs(rows):
                try:
                    self._commit(nft.remove(self.name, name, row))
                except Missing:
                    continue

    def replace(self, old: Elements, new: Elements) -> None:
        """Put `new` into the place of `old` in one step, so that no packet finds neither. Raises: KernelError."""
        taken = [message for name, rows in old.items() for message in nft.remove(self.name, name, rows)]
        put = [message for name, rows in new.items() for message in nft.add(self.name, name, rows)]
        try:
            self._commit([*taken, *put])
        except Missing:  # not all of the old ones were there
            self.remove(old)
            self.add(new)

    def drop(self) -> None:
        """Take the table away. Raises: KernelError."""
        try:
            self._commit([nft.delete_table(self.name)])
        except Missing:
            return

    def _commit(self, messages: list[Message]) -> None:
        if not messages:
            return
        try:
            nft.commit(self._socket, messages)
        except Refusal as refusal:
            if refusal.errno == errno.ENOENT:
                raise Missing(str(refusal)) from refusal
            raise as_error(refusal, "nftables", self.name, _HINTS.get(refusal.errno, "")) from refusal

    def _whole(self, elements: Elements, flags: int, *, router: bool) -> list[Message]:
        """Deleting needs something to delete: so it is made first."""
        name = self.name
        found = [nft.table(name, flags), nft.delete_table(name), nft.table(name, flags)]
        found += [nft.container(name, each, key, data, flags=more, id=number)
                  for number, (each, (key, data, more)) in enumerate(_SETS.items(), 1)]
        found += rules(name, router=router)
        for each, rows in elements.items():
            found += nft.add(name, each, rows)
        return found


class Missing(Exception):
    """The element, or the table, is not there."""


_HINTS = {
    errno.EPERM: "the engine needs CAP_NET_ADMIN, or another process holds this table",
    errno.EOPNOTSUPP: "this kernel lacks nftables with NAT for inet: CONFIG_NF_TABLES_INET, CONFIG_NFT_NAT",
    errno.EPROTONOSUPPORT: "this kernel lacks nftables: modprobe nf_tables",
    errno.ENOENT: "this kernel lacks one of: nft_nat, nft_masq, nft_ct, nft_fib_inet, nft_chain_nat",
}


# What is in the sets --------------------------------------------------------------------------------------------------

def of_elders(links: Iterable[str]) -> Elements:
    """Of interfaces that were there before the host forwarded anything."""
    return {"elders": {(name + name, b""): None for name in map(nft.interface, links)}}


def of_bridge(bridge: Bridge) -> Elements:
    """What a network adds."""
    name = nft.interface(bridge.link)
    found: Elements = {"bridges": {(name, b""): None}}
    if bridge.internal:
        found["internal"] = {(name, b""): None}
    if not bridge.isolated:
        found["same"] = {(name + name, b""): None}
    for text in bridge.addresses:
        net = ip_interface(text).network
        first, behind = net[0].packed, int(net[-1]) + 1
        ends: dict[Element, None] = {(first, b""): None}
        if behind < 1 << _FULL_PREFIX[net.version]:
            ends[behind.to_bytes(len(first), "big"), nft.END] = None
        found[f"nets{net.version}"] = ends
        if bridge.masquerade and not bridge.internal:
            found[f"masq{net.version}"] = dict(ends)
    return found


def of_bindings(bindings: Iterable[Binding], targets: Mapping[int, str]) -> Elements:
    """What published ports add; `targets` is the container's address by family. Ports of a family in which it has none
    are left to the proxy."""
    found: Elements = {}
    for binding in bindings:
        host = ip_address(binding.host_ip)
        protocol = _PROTOCOLS.get(binding.protocol)
        if host.version not in targets or protocol is None:
            continue
        key: tuple[bytes, ...] = bytes((protocol,)), nft.port(binding.host_port)
        name = f"pub{host.version}"
        if not host.is_unspecified:
            name, key = f"{name}ip", (host.packed, *key)
        data = nft.joined(ip_address(targets[host.version]).packed, nft.port(binding.port))
        found.setdefault(name, {})[nft.joined(*key), data] = None
    return found


def merged(parts: Iterable[Elements]) -> Elements:
    """Everything together."""
    found: Elements = {}
    for part in parts:
        for name, rows in part.items():
            found.setdefault(name, {}).update(rows)
    return found


def _pairs(rows: Mapping[Element, None]) -> Iterable[list[Element]]:
    """One at a time, so that a missing one keeps no other; both ends of an interval together."""
    if any(data == nft.END for _, data in rows):
        yield list(rows)
    else:
        yield from ([row] for row in rows)


# The rules ------------------------------------------------------------------------------------------------------------

def rules(name: str, *, router: bool) -> list[Message]:
    """Chains and their rules, in order."""
    found = [
        nft.chain(name, "guard", "filter", "prerouting", _RAW),
        nft.chain(name, "publish"),
        nft.chain(name, "pre", "nat", "prerouting", _DSTNAT),
        nft.chain(name, "out", "nat", "output", _DSTNAT),
        nft.chain(name, "post", "nat", "postrouting", _SRCNAT),
        nft.chain(name, "mangle", "filter", "forward", _MANGLE),
        nft.chain(name, "forward", "filter", "forward", _FILTER),
    ]

    def rule(chain: str, *expressions: nft.Expression) -> None:
        found.append(nft.rule(name, chain, *expressions))

    _guard(rule)
    _publish(rule)
    _sources(rule)
    _segments(rule)
    _forward(rule)
    if router:
        found.append(nft.chain(name, "router", "filter", "forward", _FILTER))
        _keep_apart(rule)
    return found


_Rule = Callable[..., None]


def _keep_apart(rule: _Rule) -> None:
    """The host was no router before us: what was there then stays apart, and so does hardware. Bridges of virtual
    machines go on (what crosses one may pass here as well), and so does what others have made since, who want to
    forward for themselves: further engines, docker, libvirt, a VPN. Hardware has no kind: such a rule ends there."""
    for side in ("iif", "oif"):
        rule("router", nft.meta(side + "kind"), nft.compare(bytes(16), DIFFERENT), nft.meta(side + "name", nft.R1),
             nft.meta(side + "name", nft.R2), nft.in_set("elders", inverted=True), ACCEPT)
    rule("router", nft.meta("iifname", nft.R1), nft.meta("oifname", nft.R2), nft.in_set("elders"), ACCEPT)
    rule("router", nft.meta("iifname"), nft.in_set("bridges", inverted=True), nft.meta("oifname"),
         nft.in_set("bridges", inverted=True), DROP)


def _guard(rule: _Rule) -> None:
    """Bridges route 127/8 for published ports; nobody outside may use that (route_localnet, CVE-2020-8558)."""
    rule("guard", nft.meta("iifname"), nft.compare(_LOOPBACK, DIFFERENT), nft.meta("nfproto"), nft.compare(_V4),
         nft.network(16, 4), nft.masked(b"\xff\0\0\0"), nft.compare(b"\x7f\0\0\0"), DROP)


def _publish(rule: _Rule) -> None:
    """One address first, then every address. The kernel cannot route ::1 out: a proxy listens there."""
    for chain in ("pre", "out"):
        rule(chain, nft.destination_type(), nft.compare(_LOCAL), nft.verdict("jump", "publish"))
    four, six = (nft.meta("nfproto"), nft.compare(_V4)), (nft.meta("nfproto"), nft.compare(_V6))
    to_four = nft.new_destination(IPV4, nft.R1, nft.R9)
    to_six = nft.new_destination(IPV6, nft.R1, 12)  # the port lies behind sixteen bytes of address
    rule("publish", *four, nft.network(16, 4), nft.meta("l4proto", nft.R9), nft.transport(2, 2, nft.R10),
         nft.look_up("pub4ip"), to_four)
    rule("publish", *four, nft.meta("l4proto"), nft.transport(2, 2, nft.R9), nft.look_up("pub4"), to_four)
    rule("publish", *six, nft.network(24, 16), nft.compare(ip_address("::1").packed), RETURN)
    rule("publish", *six, nft.network(24, 16), nft.meta("l4proto", 12), nft.transport(2, 2, 13),
         nft.look_up("pub6ip"), to_six)
    rule("publish", *six, nft.meta("l4proto"), nft.transport(2, 2, nft.R9), nft.look_up("pub6"), to_six)


def _sources(rule: _Rule) -> None:
    """Who must be answered through us appears as us: the host's loopback, containers that take the way over a
    published port, and everybody who goes out."""
    to_bridge = nft.meta("oifname"), nft.in_set("bridges")
    outward = nft.meta("oifname"), nft.in_set("bridges", inverted=True)
    rule("post", *to_bridge, nft.meta("nfproto"), nft.compare(_V4), nft.network(12, 4), nft.masked(b"\xff\0\0\0"),
         nft.compare(b"\x7f\0\0\0"), MASQUERADE)
    for family, load, digit in ((_V4, nft.network(12, 4), 4), (_V6, nft.network(8, 16), 6)):
        of_ours = nft.meta("nfproto"), nft.compare(family), load
        rule("post", *of_ours, nft.in_set(f"nets{digit}"), *to_bridge, nft.conntrack_status(),
             nft.masked(_CHANGED_DESTINATION), nft.compare(bytes(4), DIFFERENT), MASQUERADE)
        rule("post", *of_ours, nft.in_set(f"masq{digit}"), *outward, MASQUERADE)


def _segments(rule: _Rule) -> None:
    """TCP between a bridge and the world uses segments that fit the way, also where nobody tells (RFC 4459)."""
    first = (nft.meta("l4proto"), nft.compare(b"\x06"), nft.transport(13, 1), nft.masked(b"\x06"), nft.compare(b"\x02"))
    clamp = nft.route_segment(), nft.as_network_order(), nft.set_segment()
    for inside, outside in (("iifname", "oifname"), ("oifname", "iifname")):
        rule("mangle", nft.meta(inside), nft.in_set("bridges"), nft.meta(outside),
             nft.in_set("bridges", inverted=True), *first, *clamp)


def _forward(rule: _Rule) -> None:
    """Into a network goes what answers, what comes from the same one, and what came over a published port."""
    rule("forward", nft.conntrack_state(), nft.masked(_ESTABLISHED), nft.compare(bytes(4), DIFFERENT), ACCEPT)
    rule("forward", nft.meta("iifname", nft.R1), nft.meta("oifname", nft.R2), nft.in_set("same"), ACCEPT)
    rule("forward", nft.meta("iifname"), nft.in_set("internal"), DROP)
    rule("forward", nft.meta("oifname"), nft.in_set("bridges"), nft.conntrack_status(),
         nft.masked(_CHANGED_DESTINATION), nft.compare(bytes(4), DIFFERENT), ACCEPT)
    rule("forward", nft.meta("oifname"), nft.in_set("bridges"), DROP)
