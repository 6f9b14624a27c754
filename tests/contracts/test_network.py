"""What every NetworkDriver does, whether it has a kernel or not."""

import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from adapters.memory.network import MemoryNetwork
from domain.errors import LadingError, NotFound, Refused
from domain.network.ports import Binding, Publication
from domain.network.setup import Bridge, Endpoint, Resolver, Sandbox
from domain.ports.network import NetworkDriver
from tests.adapters.net import conftest
from tests.adapters.net.lab import Lab

lab = conftest.lab

NETWORK = Bridge(id="a1" * 32, link="ldg-a1a1a1a1a1", addresses=("10.213.0.1/24",))
OTHER = Bridge(id="b2" * 32, link="ldg-b2b2b2b2b2", addresses=("10.213.1.1/24",))


def endpoint(number: int = 2, *, network: Bridge = NETWORK, name: str = "eth0") -> Endpoint:
    """An interface on a network; its number is the end of its address."""
    third = network.addresses[0].split(".")[2]
    return Endpoint(network=network.id, link=f"lv{os.urandom(4).hex()}", name=name,
                    mac=f"02:1d:0a:d5:{int(third):02x}:{number:02x}", addresses=(f"10.213.{third}.{number}/24",),
                    gateways=(f"10.213.{third}.1",) if name == "eth0" else ())


def run_id() -> str:
    """A container's."""
    return os.urandom(32).hex()


@pytest.fixture(params=["memory", pytest.param("kernel", marks=[pytest.mark.kernel, pytest.mark.slow])])
async def driver(request: pytest.FixtureRequest) -> AsyncIterator[NetworkDriver]:
    """Each implementation, with nothing in it; the real one on a host of its own."""
    if request.param == "memory":
        yield MemoryNetwork()
        return
    lab: Lab = request.getfixturevalue("lab")
    async with lab.driver() as driver:
        yield driver
        await driver.clean()


async def test_a_driver_knows_the_way_out(driver: NetworkDriver) -> None:
    """A network that is made without a wish takes its MTU from there."""
    assert (await driver.surroundings()).mtu >= 576


async def test_a_named_port_is_held_until_the_run_closes(driver: NetworkDriver) -> None:
    """For the same run again it is the same; nobody else gets it."""
    first, second, wanted = run_id(), run_id(), [Publication(80, "tcp", "127.0.0.1", 23456)]
    given = await driver.reserve(first, 1, wanted, {})
    assert list(given) == [Binding(80, "tcp", "127.0.0.1", 23456)]
    assert list(await driver.reserve(first, 1, wanted, {})) == list(given)
    with pytest.raises(Refused, match=r"host port 23456/tcp on 127\.0\.0\.1"):
        await driver.reserve(second, 1, wanted, {})
    await driver.close(first, 1)
    assert list(await driver.reserve(second, 1, wanted, {})) == list(given)


async def test_tcp_and_udp_do_not_keep_each_other_out(driver: NetworkDriver) -> None:
    """They are different ports."""
    id = run_id()
    wanted = [Publication(53, "tcp", "127.0.0.1", 23456), Publication(53, "udp", "127.0.0.1", 23456)]
    assert len(await driver.reserve(id, 1, wanted, {})) == 2


async def test_when_one_port_is_refused_none_is_held(driver: NetworkDriver) -> None:
    """Or a failed start would keep others from starting."""
    first, second, third = run_id(), run_id(), run_id()
    taken, free = Publication(80, "tcp", "127.0.0.1", 23457), Publication(81, "tcp", "127.0.0.1", 23458)
    await driver.reserve(first, 1, [taken], {})
    with pytest.raises(Refused):
        await driver.reserve(second, 1, [free, taken], {})
    assert await driver.reserve(third, 1, [free], {})


async def test_any_port_is_the_preferred_one_if_that_is_free(driver: NetworkDriver) -> None:
    """A container keeps its random port over restarts; each gets one of its own."""
    first, second, any_port = run_id(), run_id(), Publication(80, "tcp", "127.0.0.1")
    one = (await driver.reserve(first, 1, [any_port], {}))[0].host_port
    other = (await driver.reserve(second, 1, [any_port], {any_port: one}))[0].host_port
    assert one != other
    await driver.close(first, 1)
    assert (await driver.reserve(first, 2, [any_port], {any_port: one}))[0].host_port == one


async def test_a_port_on_every_address_has_one_number_in_both_families(driver: NetworkDriver) -> None:
    """Lists show two lines, and users type one number."""
    given = await driver.reserve(run_id(), 1, [Publication(80)], {})
    assert {binding.host_ip for binding in given} <= {"0.0.0.0", "::"}
    assert len({binding.host_port for binding in given}) == 1


async def test_a_range_of_host_ports_for_one_port_is_a_choice(driver: NetworkDriver) -> None:
    """`-p 23460-23461:80` for two containers; a third one finds none."""
    choice = Publication(80, "tcp", "127.0.0.1", 23460, 23461)
    found = [(await driver.reserve(run_id(), 1, [choice], {}))[0].host_port for _ in range(2)]
    assert found == [23460, 23461]
    with pytest.raises(Refused, match="between 23460 and 23461"):
        await driver.reserve(run_id(), 1, [choice], {})


async def test_a_run_has_one_place(driver: NetworkDriver) -> None:
    """A start that is done again after a crash finds the same namespace."""
    await driver.add_bridge(NETWORK)
    sandbox = Sandbox(id=run_id(), attempt=1, endpoints=(endpoint(),), resolver=Resolver(networks=(NETWORK.id,)))
    place = await driver.open(sandbox)
    assert place.inode
    assert await driver.open(sandbox) == place
    other = await driver.open(Sandbox(id=run_id(), attempt=1, endpoints=(endpoint(3),)))
    assert other.inode != place.inode


async def test_an_unknown_network_is_refused_and_nothing_is_left(driver: NetworkDriver) -> None:
    """The same run may be opened once the network is there."""
    sandbox = Sandbox(id=run_id(), attempt=1, endpoints=(endpoint(),))
    with pytest.raises(NotFound):
        await driver.open(sandbox)
    await driver.add_bridge(NETWORK)
    assert (await driver.open(sandbox)).inode


async def test_bridges_are_made_and_removed_as_often_as_one_likes(driver: NetworkDriver) -> None:
    """An act that is done again after a crash must not fail."""
    for _ in range(2):
        await driver.add_bridge(NETWORK)
    for _ in range(2):
        await driver.remove_bridge(NETWORK.id)


async def test_interfaces_come_and_go_while_a_run_lasts(driver: NetworkDriver) -> None:
    """Twice is fine; for a run that is not there it is not."""
    for bridge in (NETWORK, OTHER):
        await driver.add_bridge(bridge)
    one = Sandbox(id=run_id(), attempt=1, endpoints=(endpoint(),))
    both = replace(one, endpoints=(*one.endpoints, endpoint(network=OTHER, name="eth1")))
    await driver.open(one)
    for sandbox in (both, both, one, one):
        await driver.change(sandbox, os.getpid())
    with pytest.raises(LadingError):
        await driver.change(replace(both, id=run_id()), 0)


async def test_a_run_is_closed_as_often_as_one_likes(driver: NetworkDriver) -> None:
    """Also one that never was."""
    await driver.add_bridge(NETWORK)
    id = run_id()
    await driver.open(Sandbox(id=id, attempt=1, endpoints=(endpoint(),)))
    for _ in range(2):
        await driver.close(id, 1)
    await driver.close(run_id(), 1)


async def test_settling_lets_go_of_what_is_not_wanted(driver: NetworkDriver) -> None:
    """Ports are free again, networks gone."""
    wanted = [Publication(80, "tcp", "127.0.0.1", 23456)]
    await driver.add_bridge(NETWORK)
    await driver.reserve(run_id(), 1, wanted, {})
    await driver.settle([OTHER], {})
    await driver.reserve(run_id(), 1, wanted, {})
    with pytest.raises(NotFound):
        await driver.open(Sandbox(id=run_id(), attempt=1, endpoints=(endpoint(),)))
    await driver.open(Sandbox(id=run_id(), attempt=1, endpoints=(endpoint(network=OTHER),)))


async def test_cleaning_leaves_nothing_and_may_be_followed_by_anything(driver: NetworkDriver) -> None:
    """The last container has gone; the next one comes."""
    await driver.add_bridge(NETWORK)
    await driver.open(Sandbox(id=run_id(), attempt=1, endpoints=(endpoint(),)))
    await driver.clean()
    await driver.add_bridge(NETWORK)
    await driver.open(Sandbox(id=run_id(), attempt=1, endpoints=(endpoint(),)))
