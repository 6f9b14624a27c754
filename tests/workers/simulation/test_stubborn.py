"""Processes that the kernel does not end: every wish gets its answer, and nothing stays open for ever."""

import asyncio
from collections.abc import Awaitable, Mapping
from pathlib import Path

import pytest

from domain.container import State
from domain.errors import KernelError, LadingError
from domain.lifecycle.remove import Remove
from domain.lifecycle.rename import Rename
from domain.lifecycle.stop import Restart, Stop
from domain.lifecycle.update import Update
from domain.network.asked import NetworkWish
from domain.network.zones import Zone
from domain.resources import Resources
from tests.workers.simulation.test_crashes import Morgue, check, world_with_image
from tests.workers.simulation.world import WHO, World
from workers.engine import Engine
from workers.requests import CreateRequest, NetworkRequest


class Grip:
    """While it holds, no signal ends anything: as a process in an uninterruptible wait."""

    def __init__(self, world: World) -> None:
        self._runtime = world.runtime
        self._signal, self._kill_all = world.runtime.signal, world.runtime.kill_all
        world.runtime.signal = self._nothing  # type: ignore[method-assign]
        world.runtime.kill_all = self._nothing  # type: ignore[method-assign]

    async def _nothing(self, id: str, signal: int = 9) -> None:
        await asyncio.sleep(0)

    def let_go(self) -> None:
        """The kernel gives it free again."""
        self._runtime.signal, self._runtime.kill_all = self._signal, self._kill_all  # type: ignore[method-assign]


async def _told(wish: Awaitable[object]) -> str:
    try:
        await wish
    except LadingError as error:
        return error.message
    return "done"


async def _two_stops(world: World, engine: Engine) -> None:
    id = await engine.run(CreateRequest(image="base", command=("serve",), name="web"), WHO)
    grip = Grip(world)
    restart = asyncio.ensure_future(_told(engine.execute(id, Restart(timeout=1), WHO)))
    await asyncio.sleep(0.5)
    stop = asyncio.ensure_future(_told(engine.execute(id, Stop(timeout=2), WHO)))
    assert await restart == "the restart of container web was called off"
    assert await stop == "the kernel did not end the processes in time"
    container = await engine.container(id)
    assert (container.state, dict(container.open)) == (State.RUNNING, {})
    grip.let_go()
    await engine.execute(id, Stop(), WHO)
    assert (await engine.container(id)).state is State.EXITED


def test_a_restart_and_the_stop_that_calls_it_off_both_fail_and_nothing_stays_open(tmp_path: Path) -> None:
    """There is one failure in the log, and the container goes on as running."""
    world = world_with_image(tmp_path)
    assert Morgue().live(world, _two_stops, None, 1.0)
    asyncio.run(check(world))


async def _removed_in_vain(world: World, engine: Engine) -> None:
    id = await engine.run(CreateRequest(image="base", command=("serve",), name="web"), WHO)
    grip = Grip(world)
    stop = asyncio.ensure_future(_told(engine.execute(id, Stop(timeout=5), WHO)))
    await asyncio.sleep(0.5)
    with pytest.raises(KernelError, match="did not end in time"):
        await engine.execute(id, Remove(force=True), WHO)
    await stop
    await asyncio.sleep(30)
    container = await engine.container(id)
    assert (container.state, dict(container.open)) == (State.DEAD, {})
    grip.let_go()
    await engine.execute(id, Remove(force=True), WHO)
    assert (await engine.container(id)).state is State.REMOVED


def test_a_stop_that_a_removal_overtakes_is_settled_and_the_next_removal_works(tmp_path: Path) -> None:
    """Also when the removal has failed first."""
    world = world_with_image(tmp_path)
    assert Morgue().live(world, _removed_in_vain, None, 1.0)
    asyncio.run(check(world))


async def _two_limits(world: World, engine: Engine) -> None:
    id = await engine.run(CreateRequest(image="base", command=("serve",), name="web"), WHO)
    limit = world.runtime.limit

    async def refused(id: str, before: Resources, after: Resources) -> None:
        await asyncio.sleep(1)
        raise KernelError("no")

    world.runtime.limit = refused  # type: ignore[method-assign]
    wishes = [_told(engine.execute(id, Update(limits={"pids_limit": number}), WHO)) for number in (8, 9)]
    assert await asyncio.gather(*wishes) == ["the limits stay as they were: no"] * 2
    world.runtime.limit = limit  # type: ignore[method-assign]
    assert (await engine.container(id)).settled.limits.pids_limit is None


def test_two_changes_of_limits_that_the_kernel_refuses_leave_those_that_it_has(tmp_path: Path) -> None:
    """The second one must not bring back what the first had only wished for."""
    world = world_with_image(tmp_path)
    assert Morgue().live(world, _two_limits, None, 1.0)
    asyncio.run(check(world))


async def _connected_without_names(world: World, engine: Engine) -> None:
    shop = await engine.networks.create(NetworkRequest(name="shop"), WHO)
    id = await engine.run(CreateRequest(image="base", command=("serve",), name="web"), WHO)
    names = world.network.names

    async def refused(zones: Mapping[str, Zone]) -> None:
        raise KernelError("no")

    world.network.names = refused  # type: ignore[method-assign]
    await engine.connect("shop", id, NetworkWish(name="shop"), (), WHO)
    world.network.names = names  # type: ignore[method-assign]
    lease = (await engine.container(id)).lease
    assert lease is not None
    assert lease.on(shop) is not None
    assert set(world.network.attached[id, 1]) == {interface.network for interface in lease.interfaces}
    await engine.execute(id, Rename(name="www"), WHO)
    await asyncio.sleep(1)
    assert shop in world.network.zones


def test_names_that_cannot_be_told_take_no_interface_back(tmp_path: Path) -> None:
    """It is made meanwhile: to call the connect failed would leave an interface, and an address, that the log denies.
    The next change tells all names again."""
    world = world_with_image(tmp_path)
    assert Morgue().live(world, _connected_without_names, None, 1.0)
    asyncio.run(check(world))
