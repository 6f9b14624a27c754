"""Answers containers that ask for names: from sockets inside of their namespaces, so that the socket says who asks.

Names of containers are answered here, all others by the servers of the host or those the container was given; what they
answer is passed on as it came. For the loop's thread alone.
"""

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from adapters.net import resolving
from domain.network import dns, zones
from domain.network.setup import Resolver
from domain.network.zones import Zone

Run = tuple[str, int]
Connect = Callable[[int, int, str], Awaitable[socket.socket]]
"""(family, kind, address) → a socket that is connected to port 53 there."""
_AT_ONCE = 64
"""Questions that are read before anybody else gets a turn."""
_MOST_UNDER_WAY = 1024
_NUMBER, _LONGEST_KEPT, _MOST_KEPT = 2, 512, 256
"""Bytes of a message's number; of a question that is remembered with its answer; how many are, for each container."""
_MOST_SERVERS, _SECONDS, _IDLE_SECONDS = 3, 5.0, 3.0
_LONGEST_DATAGRAM, _LONGEST_ANSWER = 4096, 65535
_ELSEWHERE = {dns.SERVER_FAILURE, dns.REFUSED}
"""Answers after which the next server is asked."""


@dataclass(slots=True)
class _Client:
    """One container: its sockets, and whom it may ask. `answers` are those to questions that it has asked since `zones`
    hold, both without their numbers."""

    resolver: Resolver
    datagrams: socket.socket
    streams: socket.socket
    connect: Connect
    links: Mapping[str, Sequence[str]] = field(default_factory=dict)
    server: asyncio.Server | None = None
    under_way: int = 0
    zones: Mapping[str, Zone] = field(default_factory=dict)
    answers: dict[bytes, bytes] = field(default_factory=dict)


class Answers:
    """All containers of this engine. `zones` are by network."""

    def __init__(self) -> None:
        self.zones: Mapping[str, Zone] = {}
        self._clients: dict[Run, _Client] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._hosts = _HostServers()

    async def serve(self, run: Run, resolver: Resolver, sockets: tuple[socket.socket, socket.socket],
                    connect: Connect) -> None:
        """Answer on these sockets (datagrams, streams); `connect` makes one in the container's namespace."""
        self.leave(run)
        client = _Client(resolver, *sockets, connect, _lower(resolver.links))
        for each in sockets:
            each.setblocking(False)
        self._clients[run] = client
        asyncio.get_running_loop().add_reader(client.datagrams.fileno(), self._read, client)
        client.server = await asyncio.start_server(
            lambda reader, writer: self._converse(client, reader, writer), sock=client.streams)

    def serve_as(self, run: Run, resolver: Resolver) -> bool:
        """From now on answer so, if this container is answered at all; whether it is."""
        client = self._clients.get(run)
        if client is None:
            return False
        client.resolver, client.links = resolver, _lower(resolver.links)
        client.answers.clear()
        return True

    def leave(self, run: Run) -> None:
        """Nobody answers there any more. Twice is fine."""
        client = self._clients.pop(run, None)
        if client is None:
            return
        asyncio.get_running_loop().remove_reader(client.datagrams.fileno())
        client.datagrams.close()
        if client.server is not None:
            client.server.close()

    def _read(self, client: _Client) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, address = client.datagrams.recvfrom(_LONGEST_DATAGRAM)
            except OSError:
                return
            answer = self._again(client, data)
            if answer is None:
                self._later(self._forward_datagram(client, data, address))
            elif answer:
                _send(client, answer, address)

    def _again(self, client: _Client, data: bytes) -> bytes | None:
        """As `_known`, and quickly what was asked before; not where several addresses take turns."""
        if client.zones is not self.zones:
            client.zones = self.zones
            client.answers.clear()
        kept = client.answers.get(data[_NUMBER:])
        if kept is not None:
            return data[:_NUMBER] + kept
        answer = self._known(client, data, limit=None)
        if answer and len(data) <= _LONGEST_KEPT and dns.settled(answer):
            if len(client.answers) >= _MOST_KEPT:
                client.answers.clear()
            client.answers[data[_NUMBER:]] = answer[_NUMBER:]
        return answer

    async def _forward_datagram(self, client: _Client, data: bytes, address: object) -> None:
        _send(client, await self._forwarded(client, data, socket.SOCK_DGRAM), address)

    async def _converse(self, client: _Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Several questions over one connection (RFC 7766)."""
        try:
            while True:
                async with asyncio.timeout(_IDLE_SECONDS):
                    length = int.from_bytes(await reader.readexactly(2), "big")
                    data = await reader.readexactly(length)
                answer = self._known(client, data, limit=_LONGEST_ANSWER)
                if answer is None:
                    answer = await self._forwarded(client, data, socket.SOCK_STREAM)
                if not answer:
                    return
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        except (OSError, EOFError, TimeoutError):
            return
        finally:
            writer.close()

    def _known(self, client: _Client, data: bytes, limit: int | None) -> bytes | None:
        """The answer, if it is ours to give; None if others must be asked."""
        try:
            asked = dns.question(data)
        except ValueError:
            return dns.failure(data, dns.FORMAT_ERROR)
        networks = [self.zones[id] for id in client.resolver.networks if id in self.zones]
        known = zones.find(asked.name, networks, client.links)
        if known is not None:
            found = [address for address in known.addresses if _wanted(asked.type, address)]
            random.shuffle(found)  # a service of several containers: everybody gets a turn
            return dns.answer(asked, found, limit=limit)
        if asked.type == dns.PTR and (address := dns.reverse(asked.name)) is not None:
            name = zones.host(address, networks)
            if name:
                return dns.answer(asked, names=(name,), limit=limit)
        if not client.resolver.outside:
            return dns.answer(asked, code=dns.NO_NAME, limit=limit)
        return None

    async def _forwarded(self, client: _Client, data: bytes, kind: int) -> bytes:
        """What one of the servers says, or that none has."""
        if client.under_way >= _MOST_UNDER_WAY:
            return dns.answer(dns.question(data), code=dns.REFUSED)
        own = client.resolver.servers
        servers: Sequence[str] = (own or self._hosts.current())[:_MOST_SERVERS]
        connect = client.connect if own else _connect_from_here
        last = dns.answer(dns.question(data), code=dns.SERVER_FAILURE)
        client.under_way += 1
        try:
            for server in servers:
                with contextlib.suppress(OSError, EOFError, TimeoutError):
                    async with asyncio.timeout(_SECONDS / len(servers)):
                        last = await _ask(data, kind, server, connect)
                    if last[3] & 0xF not in _ELSEWHERE:
                        break
        finally:
            client.under_way -= 1
        return last

    def _later(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _lower(links: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
    return {name.lower(): tuple(each.lower() for each in others) for name, others in links.items()}


class _HostServers:
    """The host's servers, read again when one of the files has changed: a host may move to another network any time."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, int, int]] = []
        self._servers: tuple[str, ...] = ()

    def current(self) -> tuple[str, ...]:
        """As the files say at this moment."""
        seen = [_state(file) for file in resolving.FILES]
        if seen != self._seen:
            self._seen, self._servers = seen, resolving.servers()
        return self._servers


def _state(file: str) -> tuple[int, int, int]:
    """What changes with a file, also when another one takes its place; zeros if there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size


def _wanted(kind: int, address: IPv4Address | IPv6Address) -> bool:
    return kind == dns.ANY or kind == (dns.A if address.version == 4 else dns.AAAA)


def _send(client: _Client, answer: bytes, address: object) -> None:
    try:
        client.datagrams.sendto(answer, address)  # type: ignore[call-overload]  # as it came
    except OSError:  # full, or the container has gone: it asks again
        return


async def _connect_from_here(family: int, kind: int, address: str) -> socket.socket:
    """From the host's namespace, where the host's servers are."""
    return connected(family, kind, address)


def connected(family: int, kind: int, address: str) -> socket.socket:
    """A socket to a server, in the namespace of the calling thread; a stream may not be through yet."""
    found = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if kind == socket.SOCK_DGRAM:
            found.connect((address, 53))
    except OSError:
        found.close()
        raise
    return found


async def _ask(data: bytes, kind: int, server: str, connect: Connect) -> bytes:
    """One server's answer, under the number of the question as it came. Raises: OSError, EOFError."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    number = os.urandom(2)
    with await connect(family, kind, server) as there:
        if kind == socket.SOCK_DGRAM:
            await loop.sock_sendall(there, number + data[2:])
            while True:
                answer = await loop.sock_recv(there, _LONGEST_ANSWER)
                if len(answer) >= 12 and answer[:2] == number and answer[2] & 0x80:
                    return data[:2] + answer[2:]
        await loop.sock_connect(there, (server, 53))
        await loop.sock_sendall(there, len(data).to_bytes(2, "big") + number + data[2:])
        answer = await _exactly(there, int.from_bytes(await _exactly(there, 2), "big"))
        if len(answer) < 12 or answer[:2] != number:
            raise EOFError
        return data[:2] + answer[2:]


async def _exactly(there: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        part = await asyncio.get_running_loop().sock_recv(there, length - len(found))
        if not part:
            raise EOFError
        found += part
    return found
