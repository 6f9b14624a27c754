"""A netlink socket: batches of requests, their answers, dumps. Plain blocking sockets, for one thread.

The kernel carries out a request while it is being sent, so when `send` returns all answers are there to be read.
A batch of route requests is not atomic: later ones are done although an earlier one failed.
"""

import os
import socket
import struct
from collections.abc import Iterator, Sequence

from domain.errors import KernelError

ROUTE, NETFILTER = 0, 12
REQUEST, ACK, ECHO, DUMP = 0x1, 0x4, 0x8, 0x300
REPLACE, EXCLUSIVE, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800

HEADER = struct.Struct("=IHHII")
_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_ERROR, _DONE = 2, 3
_ERROR_BODY, _TEXTS_BEHIND = 20, 0x200  # an error number and the header of the request; then texts, if flagged
_ROOM = 1 << 20


class Refusal(Exception):
    """The kernel said no to request `index` of a batch."""

    def __init__(self, errno: int, text: str, index: int) -> None:
        super().__init__(text or os.strerror(errno))
        self.errno, self.text, self.index = errno, text, index


class Netlink:
    """One socket in the namespace in which it was made. Close it, or use it in a `with`."""

    def __init__(self, family: int = ROUTE, groups: int = 0) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        try:
            self._socket.setsockopt(_NETLINK, _CAP_ACK, 1)
            self._socket.setsockopt(_NETLINK, _EXT_ACK, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * _ROOM)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * _ROOM)
            self._socket.bind((0, groups))
        except OSError:
            self._socket.close()
            raise
        self._sequence = 0

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()

    def fileno(self) -> int:
        """Its descriptor."""
        return self._socket.fileno()

    def send(self, requests: Sequence[tuple[int, int, bytes]]) -> list[tuple[int, bytes]]:
        """Carry out requests (type, flags, payload) in one go; returns what came back besides acknowledgements.

        Raises: Refusal, the first one, after everything was read.
        """
        first = self._sequence + 1
        packets = []
        for kind, flags, payload in requests:
            self._sequence += 1
            packets.append(HEADER.pack(HEADER.size + len(payload), kind, flags | REQUEST, self._sequence, 0) + payload)
        self._socket.sendall(b"".join(_aligned(packet) for packet in packets))
        answers, refusal = [], None
        for kind, flags, sequence, body in self._waiting():
            if kind != _ERROR:
                answers.append((kind, body))
                continue
            (number,) = struct.unpack_from("=i", body)
            if number and refusal is None:
                refusal = Refusal(-number, _text(flags, body), sequence - first)
        if refusal is not None:
            raise refusal
        return answers

    def dump(self, kind: int, payload: bytes) -> list[bytes]:
        """The bodies of all objects of a kind. Raises: Refusal."""
        self._sequence += 1
        self._socket.sendall(HEADER.pack(HEADER.size + len(payload), kind, REQUEST | DUMP, self._sequence, 0) + payload)
        found: list[bytes] = []
        while True:
            for answer, _, sequence, body in split(self._socket.recv(_ROOM)):
                if sequence != self._sequence:
                    continue
                if answer in (_DONE, _ERROR):
                    (number,) = struct.unpack_from("=i", body) if len(body) >= 4 else (0,)
                    if number:
                        raise Refusal(-number, "", 0)
                    return found
                found.append(body)

    def _waiting(self) -> Iterator[tuple[int, int, int, bytes]]:
        while True:
            try:
                data = self._socket.recv(_ROOM, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            yield from split(data)


def split(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(type, flags, sequence, body) of each message."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, at)
        if length < HEADER.size:
            return
        yield kind, flags, sequence, data[at + HEADER.size:at + length]
        at += (length + 3) & ~3


def attributes(data: bytes, at: int = 0) -> dict[int, bytes]:
    """Number → value of the attributes from `at` on; of several with one number the last."""
    found: dict[int, bytes] = {}
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[at + 4:at + length]
        at += (length + 3) & ~3
    return found


def as_error(refusal: Refusal, stage: str, path: str = "", hint: str = "") -> KernelError:
    """What passes to other rooms: the kernel's own words, where it has some."""
    reason = f"{os.strerror(refusal.errno)} ({refusal.text})" if refusal.text else os.strerror(refusal.errno)
    return KernelError(f"{stage} {path}: {reason}" if path else f"{stage}: {reason}", errno=refusal.errno, stage=stage,
                       path=path, hint=hint)


def _aligned(packet: bytes) -> bytes:
    return packet + bytes(-len(packet) % 4)


def _text(flags: int, body: bytes) -> str:
    if not flags & _TEXTS_BEHIND:
        return ""
    return attributes(body, _ERROR_BODY).get(1, b"").rstrip(b"\0").decode("ascii", "replace")
