"""The kernel's table of connections: entries that would send datagrams where a port no longer leads."""

import errno
import struct
import threading

from adapters.net.netlink import ACK, NETFILTER, Netlink, Refusal, attributes

_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
_HEADER = struct.Struct(">BBH")
_ORIGINAL, _PROTOCOL_PART, _PROTOCOL, _TARGET_PORT, _UDP = 1, 2, 1, 3, 17


class Stale:
    """Collects ports of the host (UDP), and deletes the entries to them all at once. For any thread."""

    def __init__(self) -> None:
        self._ports: set[int] = set()
        self._lock = threading.Lock()

    def add(self, ports: set[int]) -> bool:
        """True if `delete` must be called; otherwise somebody else will."""
        with self._lock:
            first = not self._ports
            self._ports |= ports
            return first

    def delete(self) -> None:
        """Entries whose first packet went to one of the ports: by the host's number, not the container's."""
        with self._lock:
            ports, self._ports = self._ports, set()
        with Netlink(NETFILTER) as here:
            requests = [(_DELETE, ACK, body[:4] + _packed(_ORIGINAL | 0x8000, original))
                        for body in here.dump(_GET, _HEADER.pack(0, 0, 0))
                        if _target(original := attributes(body, 4).get(_ORIGINAL, b"")) in ports]
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


def _packed(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value
