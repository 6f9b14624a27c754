"""The messages of nftables, packed by hand: pyroute2's classes encode some expressions wrongly, and are slow.

A rule is a list of expressions that pass values in registers; numbers are those of linux/netfilter/nf_tables.h. Keys
that are joined have four bytes, or a multiple, for each part.

    rule("lading", "forward", meta("oifname"), in_set("bridges"), DROP)
"""

import errno
import struct
from collections.abc import Iterable, Sequence

from adapters.net.netlink import ACK, APPEND, CREATE, Netlink, Refusal

INET, IPV4, IPV6 = 1, 2, 10
_NEWTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE, _NEWSET, _NEWELEMENT, _DELELEMENT = 0, 2, 3, 6, 9, 12, 14
DELETE_TABLE, NEW_TABLE, NEW_CHAIN = (10 << 8 | kind for kind in (_DELTABLE, _NEWTABLE, _NEWCHAIN))
_BEGIN, _END, _SUBSYSTEM = 16, 17, 10
OWNER, PERSIST = 2, 4
INTERVAL, MAP = 4, 8
_INTERVAL_END = 1
HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}
TYPES = {"ipv4_addr": (7, 4), "ipv6_addr": (8, 16), "inet_proto": (12, 1), "inet_service": (13, 2), "ifname": (41, 16)}
"""Name → (nft's number, for who lists the table; bytes)."""
_META = {"iifname": 6, "oifname": 7, "nfproto": 15, "l4proto": 16, "iifkind": 26, "oifkind": 27}
_VERDICTS = {"drop": 0, "accept": 1, "jump": -3, "return": -5}
_MOST_ELEMENTS = 1000  # one attribute holds less than 64 KiB
_SET_IDS = struct.Struct(">I")
R1, R2 = 1, 2
R9, R10 = 9, 10  # four bytes each: the second and third of register 1's sixteen
EQUAL, DIFFERENT = 0, 1

Message = tuple[int, int, bytes]
Expression = bytes
Element = tuple[bytes, bytes]


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, *values: bytes) -> bytes:
    """Attributes inside of one."""
    return attribute(kind | 0x8000, b"".join(values))


def number(kind: int, value: int) -> bytes:
    """An attribute that is a 32 bit number."""
    return attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def text(kind: int, value: str) -> bytes:
    """An attribute that is a name."""
    return attribute(kind, value.encode() + b"\0")


# Objects --------------------------------------------------------------------------------------------------------------

def table(name: str, flags: int = 0, *, family: int = INET) -> Message:
    """Make a table, or take it over."""
    return _message(_NEWTABLE, CREATE, text(1, name), number(2, flags), family=family)


def delete_table(name: str, *, family: int = INET) -> Message:
    """Delete a table with all that is in it."""
    return _message(_DELTABLE, 0, text(1, name), family=family)


def chain(owner: str, name: str, kind: str = "", hook: str = "", priority: int = 0, *, family: int = INET) -> Message:
    """A chain; with a hook the kernel sends packets through it."""
    more = (nested(4, number(1, HOOKS[hook]), number(2, priority)), text(7, kind)) if hook else ()
    return _message(_NEWCHAIN, CREATE, text(1, owner), text(3, name), *more, family=family)


def rule(owner: str, where: str, *expressions: Expression, family: int = INET) -> Message:
    """One more rule at the end of a chain."""
    return _message(_NEWRULE, CREATE | APPEND, text(1, owner), text(2, where), nested(4, *expressions), family=family)


def container(owner: str, name: str, key: Sequence[str], data: Sequence[str] = (), *, flags: int = 0,
              id: int) -> Message:
    """A set, or with `data` a map; `id` is a number of its own within the batch."""
    more = (number(6, _kind(data)), number(7, _length(data))) if data else ()
    return _message(_NEWSET, CREATE, text(1, owner), text(2, name), number(3, flags | (MAP if data else 0)),
                    number(4, _kind(key)), number(5, _length(key)), *more, number(10, id))


def add(owner: str, name: str, elements: Iterable[Element]) -> list[Message]:
    """Put elements (key, data) into a set or map; those that are there already are fine."""
    return _elements(_NEWELEMENT, CREATE, owner, name, elements)


def remove(owner: str, name: str, elements: Iterable[Element]) -> list[Message]:
    """Take elements out. One that is not there makes the whole batch fail (ENOENT)."""
    return _elements(_DELELEMENT, 0, owner, name, elements)


def commit(socket: Netlink, messages: Sequence[Message]) -> None:
    """All of it, or nothing. Raises: Refusal."""
    begin = _BEGIN, 0, struct.pack(">BBH", 0, 0, _SUBSYSTEM)
    end = _END, 0, begin[2]
    *before, last = messages
    for _ in range(20):
        try:
            socket.send([begin, *before, (last[0], last[1] | ACK, last[2]), end])
        except Refusal as refusal:
            if refusal.errno not in (errno.EAGAIN, errno.EINTR):  # somebody else changed something meanwhile
                raise
        else:
            return
    raise Refusal(errno.EAGAIN, "the rules change all the time", 0)


# Keys -----------------------------------------------------------------------------------------------------------------

def joined(*parts: bytes) -> bytes:
    """A key of several parts."""
    return b"".join(part + bytes(-len(part) % 4) for part in parts)


def interface(name: str) -> bytes:
    """A name of an interface as a key."""
    return name.encode().ljust(16, b"\0")


def port(value: int) -> bytes:
    """A port as a key."""
    return struct.pack(">H", value)


# Expressions ----------------------------------------------------------------------------------------------------------

def meta(key: str, register: int = R1) -> Expression:
    """Load something about the packet."""
    return _expression("meta", number(2, _META[key]), number(1, register))


def network(offset: int, length: int, register: int = R1) -> Expression:
    """Load bytes of the IP header."""
    return _expression("payload", number(1, register), number(2, 1), number(3, offset), number(4, length))


def transport(offset: int, length: int, register: int = R1) -> Expression:
    """Load bytes of the TCP or UDP header."""
    return _expression("payload", number(1, register), number(2, 2), number(3, offset), number(4, length))


def compare(value: bytes, operation: int = EQUAL, register: int = R1) -> Expression:
    """Go on only if the register holds this."""
    return _expression("cmp", number(1, register), number(2, operation), nested(3, attribute(1, value)))


def masked(mask: bytes, register: int = R1) -> Expression:
    """Keep some bits of a register."""
    zero = bytes(len(mask))
    return _expression("bitwise", number(1, register), number(2, register), number(3, len(mask)),
                       nested(4, attribute(1, mask)), nested(5, attribute(1, zero)))


def in_set(name: str, *, inverted: bool = False, register: int = R1) -> Expression:
    """Go on only if a set has the register's key, or has not."""
    return _expression("lookup", text(1, name), number(2, register), *((number(5, 1),) if inverted else ()))


def look_up(name: str, register: int = R1) -> Expression:
    """Go on with the data that a map has for the register's key, in the same register."""
    return _expression("lookup", text(1, name), number(2, register), number(3, register))


def conntrack_state(register: int = R1) -> Expression:
    """Load the state of the connection: 2 established, 4 related."""
    return _expression("ct", number(2, 0), number(1, register))


def conntrack_status(register: int = R1) -> Expression:
    """Load the status of the connection: bit 5 is set where the destination was changed."""
    return _expression("ct", number(2, 2), number(1, register))


def destination_type(register: int = R1) -> Expression:
    """Load what the destination is by our routes: 2 is an address of this host."""
    return _expression("fib", number(3, 2), number(2, 3), number(1, register))


def route_segment(register: int = R1) -> Expression:
    """Load the largest segment that the packet's route takes."""
    return _expression("rt", number(2, 3), number(1, register))


def as_network_order(register: int = R1) -> Expression:
    """Turn a 16 bit number around."""
    return _expression("byteorder", number(1, register), number(2, register), number(3, 1), number(4, 2), number(5, 2))


def set_segment(register: int = R1) -> Expression:
    """Write the TCP option for the largest segment."""
    return _expression("exthdr", number(7, register), attribute(2, b"\x02"), number(3, 2), number(4, 2), number(6, 1))


def immediate(value: bytes, register: int) -> Expression:
    """Put a value into a register."""
    return _expression("immediate", number(1, register), nested(2, attribute(1, value)))


def new_destination(family: int, address: int, port: int) -> Expression:
    """Send the connection to the address and port in these registers."""
    return _expression("nat", number(1, 1), number(2, family), number(3, address), number(5, port))


def verdict(name: str, target: str = "") -> Expression:
    """The end of a rule."""
    more = (text(2, target),) if target else ()
    return _expression("immediate", number(1, 0), nested(2, nested(2, number(1, _VERDICTS[name]), *more)))


# Inside ---------------------------------------------------------------------------------------------------------------

def _message(kind: int, flags: int, *values: bytes, family: int = INET) -> Message:
    return 10 << 8 | kind, flags, struct.pack(">BBH", family, 0, 0) + b"".join(values)


def _expression(name: str, *values: bytes) -> Expression:
    return nested(1, text(1, name), nested(2, *values))


def _elements(kind: int, flags: int, owner: str, name: str, elements: Iterable[Element]) -> list[Message]:
    packed = [_element(key, data) for key, data in elements]
    return [_message(kind, flags, text(1, owner), text(2, name), nested(3, *packed[at:at + _MOST_ELEMENTS]))
            for at in range(0, len(packed), _MOST_ELEMENTS)]


def _element(key: bytes, data: bytes) -> bytes:
    parts = [nested(1, attribute(1, key))]
    if data == END:
        parts.append(number(3, _INTERVAL_END))
    elif data:
        parts.append(nested(2, attribute(1, data)))
    return nested(1, *parts)


END = b"end"
"""As an element's data: it is the first key behind an interval."""


def _kind(names: Sequence[str]) -> int:
    value = 0
    for name in names:
        value = value << 6 | TYPES[name][0]
    return value


def _length(names: Sequence[str]) -> int:
    if len(names) == 1:
        return TYPES[names[0]][1]
    return sum((TYPES[name][1] + 3) & ~3 for name in names)


MASQUERADE: Expression = nested(1, text(1, "masq"))
DROP, ACCEPT, RETURN = verdict("drop"), verdict("accept"), verdict("return")
