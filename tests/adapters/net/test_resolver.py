"""Names as containers ask for them: over the real sockets, in the real namespace."""

import os
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address

import pytest

from adapters.net import namespaces
from adapters.net.driver import NetworkProcess
from domain.network import dns
from domain.network.setup import Endpoint, Resolver, Sandbox
from domain.network.zones import zone
from tests.adapters.net.lab import NEIGHBOUR, Lab
from tests.adapters.net.test_flows import INTERNAL, A, B, endpoint

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

ZONES = {
    A.id: zone("learning", {"web": ((ip_address("10.213.0.2"),), ("www", "cafe01234567")),
                            "one": ((ip_address("10.213.0.4"),), ("pool",)),
                            "two": ((ip_address("10.213.0.5"),), ("pool",))}),
    B.id: zone("other", {"db": ((ip_address("10.213.1.2"),), ())}),
}


@dataclass
class Asker:
    """A container that asks."""

    lab: Lab
    driver: NetworkProcess
    namespace: int
    sandbox: Sandbox

    def ask(self, name: str, kind: int = dns.A, *, stream: bool = False) -> tuple[int, list[str]]:
        """(code, addresses or names) of the answer at 127.0.0.11."""
        query = struct.pack("!6H", 4711, 0x0100, 1, 0, 0, 0) + dns.encoded(name) + struct.pack("!2H", kind, 1)
        return _read(self.raw(query, stream=stream))

    def raw(self, query: bytes, *, stream: bool = False) -> bytes:
        """The answer as it comes."""
        def exchange() -> bytes:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as there:
                there.settimeout(10)
                there.connect(("127.0.0.11", 53))
                there.sendall(len(query).to_bytes(2, "big") + query if stream else query)
                if not stream:
                    return there.recv(4096)
                length = int.from_bytes(there.recv(2, socket.MSG_WAITALL), "big")
                return there.recv(length, socket.MSG_WAITALL)

        return self.lab.call(self.namespace, exchange)


def _read(answer: bytes) -> tuple[int, list[str]]:
    _, flags, _, count, _, _ = struct.unpack_from("!6H", answer)
    at = answer.index(b"\0", 12) + 5
    found = []
    for _ in range(count):
        kind, _, _, length = struct.unpack_from("!2HIH", answer, at + 2)
        data = answer[at + 12:at + 12 + length]
        found.append(str(ip_address(data)) if kind in (dns.A, dns.AAAA) else dns._name(data, 0)[0])
        at += 12 + length
    return flags & 0xF, found


@asynccontextmanager
async def container(lab: Lab, resolver: Resolver, *endpoints: Endpoint) -> AsyncIterator[Asker]:
    """One with that resolver, and the names above."""
    async with lab.driver() as driver:
        for bridge in (A, B, INTERNAL):
            await driver.add_bridge(bridge)
        await driver.names(ZONES)
        id = os.urandom(32).hex()
        sandbox = Sandbox(id=id, attempt=1, endpoints=endpoints or (endpoint(A, 3),), resolver=resolver)
        place = await driver.open(sandbox)
        namespace = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC)
        yield Asker(lab, driver, namespace, sandbox)
        os.close(namespace)
        await driver.clean()
        assert not (lab.directory / "run" / "net.log").read_text()


def upstream(lab: Lab, answers: Callable[[bytes, bool], bytes], *, address: str = NEIGHBOUR) -> None:
    """A server for names in the neighbour's network: gets the question and whether it came by stream."""
    def bind(kind: int) -> socket.socket:
        with namespaces.inside(lab.neighbour):
            found = socket.socket(socket.AF_INET, kind)
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((address, 53))
            if kind == socket.SOCK_STREAM:
                found.listen()
            return found

    datagrams, streams = (lab.keep(partial(bind, kind)) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM))

    def serve_datagrams() -> None:
        while True:
            try:
                data, client = datagrams.recvfrom(4096)
                if answer := answers(data, False):
                    datagrams.sendto(answer, client)
            except OSError:
                return

    def serve_streams() -> None:
        while True:
            try:
                client, _ = streams.accept()
                with client:
                    data = client.recv(int.from_bytes(client.recv(2), "big"))
                    answer = answers(data, True)
                    client.sendall(len(answer).to_bytes(2, "big") + answer)
            except OSError:
                return

    for serve in (serve_datagrams, serve_streams):
        threading.Thread(target=serve, daemon=True).start()


def says(address: str, *, code: int = dns.NO_ERROR) -> Callable[[bytes, bool], bytes]:
    """Always the same answer."""
    def answer(data: bytes, _: bool) -> bytes:
        return dns.answer(dns.question(data), (ip_address(address),) if code == dns.NO_ERROR else (), code=code)

    return answer


async def test_containers_find_each_other(lab: Lab) -> None:
    """By name, alias, short id and with the network's name; not those of other networks."""
    async with container(lab, Resolver(networks=(A.id,), outside=False, links={"db": ("web",)})) as asker:
        for name in ("web", "WEB", "www", "cafe01234567", "web.learning"):
            assert asker.ask(name) == (dns.NO_ERROR, ["10.213.0.2"])
        assert asker.ask("db") == (dns.NO_ERROR, ["10.213.0.2"])
        assert asker.ask("db.other") == (dns.NO_NAME, [])
        assert asker.ask("web", stream=True) == (dns.NO_ERROR, ["10.213.0.2"])
        assert sorted(asker.ask("pool")[1]) == ["10.213.0.4", "10.213.0.5"]


async def test_a_known_name_without_such_an_address_is_known_all_the_same(lab: Lab) -> None:
    """Else a client would believe that there is no such name, or strangers would be asked for it."""
    async with container(lab, Resolver(networks=(A.id,), outside=False)) as asker:
        assert asker.ask("web", dns.AAAA) == (dns.NO_ERROR, [])
        assert asker.ask("web", dns.MX) == (dns.NO_ERROR, [])
        assert asker.ask("2.0.213.10.in-addr.arpa", dns.PTR) == (dns.NO_ERROR, ["web.learning"])


async def test_names_follow_at_once(lab: Lab) -> None:
    """A rename, and a network that is connected and disconnected."""
    async with container(lab, Resolver(networks=(A.id,), outside=False)) as asker:
        for _ in range(2):
            assert asker.ask("web") == (dns.NO_ERROR, ["10.213.0.2"])
            assert asker.ask("web2") == (dns.NO_NAME, [])
        await asker.driver.names(ZONES | {A.id: zone("learning", {"web2": ((ip_address("10.213.0.2"),), ())})})
        assert asker.ask("web") == (dns.NO_NAME, [])
        assert asker.ask("web2") == (dns.NO_ERROR, ["10.213.0.2"])
        before = asker.sandbox
        more = (endpoint(INTERNAL, 9, name="eth1"), endpoint(B, 9, name="eth2"))
        resolver = Resolver(networks=(A.id, INTERNAL.id, B.id), outside=False, links={"shop": ("web2",)})
        await asker.driver.change(replace(before, endpoints=(*before.endpoints, *more), resolver=resolver), 0)
        assert asker.ask("db") == (dns.NO_ERROR, ["10.213.1.2"])
        assert asker.ask("shop") == (dns.NO_ERROR, ["10.213.0.2"])
        await asker.driver.change(before, 0)
        assert asker.ask("db")[1] == []
        assert asker.ask("shop")[1] == []


async def test_others_are_asked_for_other_names(lab: Lab) -> None:
    """By datagram and by stream, as the container asks; what they answer comes back as it is."""
    upstream(lab, says("192.0.2.1"))
    async with container(lab, Resolver(networks=(A.id,), servers=(NEIGHBOUR,))) as asker:
        assert asker.ask("example.org") == (dns.NO_ERROR, ["192.0.2.1"])
        assert asker.ask("example.org", stream=True) == (dns.NO_ERROR, ["192.0.2.1"])


async def test_the_next_server_is_asked_after_one_that_fails(lab: Lab) -> None:
    """One that is broken, and one that does not answer."""
    for number, answer in ((10, says("", code=dns.SERVER_FAILURE)), (11, lambda *_: b""), (12, says("192.0.2.3"))):
        lab.run(lab.neighbour, "/sbin/ip", "addr", "add", f"198.51.100.{number}/24", "dev", "eth0")
        upstream(lab, answer, address=f"198.51.100.{number}")
    servers = tuple(f"198.51.100.{number}" for number in (10, 11, 12))
    async with container(lab, Resolver(networks=(A.id,), servers=servers)) as asker:
        assert asker.ask("example.org") == (dns.NO_ERROR, ["192.0.2.3"])


async def test_without_an_answering_server_the_container_is_told(lab: Lab) -> None:
    """And does not wait for ever."""
    async with container(lab, Resolver(networks=(A.id,), servers=(NEIGHBOUR,))) as asker:
        assert asker.ask("example.org")[0] == dns.SERVER_FAILURE


async def test_a_container_without_the_outside_asks_nobody_there(lab: Lab) -> None:
    """Questions would carry data out of an internal network (CVE-2024-29018)."""
    heard: list[bytes] = []

    def answer(data: bytes, _: bool) -> bytes:
        heard.append(data)
        return b""

    upstream(lab, answer)
    resolver = Resolver(networks=(INTERNAL.id,), servers=(NEIGHBOUR,), outside=False)
    async with container(lab, resolver, endpoint(INTERNAL, 3)) as asker:
        assert asker.ask("secret.example.org") == (dns.NO_NAME, [])
    assert heard == []


async def test_garbage_is_answered_or_dropped_and_the_next_question_is_heard(lab: Lab) -> None:
    """Whatever a container sends, the others are served."""
    async with container(lab, Resolver(networks=(A.id,), outside=False)) as asker:
        for garbage in (b"\0" * 12, b"\x12\x34" + b"\xff" * 40, os.urandom(300)):
            assert asker.raw(garbage)[3] & 0xF == dns.FORMAT_ERROR
        assert asker.ask("web") == (dns.NO_ERROR, ["10.213.0.2"])


async def test_a_container_may_have_a_server_on_port_53_of_its_own(lab: Lab) -> None:
    """Only 127.0.0.11 is ours."""
    async with container(lab, Resolver(networks=(A.id,), outside=False)) as asker:
        lab.echo(asker.namespace, 53, name="mine", udp=True, address="127.0.0.1")
        assert lab.ask(asker.namespace, "127.0.0.1", 53, udp=True) == "mine sees 127.0.0.1"
        assert asker.ask("web") == (dns.NO_ERROR, ["10.213.0.2"])
