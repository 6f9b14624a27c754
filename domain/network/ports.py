"""Published ports: what `-p` may say, which host ports overlap, and how lists show them.

    parse("127.0.0.1:8000-8001:80-81/udp") == (
        Publication(80, "udp", "127.0.0.1", 8000), Publication(81, "udp", "127.0.0.1", 8001))
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from domain.errors import InvalidValue, Refused

_EXPOSED, _PUBLISHED = ("tcp", "udp", "sctp"), ("tcp", "udp")
_LAST = 65535
_HINT = "write [[address:]host-port:]port[/tcp|udp], with ranges as 8000-8010"


@dataclass(frozen=True, slots=True, order=True)
class Publication:
    """A port of a container that the host is to have: `host_port` 0 is any free one, `highest` above it leaves a
    choice up to there; `host_ip` empty is every address of the host."""

    port: int
    protocol: str = "tcp"
    host_ip: str = ""
    host_port: int = 0
    highest: int = 0


@dataclass(frozen=True, slots=True, order=True)
class Binding:
    """A port of the host that leads to one of a container; `host_ip` is `0.0.0.0`, `::` or one address."""

    port: int
    protocol: str
    host_ip: str
    host_port: int


def parse(text: str) -> tuple[Publication, ...]:
    """What one `-p` says, one publication for each port of the container. Raises: InvalidValue, naming the value."""
    if "=" in text:
        return _long(text)
    front, protocol = _protocol(text, text, _PUBLISHED)
    address, ports = _address(front, text)
    host, colon, inner = ports.rpartition(":")
    if ":" in host:
        raise InvalidValue(f"invalid published port {text!r}", hint=_HINT)
    return _pairs(address, host if colon else "", inner, protocol, text)


def exposed(text: str) -> tuple[Publication, ...]:
    """What one `--expose`, or EXPOSE of an image, says: ports without a place on the host. Raises: InvalidValue."""
    front, protocol = _protocol(text, text, _EXPOSED)
    low, high = _range(front, text)
    return tuple(Publication(port, protocol) for port in range(low, high + 1))


def _long(text: str) -> tuple[Publication, ...]:
    """`published=8080,target=80,protocol=udp`, as swarm's form has it."""
    values: dict[str, str] = {}
    for item in text.split(","):
        key, equals, value = item.partition("=")
        if key not in ("published", "target", "protocol", "mode", "host_ip") or not equals:
            raise InvalidValue(f"invalid field {item!r} of the published port {text!r}",
                               hint="known are target=, published=, protocol=, host_ip=")
        values[key] = value
    if "target" not in values:
        raise InvalidValue(f"the published port {text!r} has no target", hint="add target=PORT")
    _, protocol = _protocol(f"/{values.get('protocol', 'tcp')}", text, _PUBLISHED)
    address = _checked_address(values.get("host_ip", ""), text)
    return _pairs(address, values.get("published", ""), values["target"], protocol, text)


def _protocol(front: str, text: str, known: Sequence[str]) -> tuple[str, str]:
    before, slash, protocol = front.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in known:
        raise InvalidValue(f"invalid proto: {protocol} of the port {text!r}", hint=f"use {' or '.join(known)}")
    return before, protocol


def _address(front: str, text: str) -> tuple[str, str]:
    """The address before the ports, in brackets if it is one of version 6."""
    if front.startswith("["):
        address, bracket, ports = front[1:].partition("]:")
        if not bracket:
            raise InvalidValue(f"invalid published port {text!r}", hint=_HINT)
        return _checked_address(address, text), ports
    if front.count(":") < 2:
        return "", front
    address, _, ports = front.partition(":")
    return _checked_address(address, text), ports


def _checked_address(address: str, text: str) -> str:
    if not address:
        return ""
    try:
        return str(ip_address(address))
    except ValueError as error:
        raise InvalidValue(f"invalid IP address {address!r} in the published port {text!r}", hint=_HINT) from error


def _pairs(address: str, host: str, inner: str, protocol: str, text: str) -> tuple[Publication, ...]:
    low, high = _range(inner, text)
    if host in ("", "0"):
        return tuple(Publication(port, protocol, address) for port in range(low, high + 1))
    first, last = _range(host, text)
    if low == high and first != last:
        return (Publication(low, protocol, address, first, last),)
    if last - first != high - low:
        raise InvalidValue(f"the ranges of the published port {text!r} are not of one length", hint=_HINT)
    return tuple(Publication(port, protocol, address, first + port - low) for port in range(low, high + 1))


def _range(text: str, whole: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    low = _number(first, whole)
    high = _number(last, whole) if dash else low
    if high < low:
        raise InvalidValue(f"the range {text!r} of the port {whole!r} ends before it begins", hint=_HINT)
    return low, high


def _number(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10) or not 1 <= int(text) <= _LAST:
        raise InvalidValue(f"invalid port {text!r} in {whole!r}: it is not between 1 and {_LAST}", hint=_HINT)
    return int(text)


def host_addresses(wanted: Publication, *, ipv6: bool) -> tuple[str, ...]:
    """The addresses of the host on which a publication is bound: the one that was named, or all, by family."""
    if wanted.host_ip:
        return (wanted.host_ip,)
    return ("0.0.0.0", "::") if ipv6 else ("0.0.0.0",)


def candidates(wanted: Publication, preferred: int, ephemeral: tuple[int, int], last: int) -> Iterator[int]:
    """The host's ports that would do, best first: the one that was named, or those of its range, or any: first
    `preferred` (0 for none), then those of the range `ephemeral` behind `last`, so that a freed one rests."""
    if wanted.host_port and not wanted.highest:
        yield wanted.host_port
        return
    low, high = (wanted.host_port, wanted.highest) if wanted.host_port else ephemeral
    if low <= preferred <= high or (preferred and not wanted.host_port):
        yield preferred
    begin = last + 1 if not wanted.host_port and low <= last < high else low
    yield from (port for port in (*range(begin, high + 1), *range(low, begin)) if port != preferred)


def assign(wanted: Sequence[Publication], preferred: Mapping[Publication, int], ephemeral: tuple[int, int], last: int,
           *, ipv6: bool, take: Callable[[Sequence[Binding]], str]) -> tuple[Binding, ...]:
    """A port of the host for each publication. `take` holds one number on all its addresses and says why it cannot,
    or nothing; what was taken is the caller's to let go of.

    Raises: Refused, with what `take` said about a port that was named, or that no free one is left.
    """
    found: list[Binding] = []
    for publication in wanted:
        why = ""
        for port in candidates(publication, preferred.get(publication, 0), ephemeral, last):
            bindings = [Binding(publication.port, publication.protocol, ip, port)
                        for ip in host_addresses(publication, ipv6=ipv6)]
            why = take(bindings)
            if not why:
                found += bindings
                last = port if not publication.host_port else last
                break
        else:
            if publication.host_port and not publication.highest:
                raise Refused(why)
            low, high = (publication.host_port, publication.highest) if publication.host_port else ephemeral
            raise Refused(f"no free host port between {low} and {high}", hint=why)
    return tuple(found)


def clash(wanted: Binding, held: Iterable[Binding]) -> Binding | None:
    """The one in `held` that keeps `wanted` from being bound: same port and protocol, and an address in common."""
    return next((other for other in held if _meets(wanted, other)), None)


def _meets(one: Binding, other: Binding) -> bool:
    if (one.host_port, one.protocol) != (other.host_port, other.protocol):
        return False
    mine, theirs = ip_address(one.host_ip), ip_address(other.host_ip)
    return mine.version == theirs.version and (mine == theirs or mine.is_unspecified or theirs.is_unspecified)


def shown(bindings: Iterable[Binding], exposed_only: Iterable[tuple[int, str]] = ()) -> str:
    """The PORTS column: `0.0.0.0:9000-9002->9000-9002/tcp, 99/tcp`, ports in a row folded."""
    rows = sorted({(b.protocol, b.host_ip, b.host_port - b.port, b.port) for b in bindings})
    texts = [(low, _shown(protocol, ip, low, high, shift))
             for protocol, ip, shift, low, high in _folded(rows)]
    bare = sorted({(protocol, "", 0, port) for port, protocol in exposed_only
                   if not any(b.port == port and b.protocol == protocol for b in bindings)})
    texts += [(low, f"{_span(low, high)}/{protocol}") for protocol, _, _, low, high in _folded(bare)]
    return ", ".join(text for _, text in sorted(texts, key=lambda item: item[0]))


def _folded(rows: Sequence[tuple[str, str, int, int]]) -> list[tuple[str, str, int, int, int]]:
    """Runs of rows whose last column counts up while the others stay: (…, first, last)."""
    found: list[tuple[str, str, int, int, int]] = []
    for protocol, ip, shift, port in rows:
        if found and found[-1][:3] == (protocol, ip, shift) and found[-1][4] + 1 == port:
            found[-1] = (protocol, ip, shift, found[-1][3], port)
        else:
            found.append((protocol, ip, shift, port, port))
    return found


def _shown(protocol: str, ip: str, low: int, high: int, shift: int) -> str:
    return f"{bracketed(ip)}:{_span(low + shift, high + shift)}->{_span(low, high)}/{protocol}"


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


def bracketed(ip: str) -> str:
    """An address as it stands before a port."""
    return f"[{ip}]" if ":" in ip else ip
