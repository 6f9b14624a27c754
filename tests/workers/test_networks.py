"""What the engine does with networks: kernel and log agree, whatever fails in between."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from adapters.memory.event_store import MemoryEventStore
from adapters.memory.network import MemoryNetwork
from domain import failpoints
from domain.catalogue import projections
from domain.errors import Ambiguous, InUse, KernelError, NameTaken, NotFound, StorageError
from domain.lifecycle.create import Created
from domain.lifecycle.network import NetworkGranted
from domain.lifecycle.start import Started, StartRequested
from domain.messages import Append, Meta, StreamId
from domain.network.setup import Bridge
from domain.network.wishes import Attachment, Interface, Networking
from domain.ports.network import NetworkDriver
from domain.spec import ContainerSpec
from tests.workers.test_images import StoppedClock
from workers.mover import Caller, Mover, Origin
from workers.networks import Networks
from workers.requests import NetworkRequest


class Crash(Exception):
    """The daemon has died."""


@contextmanager
def crash_at(point: str) -> Iterator[None]:
    """The daemon dies there."""

    def act(name: str) -> None:
        if name == point:
            raise Crash

    failpoints.arm(act)
    try:
        yield
    finally:
        failpoints.arm(None)


class Clock(StoppedClock):
    """Its ids count upwards."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)

    def new_id(self) -> str:
        """The next one."""
        return f"{next(self._ids):064x}"


class Kernel(MemoryNetwork):
    """One that can be told to fail; `asked` counts who reached for it."""

    failing = False
    asked = 0
    cleaned = 0

    async def add_bridge(self, bridge: Bridge) -> None:
        """Or not."""
        if self.failing:
            raise KernelError("no bridge today")
        await super().add_bridge(bridge)

    async def remove_bridge(self, id: str) -> None:
        """Or not."""
        if self.failing:
            raise KernelError("the bridge does not go")
        await super().remove_bridge(id)

    async def clean(self) -> None:
        """Count it."""
        self.cleaned += 1
        await super().clean()


@dataclass
class World:
    """Log and kernel, which outlive the engine's part."""

    store: MemoryEventStore = field(default_factory=lambda: MemoryEventStore(projections()))
    kernel: Kernel = field(default_factory=Kernel)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.networks = self.begun()

    def begun(self) -> Networks:
        """The engine's part, as a new daemon has it."""
        mover = Mover(self.store, self.clock, Origin(version="0"))
        return Networks(self.store, self.store.views, self.reach, self.clock, mover)

    async def reach(self) -> NetworkDriver:
        """The kernel."""
        self.kernel.asked += 1
        return self.kernel

    async def create(self, name: str, who: Caller | None = None, **wishes: object) -> str:
        """A network; its id."""
        request = NetworkRequest.model_validate({"name": name, **wishes})
        return await self.networks.create(request, who or Caller())

    async def names(self) -> list[str]:
        """Of all networks."""
        return [known.name for known in await self.networks.all()]


@pytest.fixture
def world() -> World:
    """Nothing is there yet."""
    return World()


async def test_every_host_has_three_networks(world: World) -> None:
    """They are made once, and stay what they are for later daemons."""
    first = await world.networks.all()
    assert [known.name for known in first] == ["bridge", "host", "none"]
    assert list(await world.begun().all()) == list(first)


async def test_a_daemon_without_networks_needs_no_driver(world: World) -> None:
    """Who only runs containers without one is spared its process."""
    await world.networks.begin()
    assert world.kernel.asked == 0


async def test_a_network_is_in_the_kernel_and_in_the_log(world: World) -> None:
    """With the same id, found by id, name and beginning of the id."""
    id = await world.create("shop")
    assert world.kernel.bridges[id].addresses == ("10.213.0.1/24",)
    assert [(await world.networks.find(name)).id for name in (id, "shop")] == [id, id]
    with pytest.raises(Ambiguous):
        await world.networks.find("000")
    with pytest.raises(NotFound, match="network nothing not found"):
        await world.networks.find("nothing")


async def test_many_at_once_get_a_subnet_each(world: World) -> None:
    """Two networks with one subnet could never be told apart."""
    ids = await asyncio.gather(*(world.create(f"n{number}") for number in range(20)))
    assert len({world.kernel.bridges[id].addresses for id in ids}) == 20


async def test_a_name_is_given_once(world: World) -> None:
    """And the second one leaves nothing behind."""
    await world.create("shop")
    with pytest.raises(NameTaken, match="network with name shop already exists"):
        await world.create("shop")
    assert len(world.kernel.bridges) == 1


async def test_a_request_that_is_told_twice_does_the_thing_once(world: World) -> None:
    """The answer of the first time is given again."""
    who = Caller(command_id="7c")
    assert await world.create("shop", who) == await world.create("shop", who)
    removal = Caller(command_id="8c")
    assert [await world.networks.remove("shop", removal) for _ in range(2)] == ["shop", "shop"]


async def test_what_the_kernel_refuses_is_not_recorded(world: World) -> None:
    """The name is free, and the next try finds it so."""
    await world.names()
    world.kernel.failing = True
    with pytest.raises(KernelError):
        await world.create("shop")
    world.kernel.failing = False
    await world.create("shop")
    assert "shop" in await world.names()


async def test_what_a_crash_leaves_in_the_kernel_is_taken_away(world: World) -> None:
    """Made and not recorded: nobody knows of it, so it goes as soon as the driver is needed again."""
    await world.create("vault")
    with crash_at("networks.before-record"), pytest.raises(Crash):
        await world.create("shop")
    assert len(world.kernel.bridges) == 2
    await world.begun().begin()
    assert len(world.kernel.bridges) == 1


async def test_a_removal_takes_the_network_out_of_kernel_and_rows(world: World) -> None:
    """With the last network nothing of ours stays at all."""
    await world.create("shop")
    await world.create("vault")
    await world.networks.remove("shop", Caller())
    assert await world.names() == ["bridge", "host", "none", "vault"]
    assert (len(world.kernel.bridges), world.kernel.cleaned) == (1, 0)
    await world.networks.remove("vault", Caller())
    assert (len(world.kernel.bridges), world.kernel.cleaned) == (0, 1)


async def test_a_removal_that_fails_can_be_repeated(world: World) -> None:
    """What could not be taken away is told and remembered."""
    await world.create("shop")
    world.kernel.failing = True
    with pytest.raises(KernelError, match="does not go"):
        await world.networks.remove("shop", Caller())
    assert (await world.networks.find("shop")).state == "stuck"
    world.kernel.failing = False
    await world.networks.remove("shop", Caller())
    assert "shop" not in await world.names()


async def test_a_removal_that_a_crash_interrupts_is_ended_at_the_next_start(world: World) -> None:
    """The wish is in the log."""
    await world.create("shop")
    with crash_at("networks.before-removal"), pytest.raises(Crash):
        await world.networks.remove("shop", Caller())
    await world.begun().begin()
    assert "shop" not in await world.names()
    assert world.kernel.bridges == {}
    assert not await world.store.open_intents()


async def test_who_goes_away_leaves_no_network_half_made_or_half_removed(world: World) -> None:
    """A bridge that no log knows would keep its subnet from everybody; a network that is being removed, its name."""
    add, remove = world.kernel.add_bridge, world.kernel.remove_bridge
    at_it = asyncio.Event()

    async def slow_add(bridge: Bridge) -> None:
        await add(bridge)
        at_it.set()
        await asyncio.sleep(0.01)

    async def slow_remove(id: str) -> None:
        at_it.set()
        await asyncio.sleep(0.01)
        await remove(id)

    world.kernel.add_bridge, world.kernel.remove_bridge = slow_add, slow_remove  # type: ignore[method-assign]
    for make, left in ((True, 1), (False, 0)):
        at_it.clear()
        work = world.create("shop") if make else world.networks.remove("shop", Caller())
        asked = asyncio.ensure_future(work)
        await at_it.wait()
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        async with world.networks.guard:
            assert len([name for name in await world.names() if name == "shop"]) == left
            assert len(world.kernel.bridges) == left
        assert await world.store.open_intents() == ()


async def test_a_removal_that_an_error_has_stopped_goes_on_when_it_is_asked_for_again(world: World) -> None:
    """Nobody is at it any more."""
    await world.create("shop")
    with crash_at("networks.before-removal"), pytest.raises(Crash):
        await world.networks.remove("shop", Caller())
    assert await world.networks.remove("shop", Caller()) == "shop"
    assert "shop" not in await world.names()
    assert await world.store.open_intents() == ()


async def test_prune_takes_what_no_container_is_to_be_on(world: World) -> None:
    """A stopped container finds its network again; those of the host stay in any case."""
    await world.create("shop")
    await world.create("vault")
    await container(world, "shop", runs=False)
    ids = [known.id for known in await world.networks.all()]
    assert await world.networks.prune(ids, Caller()) == ["vault"]
    assert "shop" in await world.names()


async def test_a_network_with_live_containers_stays(world: World) -> None:
    """Their names are told."""
    await world.create("shop")
    await container(world, "shop", runs=True)
    with pytest.raises(InUse, match="1 container: web"):
        await world.networks.remove("shop", Caller())


async def test_a_kernel_that_does_not_agree_keeps_no_daemon_from_starting(world: World) -> None:
    """Containers without a network of their own are none of its business."""
    await world.create("shop")
    later = world.begun()

    async def away() -> NetworkDriver:
        raise StorageError("no network today")

    later._reach = away
    await later.begin()


async def container(world: World, network: str, *, runs: bool) -> None:
    """One that is to be on a network."""
    known = await world.networks.find(network)
    wish = Attachment(network=known.name, id=known.id)
    spec = ContainerSpec(image="box", image_id="sha256:a", networking=Networking(attachments=(wish,)))
    interface = Interface(network=known.id, network_name=known.name, link="lv1", name="eth0", mac="02:1d:00:00:00:01",
                          addresses=("10.213.0.2/24",))
    granted = NetworkGranted(attempt=1, interfaces=(interface,))
    started = (StartRequested(attempt=1), granted, Started(attempt=1, pid=1, start_time=1)) if runs else ()
    stream = StreamId("container", "c" * 64)
    await world.store.append((Append(stream, 0, (Created(name="web", spec=spec), *started)),), Meta())
