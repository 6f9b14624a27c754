"""Who reaches whom, and as whom: packets through the real kernel, on a host that exists for one test."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from adapters.net import namespaces, nft
from adapters.net.driver import NetworkProcess, table_name
from adapters.net.ending import end_network
from adapters.net.netlink import NETFILTER, Netlink, Refusal
from domain.errors import Refused, Unavailable
from domain.network.ports import Publication
from domain.network.setup import Bridge, Endpoint, Sandbox
from tests.adapters.net.lab import HOST, HOST_V6, NEIGHBOUR, Lab, eventually

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

A = Bridge(id="a1" * 32, link="ldg-a1a1a1a1a1", addresses=("10.213.0.1/24", "fd00:213::1/64"))
B = Bridge(id="b2" * 32, link="ldg-b2b2b2b2b2", addresses=("10.213.1.1/24",))
INTERNAL = Bridge(id="c3" * 32, link="ldg-c3c3c3c3c3", addresses=("10.213.2.1/24",), internal=True)
QUIET = Bridge(id="d4" * 32, link="ldg-d4d4d4d4d4", addresses=("10.213.3.1/24",), isolated=True)
_THIRD = {A.id: 0, B.id: 1, INTERNAL.id: 2, QUIET.id: 3}


class Containers:
    """Runs without processes: their namespaces are entered by descriptors of our own."""

    def __init__(self, lab: Lab, driver: NetworkProcess) -> None:
        self.lab, self.driver = lab, driver
        self.opened: list[tuple[str, int, Sandbox]] = []

    async def open(self, bridge: Bridge, number: int, *publications: Publication, v6: bool = False) -> int:
        """A container on a network; returns a descriptor of its namespace."""
        id = os.urandom(32).hex()
        bindings = await self.driver.reserve(id, 1, publications, {}) if publications else ()
        sandbox = Sandbox(id=id, attempt=1, endpoints=(endpoint(bridge, number, v6=v6),), bindings=tuple(bindings))
        place = await self.driver.open(sandbox)
        fd = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC)
        assert os.fstat(fd).st_ino == place.inode
        self.opened.append((id, fd, sandbox))
        return fd

    async def close(self, fd: int) -> None:
        """The run is over."""
        await self.driver.close(self.of(fd).id, 1)

    def of(self, fd: int) -> Sandbox:
        """What was asked for."""
        return next(sandbox for _, each, sandbox in self.opened if each == fd)


def endpoint(bridge: Bridge, number: int, *, name: str = "eth0", v6: bool = False) -> Endpoint:
    """An interface on one of the networks above."""
    third = _THIRD[bridge.id]
    addresses = (f"10.213.{third}.{number}/24", *((f"fd00:213::{number}/64",) if v6 else ()))
    gateways = (f"10.213.{third}.1", *(("fd00:213::1",) if v6 else ())) if name == "eth0" else ()
    return Endpoint(network=bridge.id, link=f"lv{os.urandom(4).hex()}", name=name,
                    mac=f"02:1d:0a:d5:{third:02x}:{number:02x}", addresses=addresses, gateways=gateways)


@pytest.fixture
async def containers(lab: Lab) -> AsyncIterator[Containers]:
    """A driver with the networks; afterwards the host is as it was."""
    before = lab.links(lab.host)
    async with lab.driver() as driver:
        for bridge in (A, B, INTERNAL, QUIET):
            await driver.add_bridge(bridge)
        made = Containers(lab, driver)
        yield made
        for _, fd, _ in made.opened:
            os.close(fd)
        await driver.clean()
        assert not (lab.directory / "run" / "net.log").read_text()
    assert lab.links(lab.host) == before
    assert lab.call(lab.host, Path("/proc/sys/net/ipv4/ip_forward").read_text).strip() == "0"


async def test_containers_of_one_network_reach_each_other(containers: Containers) -> None:
    """In both families, and each sees the other's own address."""
    lab = containers.lab
    server, client = await containers.open(A, 2, v6=True), await containers.open(A, 3, v6=True)
    lab.echo(server, 80, name="web")
    assert lab.ask(client, "10.213.0.2", 80) == "web sees 10.213.0.3"
    assert lab.ask(client, "fd00:213::2", 80) == "web sees fd00:213::3"


async def test_containers_of_other_networks_do_not(containers: Containers) -> None:
    """Neither by the address of the container nor from the host's other side."""
    lab = containers.lab
    server, stranger = await containers.open(A, 2), await containers.open(B, 2)
    lab.echo(server, 80)
    assert lab.ask(stranger, "10.213.0.2", 80, patience=1) == ""
    lab.run(lab.neighbour, "/sbin/ip", "route", "add", "10.213.0.0/16", "via", HOST)
    assert lab.ask(lab.neighbour, "10.213.0.2", 80, patience=1) == ""


async def test_a_container_reaches_the_outside_behind_the_hosts_address(containers: Containers) -> None:
    """The world knows no address of ours. Datagrams too."""
    lab = containers.lab
    client = await containers.open(A, 2)
    lab.echo(lab.neighbour, 80, name="world")
    lab.echo(lab.neighbour, 53, name="world", udp=True)
    assert lab.ask(client, NEIGHBOUR, 80) == f"world sees {HOST}"
    assert lab.ask(client, NEIGHBOUR, 53, udp=True) == f"world sees {HOST}"


async def test_segments_fit_a_way_that_is_narrower_than_the_network(containers: Containers) -> None:
    """Also where nobody may tell the sender (filtered ICMP): else large answers would never arrive."""
    lab = containers.lab
    client = await containers.open(A, 2)
    lab.run(lab.host, "/sbin/ip", "link", "set", "eth0", "mtu", "1300")
    server = lab.keep(partial(_listening, lab.neighbour))
    there = lab.call(client, socket.socket)
    with server, there:
        there.settimeout(5)
        there.connect((NEIGHBOUR, 80))
        connection, _ = server.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1300 - 40


def _listening(namespace: int) -> socket.socket:
    with namespaces.inside(namespace):
        server = socket.create_server((NEIGHBOUR, 80))
    server.settimeout(5)
    return server


async def test_an_internal_network_has_no_outside(containers: Containers) -> None:
    """But its containers reach each other."""
    lab = containers.lab
    one, other = await containers.open(INTERNAL, 2), await containers.open(INTERNAL, 3)
    lab.echo(lab.neighbour, 80, name="world")
    lab.echo(other, 80, name="other")
    assert lab.ask(one, "10.213.2.3", 80) == "other sees 10.213.2.2"
    assert lab.ask(one, NEIGHBOUR, 80, patience=1) == ""


async def test_on_an_isolated_network_nobody_reaches_a_neighbour(containers: Containers) -> None:
    """icc=false; the way out stays."""
    lab = containers.lab
    one, other = await containers.open(QUIET, 2), await containers.open(QUIET, 3)
    lab.echo(other, 80)
    lab.echo(lab.neighbour, 80, name="world")
    assert lab.ask(one, "10.213.3.3", 80, patience=1) == ""
    assert lab.ask(one, NEIGHBOUR, 80) == f"world sees {HOST}"


async def test_a_connected_network_is_reached_until_it_is_disconnected(containers: Containers) -> None:
    """Live, without a new start; the way out stays where it was."""
    lab = containers.lab
    server, client = await containers.open(A, 2), await containers.open(B, 2)
    lab.echo(server, 80)
    lab.echo(lab.neighbour, 80, name="world")
    assert lab.ask(client, "10.213.0.2", 80, patience=1) == ""
    before = containers.of(client)
    both = replace(before, endpoints=(*before.endpoints, endpoint(A, 9, name="eth1")))
    await containers.driver.change(both, 0)
    assert lab.ask(client, "10.213.0.2", 80) == "server sees 10.213.0.9"
    assert lab.ask(client, NEIGHBOUR, 80) == f"world sees {HOST}"
    await containers.driver.change(before, 0)
    assert lab.ask(client, "10.213.0.2", 80, patience=1) == ""


async def test_when_the_way_out_is_disconnected_the_next_network_leads_out(containers: Containers) -> None:
    """The default route and the published ports go there at once, datagrams as well; with no way out left, nobody gets
    through, and nobody waits for that."""
    lab, driver = containers.lab, containers.driver
    server = await containers.open(A, 2, Publication(80, "tcp", "", 8080), Publication(80, "udp", "", 8080), v6=True)
    lab.echo(server, 80, name="web")
    lab.echo(server, 80, name="web", udp=True)
    lab.echo(lab.neighbour, 80, name="world")
    before = containers.of(server)
    inside, leading = endpoint(INTERNAL, 9, name="eth1"), endpoint(B, 9, name="eth2")
    await driver.change(replace(before, endpoints=(*before.endpoints, inside, leading)), 0)
    assert lab.ask(lab.neighbour, HOST, 8080, udp=True) == f"web sees {NEIGHBOUR}"
    assert lab.ask(lab.host, "::1", 8080).startswith("web sees fd00:213::")
    leading = replace(leading, gateways=("10.213.1.1",))
    await driver.change(replace(before, endpoints=(leading, inside)), 0)
    assert lab.ask(lab.neighbour, HOST, 8080) == f"web sees {NEIGHBOUR}"
    assert lab.ask(lab.neighbour, HOST, 8080, udp=True) == f"web sees {NEIGHBOUR}"
    assert lab.ask(lab.host, "::1", 8080) == "web sees 10.213.1.1"
    assert lab.ask(server, NEIGHBOUR, 80) == f"world sees {HOST}"
    await driver.change(replace(before, endpoints=(inside,)), 0)
    assert lab.ask(lab.neighbour, HOST, 8080) == ""
    assert lab.ask(server, NEIGHBOUR, 80, patience=0.3) == ""
    await driver.settle([A, B, INTERNAL, QUIET], {-1: replace(before, endpoints=(inside, leading))})
    assert lab.ask(lab.neighbour, HOST, 8080) == f"web sees {NEIGHBOUR}"


async def test_a_published_port_is_reached_from_everywhere(containers: Containers) -> None:
    """From the host by each of its addresses, from a neighbour, from containers of any network, and from itself."""
    lab = containers.lab
    server = await containers.open(A, 2, Publication(80, "tcp", "", 8080))
    friend, stranger = await containers.open(A, 3), await containers.open(B, 2)
    lab.echo(server, 80, name="web")
    assert lab.ask(lab.host, "127.0.0.1", 8080) == "web sees 10.213.0.1"
    assert lab.ask(lab.host, HOST, 8080).startswith("web sees ")
    assert lab.ask(lab.host, "::1", 8080).startswith("web sees ")
    assert lab.ask(lab.neighbour, HOST, 8080) == f"web sees {NEIGHBOUR}"
    assert lab.ask(lab.neighbour, HOST_V6, 8080).startswith("web sees ")
    assert lab.ask(friend, HOST, 8080) == "web sees 10.213.0.1"
    assert lab.ask(stranger, HOST, 8080) == "web sees 10.213.0.1"
    assert lab.ask(server, HOST, 8080) == "web sees 10.213.0.1"
    assert lab.ask(lab.neighbour, HOST, 80, patience=1) == ""


async def test_a_port_is_published_in_the_kernel_where_the_container_has_the_family(containers: Containers) -> None:
    """So the server sees who asks."""
    lab = containers.lab
    server = await containers.open(A, 2, Publication(80, "tcp", "", 8080), v6=True)
    lab.echo(server, 80, name="web")
    assert lab.ask(lab.neighbour, HOST_V6, 8080) == "web sees 2001:db8::2"


async def test_a_port_on_the_loopback_is_nobody_elses(containers: Containers) -> None:
    """Not even a neighbour's who routes 127.0.0.0/8 here, nor by the host's other addresses."""
    lab = containers.lab
    server = await containers.open(A, 2, Publication(80, "tcp", "127.0.0.1", 8080))
    lab.echo(server, 80, name="web")
    assert lab.ask(lab.host, "127.0.0.1", 8080) == "web sees 10.213.0.1"
    assert lab.ask(lab.neighbour, HOST, 8080, patience=1) == ""
    for argv in (("route", "del", "table", "local", "127.0.0.0/8", "dev", "lo"), ("addr", "flush", "dev", "lo"),
                 ("route", "add", "127.0.0.0/8", "via", HOST, "dev", "eth0")):
        lab.run(lab.neighbour, "/sbin/ip", *argv)
    lab.call(lab.neighbour, lambda: Path("/proc/sys/net/ipv4/conf/eth0/route_localnet").write_text("1"))
    assert lab.ask(lab.neighbour, "127.0.0.1", 8080, patience=1) == ""


async def test_a_container_does_not_reach_the_hosts_loopback(containers: Containers) -> None:
    """Although its bridge routes those addresses (CVE-2020-8558)."""
    lab = containers.lab
    attacker = await containers.open(A, 2)
    lab.echo(lab.host, 6000, name="secret", address="127.0.0.1")
    for argv in (("route", "del", "table", "local", "127.0.0.0/8", "dev", "lo"), ("addr", "flush", "dev", "lo"),
                 ("route", "add", "127.0.0.0/8", "via", "10.213.0.1", "dev", "eth0")):
        lab.run(attacker, "/sbin/ip", *argv)
    lab.call(attacker, lambda: Path("/proc/sys/net/ipv4/conf/eth0/route_localnet").write_text("1"))
    assert lab.ask(attacker, "127.0.0.1", 6000, patience=1) == ""


async def test_a_neighbour_does_not_become_a_containers_router(containers: Containers) -> None:
    """By an advertisement, with addresses of a family that its network does not have (CVE-2020-10749, CVE-2020-13401,
    CVE-2024-32473)."""
    lab = containers.lab
    place = await containers.open(A, 2)
    conf = Path("/proc/sys/net/ipv6/conf/eth0")
    said = lab.call(place, lambda: [(conf / name).read_text().strip() for name in ("accept_ra", "disable_ipv6")])
    assert said == ["0", "1"]


@pytest.mark.parametrize("address", [HOST, "127.0.0.1", "::1"])
async def test_datagrams_reach_a_published_port(containers: Containers, address: str) -> None:
    """Through the rules, and through the relay."""
    lab = containers.lab
    server = await containers.open(A, 2, Publication(53, "udp", "", 5353))
    lab.echo(server, 53, name="dns", udp=True, address="0.0.0.0")
    assert lab.ask(lab.neighbour if address == HOST else lab.host, address, 5353, udp=True).startswith("dns sees ")


async def test_datagrams_follow_a_port_to_its_next_container(containers: Containers) -> None:
    """The kernel remembers flows; one that goes on with the same source must not go to the former holder."""
    lab = containers.lab

    def client() -> socket.socket:
        found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        found.bind((NEIGHBOUR, 4000))
        found.settimeout(0.5)
        found.connect((HOST, 5353))
        return found

    first = await containers.open(A, 2, Publication(53, "udp", "", 5353))
    lab.echo(first, 53, name="first", udp=True, address="0.0.0.0")
    with lab.call(lab.neighbour, client) as asking:

        def answered_by(name: bytes) -> bool:
            try:
                asking.send(b"?")
                return asking.recv(100).startswith(name)
            except OSError:  # a datagram may be lost; what must not be is that another one answers for ever
                return False

        assert eventually(lambda: answered_by(b"first"))
        await containers.close(first)
        second = await containers.open(A, 3, Publication(53, "udp", "", 5353))
        lab.echo(second, 53, name="second", udp=True, address="0.0.0.0")
        assert eventually(lambda: answered_by(b"second"))


async def test_a_hundred_ports_are_one_wish(containers: Containers) -> None:
    """First and last lead where they should."""
    lab = containers.lab
    wanted = [Publication(1000 + number, "tcp", "127.0.0.1", 9000 + number) for number in range(100)]
    server = await containers.open(A, 2, *wanted)
    for port in (1000, 1099):
        lab.echo(server, port, name=str(port))
        assert lab.ask(lab.host, "127.0.0.1", port + 8000) == f"{port} sees 10.213.0.1"


async def test_a_port_of_another_program_is_refused_with_its_name(containers: Containers) -> None:
    """Whoever must free it wants to know."""
    lab = containers.lab
    lab.echo(lab.host, 8080, address="0.0.0.0")
    told = rf"host port 8080/tcp on 0\.0\.0\.0 is in use by another program \({os.getpid()} "
    with pytest.raises(Refused, match=told):
        await containers.open(A, 2, Publication(80, "tcp", "", 8080))
    with pytest.raises(Refused, match=r"this host has no address 10\.0\.0\.9 to publish on"):
        await containers.open(A, 2, Publication(80, "tcp", "10.0.0.9", 8080))


async def test_the_process_is_ended_without_a_daemon(containers: Containers) -> None:
    """An uninstallation leaves nothing: links, rules, the switch for forwarding. Without a process there is nothing."""
    lab, driver = containers.lab, containers.driver
    await containers.open(A, 2)
    await driver.__aexit__(None, None, None)
    for _ in range(2):
        await asyncio.to_thread(partial(end_network, lab.directory / "run", clean=True))
        assert lab.links(lab.host) == ["lo", "eth0"]
    await driver.__aenter__()


@pytest.mark.parametrize("owned", [True, False])
async def test_a_deleted_table_comes_back(containers: Containers, owned: bool) -> None:
    """`nft flush ruleset` cannot touch what the kernel knows as ours; where it does not know that, it is made again."""
    lab = containers.lab
    client, stranger = await containers.open(A, 2), await containers.open(B, 2)
    lab.echo(client, 80)
    lab.echo(lab.neighbour, 80, name="world")
    name = table_name(lab.directory)

    def delete() -> bool:
        with Netlink(NETFILTER) as here:
            try:
                nft.commit(here, [nft.delete_table(name)])
            except Refusal:
                return False
            return True

    assert not lab.call(lab.host, delete)
    if not owned:
        os.kill(containers.driver.pid, 9)
        assert eventually(lambda: lab.call(lab.host, delete))
        async with asyncio.timeout(20):
            while True:
                try:
                    await containers.driver.settle([A, B], {})
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)
    else:
        assert lab.ask(client, NEIGHBOUR, 80) == f"world sees {HOST}"
    assert lab.ask(stranger, "10.213.0.2", 80, patience=1) == ""
    assert not lab.call(lab.host, delete)


async def test_connections_outlive_the_process_and_its_successor_finds_everything(containers: Containers) -> None:
    """Killed while a port is in use: who connects is let in all the same; then everything is as it was told."""
    lab, driver = containers.lab, containers.driver
    server = await containers.open(A, 2, Publication(80, "tcp", "", 8080))
    await containers.open(A, 3)
    lab.echo(server, 80, name="web")
    lost = asyncio.Event()

    async def settle() -> None:
        await driver.settle([A], {process.pid: containers.of(server)})
        lost.set()

    driver.on_lost(settle)
    with lab.process(server, "/bin/sleep", "100") as process:
        os.kill(driver.pid, 9)
        assert lab.ask(lab.neighbour, HOST, 8080) == f"web sees {NEIGHBOUR}"
        async with asyncio.timeout(20):
            await lost.wait()
        assert lab.ask(lab.neighbour, HOST, 8080) == f"web sees {NEIGHBOUR}"
        assert lab.ask(lab.host, "::1", 8080).startswith("web sees ")
        assert len([name for name in lab.links(lab.host) if name.startswith("lv")]) == 1
        assert A.link in lab.links(lab.host)
        assert B.link not in lab.links(lab.host)
    await driver.settle([A], {})
    assert lab.ask(lab.neighbour, HOST, 8080, patience=1) == ""
    assert not [name for name in lab.links(lab.host) if name.startswith("lv")]
