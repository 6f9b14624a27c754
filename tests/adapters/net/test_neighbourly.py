"""A host that forwards only since we are here: nobody can use it as a router, and nobody else's networks are cut."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from adapters.net import links, namespaces
from adapters.net.netlink import Netlink
from domain.network.setup import Bridge
from tests.adapters.net.lab import HOST, NEIGHBOUR, Lab

pytestmark = pytest.mark.kernel

OURS = Bridge(id="a", link="ldg-test-ours", addresses=("10.213.0.1/24",))
LATER = Bridge(id="b", link="ldg-test-late", addresses=("10.213.1.1/24",))


@pytest.fixture
def machines(lab: Lab) -> Iterator[list[int]]:
    """Namespaces, each on a bridge or cable of its host that is not ours."""
    made: list[int] = []
    yield made
    for each in made:
        os.close(each)


def plug(lab: Lab, bridge: str, net: int, number: int, machines: list[int]) -> int:
    """A virtual machine, as it were, on somebody's bridge `10.99.NET.1`, which is made if need be."""
    machine = lab.call(lab.host, namespaces.make)
    machines.append(machine)
    name = f"port{net}-{number}"

    def wire() -> None:
        with Netlink() as here:
            if links.find(here, bridge) is None:
                here.send([links.bridge(bridge, mac=f"02:00:00:00:{net:02x}:fe", mtu=1500, group=0)])
                index = links.index_of(here, bridge) or 0
                here.send([links.change(index, up=True), links.address(index, f"10.99.{net}.1/24")])
            master = links.index_of(here, bridge) or 0
            here.send([links.pair(name, master=master, mtu=1500, group=0, peer="eth0",
                                  mac=f"02:00:00:00:{net:02x}:{number:02x}", namespace=machine)])
            here.send([links.change(links.index_of(here, name) or 0, up=True)])

    def inside() -> None:
        with Netlink() as here:
            index = links.index_of(here, "eth0") or 0
            here.send([links.change(index, up=True), links.address(index, f"10.99.{net}.{number}/24"),
                       links.default_route(index, f"10.99.{net}.1")])

    lab.call(lab.host, wire)
    lab.call(machine, inside)
    return machine


def forwards(lab: Lab) -> bool:
    """Whether the host does."""
    return lab.call(lab.host, Path("/proc/sys/net/ipv4/ip_forward").read_text).strip() == "1"


@pytest.fixture
async def elder(lab: Lab, machines: list[int]) -> AsyncIterator[tuple[int, int]]:
    """Two machines on a bridge that is older than our first network."""
    pair = plug(lab, "br0", 1, 2, machines), plug(lab, "br0", 1, 3, machines)
    lab.run(lab.neighbour, "/sbin/ip", "route", "add", "10.99.0.0/16", "via", HOST)
    assert not forwards(lab)
    async with lab.driver() as driver:
        await driver.add_bridge(OURS)
        assert forwards(lab)
        yield pair
        await driver.clean()
    assert not forwards(lab)


async def test_machines_on_a_bridge_that_was_there_reach_each_other(lab: Lab, elder: tuple[int, int]) -> None:
    """What crosses a bridge passes the rules for forwarding where br_netfilter is; it is no business of ours."""
    one, other = elder
    lab.echo(other, 80, name="other")
    assert lab.ask(one, "10.99.1.3", 80) == "other sees 10.99.1.2"


async def test_what_was_there_is_not_connected_by_us(lab: Lab, elder: tuple[int, int]) -> None:
    """Nobody outside reaches the bridge over this host, nor the other way round: it was no router before."""
    one, _ = elder
    lab.echo(one, 80)
    lab.echo(lab.neighbour, 80)
    assert lab.ask(lab.neighbour, "10.99.1.2", 80, patience=1) == ""
    assert lab.ask(one, NEIGHBOUR, 80, patience=1) == ""


async def test_a_network_that_others_make_later_is_theirs(
    lab: Lab, elder: tuple[int, int], machines: list[int]
) -> None:
    """Who makes a bridge now may count on forwarding, or has asked for it: docker, libvirt, another engine."""
    one, other = plug(lab, "virbr9", 2, 2, machines), plug(lab, "virbr9", 2, 3, machines)
    lab.echo(other, 80, name="other")
    lab.echo(lab.neighbour, 80, name="world")
    assert lab.ask(one, "10.99.2.3", 80) == "other sees 10.99.2.2"
    assert lab.ask(one, NEIGHBOUR, 80) == "world sees 10.99.2.2"


async def test_it_is_remembered_what_was_there(lab: Lab, machines: list[int]) -> None:
    """By the next process for networks, too, when there are more interfaces."""
    elder = plug(lab, "br0", 1, 2, machines)
    lab.run(lab.neighbour, "/sbin/ip", "route", "add", "10.99.0.0/16", "via", HOST)
    async with lab.driver() as driver:
        await driver.add_bridge(OURS)
    later = plug(lab, "virbr9", 2, 2, machines)
    lab.echo(elder, 80, name="elder")
    lab.echo(later, 80, name="later")
    async with lab.driver() as driver:
        await driver.settle([OURS, LATER], {})
        assert lab.ask(lab.neighbour, "10.99.2.2", 80) == f"later sees {NEIGHBOUR}"
        assert lab.ask(lab.neighbour, "10.99.1.2", 80, patience=1) == ""
        await driver.clean()
    assert not forwards(lab)
