"""The kernel's table of connections: entries that would send datagrams where a port no longer leads."""

import errno
import struct
import threading
from collections.abc import Mapping

from adapters.net.netlink import ACK, NETFILTER, Netlink, Refusal, attributes

_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
_HEADER = struct.Struct(">BBH")
_ORIGINAL, _REPLY, _ADDRESSES, _PROTOCOL_PART, _PROTOCOL, _TARGET_PORT, _UDP = 1, 2, 1, 2, 1, 3, 17
_SOURCE_V4, _SOURCE_V6 = 1, 3


class Stale:
    """Collects ports of the host (UDP) with the addresses to which they lead now, and deletes the entries that lead
    elsewhere, all at once. For any thread."""

    def __init__(self) -> None:
        self._ports: dict[int, frozenset[bytes]] = {}
        self._lock = threading.Lock()

    def add(self, ports: Mapping[int, frozenset[bytes]]) -> bool:
        """True if `delete` must be called; otherwise somebody else will. Addresses are packed; none: all entries go."""
        with self._lock:
            first = not self._ports
            self._ports |= ports
            return first

    def delete(self) -> None:
        """Entries whose first packet went to one of the ports: by the host's number, not the container's."""
        with self._lock:
            ports, self._ports = self._ports, {}
        with Netlink(NETFILTER) as here:
            entries = [(body[:4], attributes(body, 4)) for body in here.dump(_GET, _HEADER.pack(0, 0, 0))]
            requests = [(_DELETE, ACK, head + _packed(_ORIGINAL | 0x8000, entry[_ORIGINAL]))
                        for head, entry in entries
                        if (port := _target(entry.get(_ORIGINAL, b""))) in ports
                        and _answering(entry.get(_REPLY, b"")) not in ports[port]]
            for request in requests:
                try:
                    here.send([request])
                except Refusal as refusal:
                    if refusal.errno != errno.ENOENT:
                        raise


def _target(original: bytes) -> int:
    """The destination port of a flow of datagrams; -1 for others."""
    part = attributes(attributes(original).get(_PROTOCOL_PART, b""))
    if part.get(_PROTOCOL, b"\0")[0] != _UDP or _TARGET_PORT not in part:
        return -1
    return int(struct.unpack(">H", part[_TARGET_PORT])[0])


def _answering(reply: bytes) -> bytes:
    """The address from which a flow is answered."""
    addresses = attributes(attributes(reply).get(_ADDRESSES, b""))
    return addresses.get(_SOURCE_V4) or addresses.get(_SOURCE_V6, b"")


def _packed(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value
