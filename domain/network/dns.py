"""The messages of the domain name system (RFC 1035), as much as a resolver for containers needs. Pure, by hand.

    question(data) == Question(id=…, flags=…, name="web.learning", type=1, section=b"…", size=512, edns=False)
    answer(question, (A_RECORD,)) → bytes

A name is lower case, without the dot at the end. What cannot be read raises ValueError; nothing loops or recurses.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

A, PTR, MX, AAAA, OPT, ANY = 1, 12, 15, 28, 41, 255
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NO_NAME, NOT_IMPLEMENTED, REFUSED = range(6)
PLAIN_SIZE = 512
"""Bytes that every client of UDP can take (RFC 1035 2.3.4)."""

_HEADER = struct.Struct("!6H")
_IN = 1
_RESPONSE, _TRUNCATED, _RECURSION_WANTED, _RECURSION_THERE = 0x8000, 0x0200, 0x0100, 0x0080
_OPCODE = 0x7800
_LONGEST_NAME, _LONGEST_LABEL = 255, 63
_NAME_POINTER = b"\xc0\x0c"  # to the question's name, right behind the header
_MOST_UDP = 4096


@dataclass(frozen=True, slots=True)
class Question:
    """A query's only question. `section` are its bytes as they came, `size` what the client can take by UDP, `edns`
    whether it said so itself (RFC 6891)."""

    id: int
    flags: int
    name: str
    type: int
    section: bytes
    size: int = PLAIN_SIZE
    edns: bool = False


def question(data: bytes) -> Question:
    """Read a query. Raises: ValueError for what is none, or is more than one."""
    if len(data) < _HEADER.size:
        raise ValueError("shorter than a header")
    id, flags, questions, answers, authorities, more = _HEADER.unpack_from(data)
    if flags & _RESPONSE or questions != 1 or answers or authorities:
        raise ValueError("not one question")
    name, at = _name(data, _HEADER.size)
    if at + 4 > len(data):
        raise ValueError("the question is cut")
    kind, space = struct.unpack_from("!2H", data, at)
    if space not in (_IN, ANY):
        raise ValueError("not of the class IN")
    size, edns = _edns(data, at + 4, more)
    return Question(id, flags, name, kind, data[_HEADER.size:at + 4], size, edns)


def _name(data: bytes, at: int) -> tuple[str, int]:
    """A name that is not compressed, and where it ends: questions have nothing before them to point to."""
    labels: list[str] = []
    begin = at
    while True:
        if at >= len(data) or at - begin > _LONGEST_NAME:
            raise ValueError("the name is cut or too long")
        length = data[at]
        at += 1
        if length == 0:
            return ".".join(labels).lower(), at
        if length > _LONGEST_LABEL or at + length > len(data):
            raise ValueError("a label is cut or too long")
        labels.append(data[at:at + length].decode("latin-1"))
        at += length


def _edns(data: bytes, at: int, records: int) -> tuple[int, bool]:
    """What an OPT record right behind the question says about sizes; other records are not looked for."""
    if not records or data[at:at + 3] != b"\0\0\x29" or at + 11 > len(data):
        return PLAIN_SIZE, False
    return max(PLAIN_SIZE, min(_MOST_UDP, int.from_bytes(data[at + 3:at + 5], "big"))), True


def answer(asked: Question, addresses: Sequence[IPv4Address | IPv6Address] = (), *, names: Sequence[str] = (),
           code: int = NO_ERROR, limit: int | None = None) -> bytes:
    """Addresses of the question's name, or names for its address, to be forgotten at once (TTL 0).

    What does not fit into `limit` bytes (None: those of the question) is left out, and the client told to ask by TCP.
    """
    room = asked.size if limit is None else limit
    body, count, cut = bytearray(asked.section), 0, False
    extra = b"\0\0\x29" + struct.pack("!HIH", _MOST_UDP, 0, 0) if asked.edns else b""
    for record in (*map(_address_record, addresses), *map(_name_record, names)):
        if _HEADER.size + len(body) + len(record) + len(extra) > room:
            cut = True
            break
        body += record
        count += 1
    flags = _RESPONSE | _RECURSION_THERE | (asked.flags & (_OPCODE | _RECURSION_WANTED)) | code
    flags |= _TRUNCATED if cut else 0
    return _HEADER.pack(asked.id, flags, 1, count, 0, 1 if extra else 0) + bytes(body) + extra


def settled(answer: bytes) -> bool:
    """Whether it is whole and of one record at most: the same question would be answered by the same bytes."""
    _, flags, _, count, _, _ = _HEADER.unpack_from(answer)
    return count <= 1 and not flags & _TRUNCATED


def failure(data: bytes, code: int) -> bytes:
    """The answer to a query that cannot be read; empty if not even its number can."""
    if len(data) < 4:
        return b""
    id, flags = struct.unpack_from("!2H", data)
    return _HEADER.pack(id, _RESPONSE | (flags & (_OPCODE | _RECURSION_WANTED)) | code, 0, 0, 0, 0)


def _address_record(address: IPv4Address | IPv6Address) -> bytes:
    kind = A if address.version == 4 else AAAA
    return _NAME_POINTER + struct.pack("!2HIH", kind, _IN, 0, len(address.packed)) + address.packed


def _name_record(name: str) -> bytes:
    data = encoded(name)
    return _NAME_POINTER + struct.pack("!2HIH", PTR, _IN, 0, len(data)) + data


def encoded(name: str) -> bytes:
    """A name as it is sent. Raises: ValueError for one that is too long."""
    parts = bytearray()
    for label in name.split(".") if name else ():
        data = label.encode("latin-1")
        if not 0 < len(data) <= _LONGEST_LABEL:
            raise ValueError(f"the label {label!r} cannot be sent")
        parts += bytes((len(data),)) + data
    if len(parts) + 1 > _LONGEST_NAME:
        raise ValueError(f"the name {name!r} cannot be sent")
    return bytes(parts) + b"\0"


def reverse(name: str) -> IPv4Address | IPv6Address | None:
    """The address that a name for a reverse look-up stands for; None for any other name."""
    labels = name.split(".")
    if name.endswith(".in-addr.arpa") and len(labels) == 6:
        return _parsed(".".join(reversed(labels[:4])))
    if name.endswith(".ip6.arpa") and len(labels) == 34 and all(len(label) == 1 for label in labels[:32]):
        digits = "".join(reversed(labels[:32]))
        return _parsed(":".join(digits[at:at + 4] for at in range(0, 32, 4)))
    return None


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
