"""Links, addresses and routes: requests in pyroute2's classes, sent in batches. Decides nothing.

What every start and every connect needs is packed here by hand, which takes a twentieth of the time.

Every link of ours has the number of its engine as its group: that is how they are found again. A bridge with its ports:

    with Netlink() as here:
        add_bridge(here, "ldg0", mac="02:1d:0a:d4:00:01", mtu=1500, group=77)
"""

import errno
import fcntl
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from adapters.net import netlink
from adapters.net.netlink import ACK, CREATE, EXCLUSIVE, REPLACE, Netlink, Refusal

MOST_PORTS_ERRNO = errno.EXFULL
NEWLINK, DELLINK, GETLINK, SETLINK, NEWADDR, DELADDR, GETADDR = 16, 17, 18, 19, 20, 21, 22
NEWROUTE, GETROUTE = 24, 26
_UP = 1
_ADDRESS, _IFNAME, _MTU, _MASTER, _LINKINFO, _GROUP, _NAMESPACE = 1, 3, 4, 10, 18, 27, 28
_KIND, _DATA, _PEER = 1, 2, 1
_NODAD = 0x02  # usable at once instead of after a second of asking whether somebody else has it
_UNIVERSE, _BOOT, _UNICAST, _MAIN = 0, 3, 1, 254
_IFINFO, _IFADDR, _ROUTE = struct.Struct("=BxHiII"), struct.Struct("=4Bi"), struct.Struct("=8BI")
_DST, _OIF, _GATEWAY = 1, 4, 5
_INDEX_OF, _IFREQ, _IFNAMSIZ = 0x8933, 40, 16  # SIOCGIFINDEX and what it fills in, netdevice(7)
LOOPBACK = 1
"""The index of `lo` in every namespace (LOOPBACK_IFINDEX)."""
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8

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
    hardware = _attribute(_ADDRESS, bytes.fromhex(mac.replace(":", "")))
    other = _IFINFO.pack(0, 0, 0, 0, 0) + _text(_IFNAME, peer) + hardware
    other += _integer(_MTU, mtu) + _integer(_NAMESPACE, namespace)
    data = _nested(_DATA, _nested(_PEER, other))
    return NEWLINK, ACK | CREATE | EXCLUSIVE, (
        _IFINFO.pack(0, 0, 0, _UP, _UP) + _text(_IFNAME, name) + _integer(_MTU, mtu) + _integer(_GROUP, group)
        + _integer(_MASTER, master) + _nested(_LINKINFO, _text(_KIND, "veth") + data))


def change(index: int, *, master: int | None = None, group: int | None = None, mtu: int | None = None,
           up: bool | None = None) -> Request:
    """Make a link another one; what is None stays as it is, `master` 0 is none."""
    attributes = b"".join(_integer(kind, value) for kind, value in ((_MASTER, master), (_GROUP, group), (_MTU, mtu))
                          if value is not None)
    return SETLINK, ACK, _IFINFO.pack(0, 0, index, _UP if up else 0, 0 if up is None else _UP) + attributes


def rename(index: int, name: str) -> Request:
    """Give a link that is down another name (before 6.2 the kernel refuses others)."""
    return SETLINK, ACK, _IFINFO.pack(0, 0, index, 0, 0) + _text(_IFNAME, name)


def port(name: str, *, isolated: bool, hairpin: bool) -> Request:
    """How a port of a bridge behaves: whether it may talk to other isolated ones, and whether a frame may go out where
    it came in: a container that asks for its own published port, where the bridge itself changes destinations
    (br_netfilter)."""
    data = _attribute(4, bytes((hairpin,))) + _attribute(33, bytes((isolated,)))  # IFLA_BRPORT_MODE, _ISOLATED
    info = _attribute(4, b"bridge\0") + _attribute(5 | 0x8000, data)  # IFLA_INFO_SLAVE_KIND, _DATA
    return NEWLINK, ACK, _IFINFO.pack(0, 0, 0, 0, 0) + _text(_IFNAME, name) + _nested(_LINKINFO, info)


def delete(index: int) -> Request:
    """Delete one link."""
    return DELLINK, ACK, _link([], index=index)


def delete_group(group: int) -> Request:
    """Delete all links of a group."""
    return DELLINK, ACK, _link([("IFLA_GROUP", group)])


def address(index: int, text: str) -> Request:
    """Give a link an address with its prefix."""
    host, _, prefix = text.partition("/")
    family, length = socket.AF_INET6 if ":" in host else socket.AF_INET, int(prefix)
    packed = socket.inet_pton(family, host)
    body = _IFADDR.pack(family, length, 0, 0, index) + _attribute(_IFA_ADDRESS, packed)
    if family == socket.AF_INET6:
        body += _integer(_IFA_FLAGS, _NODAD)
    else:
        body += _attribute(_IFA_LOCAL, packed)
        if length < 31:  # else there is no address for all (RFC 3021)
            body += _attribute(_IFA_BROADCAST, (int.from_bytes(packed) | (1 << 32 - length) - 1).to_bytes(4))
    return NEWADDR, ACK | CREATE | REPLACE, body


def default_route(index: int, gateway: str) -> Request:
    """Everything else goes there."""
    family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
    body = _ROUTE.pack(family, 0, 0, 0, _MAIN, _BOOT, _UNIVERSE, _UNICAST, 0)
    body += _attribute(_GATEWAY, socket.inet_pton(family, gateway)) + _integer(_OIF, index)
    return NEWROUTE, ACK | CREATE | REPLACE, body


def all_links(here: Netlink) -> list[Link]:
    """Every interface of the socket's namespace."""
    return [_parsed(body) for body in here.dump(GETLINK, _IFINFO.pack(0, 0, 0, 0, 0))]


def find(here: Netlink, name: str) -> Link | None:
    """The link of that name."""
    payload = _IFINFO.pack(0, 0, 0, 0, 0) + _text(_IFNAME, name)
    try:
        answers = here.send([(GETLINK, 0, payload)])
    except Refusal as refusal:
        if refusal.errno == errno.ENODEV:
            return None
        raise
    return _parsed(answers[0][1]) if answers else None


def index_of(here: Netlink, name: str) -> int | None:
    """The index of the link of that name: `find` for who needs no more, without the two kilobytes that the kernel says
    about a link. Any socket will do, and it answers for its own namespace."""
    asked = bytearray(name.encode()[:_IFNAMSIZ - 1].ljust(_IFREQ, b"\0"))
    try:
        fcntl.ioctl(here.fileno(), _INDEX_OF, asked)
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise Refusal(error.errno or 0, "", 0) from error
    return int(struct.unpack_from("=i", asked, _IFNAMSIZ)[0])


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


def _nested(kind: int, value: bytes) -> bytes:
    return _attribute(kind | 0x8000, value)


def _integer(kind: int, value: int) -> bytes:
    return struct.pack("=HHI", 8, kind, value)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


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
