"""Links, addresses and routes: requests in pyroute2's classes, sent in batches. Decides nothing.

Every link of ours has the number of its engine as its group: that is how they are found again. A bridge with its ports:

    with Netlink() as here:
        add_bridge(here, "ldg0", mac="02:1d:0a:d4:00:01", mtu=1500, group=77)
"""

import errno
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import Any

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from adapters.net import netlink
from adapters.net.netlink import ACK, CREATE, EXCLUSIVE, REPLACE, Netlink, Refusal

MOST_PORTS_ERRNO = errno.EXFULL
NEWLINK, DELLINK, GETLINK, SETLINK, NEWADDR, DELADDR, GETADDR = 16, 17, 18, 19, 20, 21, 22
NEWROUTE, GETROUTE = 24, 26
_UP = 1
_MTU, _LINK, _MASTER, _LINKINFO, _GROUP, _IFNAME, _KIND = 4, 5, 10, 18, 27, 3, 1
_NODAD = 0x02  # usable at once instead of after a second of asking whether somebody else has it
_UNIVERSE, _LINK_SCOPE, _BOOT, _UNICAST, _MAIN = 0, 253, 3, 1, 254
_IFINFO, _IFADDR, _ROUTE = struct.Struct("=BxHiII"), struct.Struct("=4Bi"), struct.Struct("=8BI")
_DST, _OIF = 1, 4

Request = tuple[int, int, bytes]


@dataclass(frozen=True, slots=True)
class Link:
    """An interface: `kind` is empty for hardware, `master` the bridge it is a port of (0 for none)."""

    index: int
    name: str
    kind: str
    group: int
    master: int
    mtu: int
    up: bool


def bridge(name: str, *, mac: str, mtu: int, group: int) -> Request:
    """A bridge with a hardware address of its own (else it would change with its ports) that forwards at once."""
    data = {"attrs": [("IFLA_BR_FORWARD_DELAY", 0), ("IFLA_BR_MCAST_SNOOPING", 0)]}
    info = {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", data)]}
    return NEWLINK, ACK | CREATE | EXCLUSIVE, _link([
        ("IFLA_IFNAME", name), ("IFLA_ADDRESS", mac), ("IFLA_MTU", mtu), ("IFLA_GROUP", group),
        ("IFLA_LINKINFO", info)])


def pair(name: str, *, master: int, mtu: int, group: int, peer: str, mac: str, namespace: int) -> Request:
    """Both ends of a cable: ours up on the bridge, the other one in a namespace (it must not be up yet: ENOTCONN)."""
    other: dict[str, Any] = {"attrs": [("IFLA_IFNAME", peer), ("IFLA_ADDRESS", mac), ("IFLA_MTU", mtu),
                                       ("IFLA_NET_NS_FD", namespace)]}
    info = {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", other)]})]}
    return NEWLINK, ACK | CREATE | EXCLUSIVE, _link([
        ("IFLA_IFNAME", name), ("IFLA_MTU", mtu), ("IFLA_GROUP", group), ("IFLA_MASTER", master),
        ("IFLA_LINKINFO", info)], up=True)


def change(index: int, *attributes: tuple[str, object], up: bool | None = None) -> Request:
    """Set attributes of a link; `up` None leaves it as it is."""
    return SETLINK, ACK, _link(list(attributes), index=index, up=up)


def port(name: str, *, isolated: bool, hairpin: bool) -> Request:
    """How a port of a bridge behaves: whether it may talk to other isolated ones, and whether a frame may go out where
    it came in: a container that asks for its own published port, where the bridge itself changes destinations
    (br_netfilter)."""
    data = _attribute(4, bytes((hairpin,))) + _attribute(33, bytes((isolated,)))  # IFLA_BRPORT_MODE, _ISOLATED
    info = _attribute(4, b"bridge\0") + _attribute(5 | 0x8000, data)  # IFLA_INFO_SLAVE_KIND, _DATA
    return NEWLINK, ACK, (_IFINFO.pack(0, 0, 0, 0, 0) + _attribute(_IFNAME, name.encode() + b"\0")
                          + _attribute(_LINKINFO | 0x8000, info))


def delete(index: int) -> Request:
    """Delete one link."""
    return DELLINK, ACK, _link([], index=index)


def delete_group(group: int) -> Request:
    """Delete all links of a group."""
    return DELLINK, ACK, _link([("IFLA_GROUP", group)])


def address(index: int, text: str) -> Request:
    """Give a link an address with its prefix."""
    interface = ip_interface(text)
    message = ifaddrmsg()
    message["family"] = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    message["prefixlen"], message["index"] = interface.network.prefixlen, index
    attributes: list[tuple[str, object]] = [("IFA_ADDRESS", str(interface.ip))]
    if interface.version == 4:
        attributes += [("IFA_LOCAL", str(interface.ip))]
        if interface.network.prefixlen < 31:
            attributes += [("IFA_BROADCAST", str(interface.network.broadcast_address))]
    else:
        attributes += [("IFA_FLAGS", _NODAD)]
    message["attrs"] = attributes
    return NEWADDR, ACK | CREATE | REPLACE, _encoded(message)


def default_route(index: int, gateway: str) -> Request:
    """Everything else goes there."""
    message = rtmsg()
    message["family"] = socket.AF_INET6 if ":" in gateway else socket.AF_INET
    message["table"], message["proto"], message["scope"], message["type"] = _MAIN, _BOOT, _UNIVERSE, _UNICAST
    message["attrs"] = [("RTA_GATEWAY", gateway), ("RTA_OIF", index)]
    return NEWROUTE, ACK | CREATE | REPLACE, _encoded(message)


def all_links(here: Netlink) -> list[Link]:
    """Every interface of the socket's namespace."""
    return [_parsed(body) for body in here.dump(GETLINK, _IFINFO.pack(0, 0, 0, 0, 0))]


def find(here: Netlink, name: str) -> Link | None:
    """The link of that name."""
    payload = _IFINFO.pack(0, 0, 0, 0, 0) + _attribute(_IFNAME, name.encode() + b"\0")
    try:
        answers = here.send([(GETLINK, 0, payload)])
    except Refusal as refusal:
        if refusal.errno == errno.ENODEV:
            return None
        raise
    return _parsed(answers[0][1]) if answers else None


def addresses(here: Netlink) -> list[tuple[int, str]]:
    """(index of the link, address with prefix) of everything here."""
    found = []
    for body in here.dump(GETADDR, _IFADDR.pack(0, 0, 0, 0, 0)):
        family, prefix, _, _, index = _IFADDR.unpack_from(body)
        values = netlink.attributes(body, _IFADDR.size)
        packed = values.get(2) or values.get(1)  # IFA_LOCAL; where there is none IFA_ADDRESS is the same
        if packed is not None:
            found.append((index, f"{socket.inet_ntop(family, packed)}/{prefix}"))
    return found


def routes(here: Netlink) -> list[tuple[str, int]]:
    """(destination with prefix, `default` for everything; index of the link, 0 for none) of all tables but `local`."""
    found = []
    for body in here.dump(GETROUTE, _ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)):
        family, prefix, *_, kind, _ = _ROUTE.unpack_from(body)
        values = netlink.attributes(body, _ROUTE.size)
        if kind != _UNICAST or family not in (socket.AF_INET, socket.AF_INET6):
            continue
        (index,) = struct.unpack("=I", values[_OIF]) if _OIF in values else (0,)
        found.append((f"{socket.inet_ntop(family, values[_DST])}/{prefix}" if _DST in values else "default", index))
    return found


def _parsed(body: bytes) -> Link:
    _, _, index, flags, _ = _IFINFO.unpack_from(body)
    values = netlink.attributes(body, _IFINFO.size)
    info = netlink.attributes(values.get(_LINKINFO, b""))
    return Link(index, values[_IFNAME].rstrip(b"\0").decode(errors="replace"),
                info.get(_KIND, b"").rstrip(b"\0").decode(), _number(values.get(_GROUP)), _number(values.get(_MASTER)),
                _number(values.get(_MTU)), bool(flags & _UP))


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _number(data: bytes | None) -> int:
    return int(struct.unpack("=I", data)[0]) if data else 0


def _link(attributes: Sequence[tuple[str, object]], *, index: int = 0, up: bool | None = None) -> bytes:
    message = ifinfmsg()
    message["index"] = index
    if up is not None:
        message["flags"], message["change"] = (_UP if up else 0), _UP
    message["attrs"] = list(attributes)
    return _encoded(message)


def _encoded(message: Any) -> bytes:
    """The payload behind the netlink header, which `Netlink` writes."""
    message.encode()
    return bytes(message.data[netlink.HEADER.size:])
