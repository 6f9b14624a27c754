"""What the engine does with volumes: claims keep them, removal says what stays, and a crash is made good."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from adapters.kernel.volumes import VolumeDirectories
from adapters.memory.event_store import MemoryEventStore
from adapters.memory.volumes import MemoryVolumes
from domain import failpoints
from domain.container import Container, State
from domain.errors import Conflict, InUse, InvalidValue, KernelError, NotFound, Refused
from domain.lifecycle.create import Created
from domain.messages import Append, Meta, StreamId
from domain.mounts import Mount
from domain.ports.volumes import VolumeStore
from domain.projections.volumes import Volumes as VolumesTable
from domain.spec import ContainerSpec
from tests.workers.test_images import StoppedClock
from workers.volumes import Volumes

ME = "a" * 64
MOUNTS = (
    Mount(type="volume", source="data", target="/data"),
    Mount(type="volume", source="data", target="/more", read_only=True),
    Mount(type="volume", source="f" * 64, target="/cache", anonymous=True),
    Mount(type="bind", source="/srv", target="/srv"),
)
SPEC = ContainerSpec(image="busybox", image_id="sha256:0", command=("sh",), mounts=MOUNTS)


@dataclass
class World:
    """An engine's volumes, with hands for what others do."""

    store: MemoryEventStore
    contents: MemoryVolumes
    volumes: Volumes

    async def born(self) -> Container:
        """A container that uses volumes: its creation and its claims in one append."""
        claims = await self.volumes.claims(ME, "web", MOUNTS)
        created = Append(StreamId("container", ME), 0, (Created(name="web", spec=SPEC),))
        await self.store.append((created, *claims), Meta())
        return Container(id=ME, state=State.CREATED, name="web", spec=SPEC)

    async def gone(self, container: Container, *, remove: bool) -> None:
        """Its end, as far as volumes are concerned."""
        await self.store.append(await self.volumes.releases(container, remove=remove), Meta())
        await self.volumes.carry_on()

    async def rows(self) -> dict[str, tuple[str, list[str]]]:
        """State and users by name."""
        return {str(row["name"]): (str(row["state"]), list(row["users"])) for row in await self.volumes.list()}  # type: ignore[call-overload]


@pytest.fixture
def world() -> World:
    """Nothing is there yet."""
    store = MemoryEventStore((VolumesTable(),))
    contents = MemoryVolumes()
    return World(store, contents, Volumes(store, store.views, contents, StoppedClock()))


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """No failpoint outlives a test."""
    yield
    failpoints.arm(None)


async def test_a_volume_is_made_once(world: World) -> None:
    """Twice is the same wish; without a name it gets one, and the label that scripts look for."""
    assert await world.volumes.create("data", Meta(), labels={"a": "b"}) == "data"
    assert await world.volumes.create("data", Meta()) == "data"
    assert await world.volumes.create("", Meta()) == "f" * 64
    rows = {str(row["name"]): row["labels"] for row in await world.volumes.list()}
    assert rows == {"data": {"a": "b"}, "f" * 64: {"com.docker.volume.anonymous": ""}}
    assert set(world.contents.sizes) == set(rows)
    with pytest.raises(InvalidValue):
        await world.volumes.create("../etc", Meta())


async def test_a_request_that_is_told_twice_makes_one_volume(world: World) -> None:
    """Its name is chosen once, and told again."""
    ids = iter("ab")
    world.volumes._clock.new_id = lambda: next(ids) * 64  # type: ignore[method-assign]
    meta = Meta(command_id="one")
    assert [await world.volumes.create("", meta) for _ in range(2)] == ["a" * 64] * 2
    assert list(await world.rows()) == ["a" * 64]


async def test_a_container_keeps_its_volumes_until_it_is_gone(world: World) -> None:
    """Those it brought into being go with it if that was asked for; those with a name stay."""
    container = await world.born()
    assert await world.rows() == {"data": ("present", [ME]), "f" * 64: ("present", [ME])}
    assert (await world.volumes.volume("data")).claims[ME].targets == ("/data", "/more")
    with pytest.raises(InUse, match=ME):
        await world.volumes.remove("data", Meta())
    await world.gone(container, remove=True)
    assert await world.rows() == {"data": ("present", [])}
    await world.volumes.remove("data", Meta())
    assert await world.rows() == {}
    with pytest.raises(NotFound):
        await world.volumes.remove("data", Meta())


async def test_without_the_wish_everything_stays(world: World) -> None:
    """rm alone says what it leaves; it deletes no data."""
    await world.gone(await world.born(), remove=False)
    assert await world.rows() == {"data": ("present", []), "f" * 64: ("present", [])}


async def test_who_finds_a_volume_that_goes_away_is_refused(world: World) -> None:
    """The two appends cannot both be stored: whoever comes second starts over, and sees."""
    await world.volumes.create("data", Meta())
    claims = await world.volumes.claims(ME, "web", MOUNTS[:1])
    await world.volumes.remove("data", Meta())
    with pytest.raises(Conflict):
        await world.store.append(claims, Meta())


@pytest.mark.parametrize("start", [False, True])
async def test_what_cannot_be_deleted_is_named_and_tried_again(start: bool, world: World) -> None:
    """By volume rm, or at the next start."""
    await world.volumes.create("data", Meta())
    world.contents.stubborn.add("data")
    with pytest.raises(KernelError, match="busy"):
        await world.volumes.remove("data", Meta())
    assert await world.rows() == {"data": ("broken", [])}
    await world.volumes.recover()
    assert await world.rows() == {"data": ("broken", [])}
    world.contents.stubborn.clear()
    await (world.volumes.recover() if start else world.volumes.remove("data", Meta()))
    assert await world.rows() == {}


@pytest.mark.parametrize("point", ["volumes.before-delete", "volumes.before-removed"])
async def test_a_removal_that_was_interrupted_is_carried_on(world: World, point: str) -> None:
    """At the next start; the volume is gone then, once."""
    await world.volumes.create("data", Meta())
    failpoints.arm(lambda name: _fail(name, point))
    with pytest.raises(_Crash):
        await world.volumes.remove("data", Meta())
    failpoints.arm(None)
    assert await world.rows() == {"data": ("removing", [])}
    with pytest.raises(Refused):
        await world.volumes.create("data", Meta())
    assert await world.volumes.carry_on() == 1
    assert await world.volumes.carry_on() == 0
    assert await world.rows() == {}


async def test_many_who_make_one_volume_at_once_get_the_same(world: World) -> None:
    """One event, one volume."""
    names = await asyncio.gather(*(world.volumes.create("data", Meta()) for _ in range(20)))
    assert set(names) == {"data"}
    assert (await world.volumes.volume("data")).version == 1


async def test_who_goes_away_does_not_stop_a_removal(world: World) -> None:
    """It would be half removed, and of use to nobody, until the engine starts again."""
    await world.volumes.create("data", Meta())
    going, may_go = asyncio.Event(), asyncio.Event()
    delete = world.contents.delete

    async def slow(name: str) -> None:
        going.set()
        await may_go.wait()
        await delete(name)

    world.contents.delete = slow  # type: ignore[method-assign]
    asked = asyncio.create_task(world.volumes.remove("data", Meta()))
    await going.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    may_go.set()
    async with asyncio.timeout(5):
        while await world.rows():
            await asyncio.sleep(0)
    assert await world.store.open_intents() == ()


async def test_a_removal_that_an_error_has_stopped_goes_on_when_it_is_asked_for_again(world: World) -> None:
    """Nobody is at it any more."""
    await world.volumes.create("data", Meta())
    failpoints.arm(lambda name: _fail(name, "volumes.before-removed"))
    with pytest.raises(_Crash):
        await world.volumes.remove("data", Meta())
    failpoints.arm(None)
    await world.volumes.remove("data", Meta())
    assert await world.rows() == {}
    assert await world.store.open_intents() == ()


class _Crash(Exception):
    """Stands for the death of the daemon."""


def _fail(name: str, point: str) -> None:
    if name == point:
        raise _Crash


@pytest.fixture(params=["memory", "disk"])
def contents(request: pytest.FixtureRequest, tmp_path: Path) -> VolumeStore:
    """Both kinds keep the same promises."""
    return MemoryVolumes() if request.param == "memory" else VolumeDirectories(tmp_path / "volumes")


async def test_contents_come_and_go(contents: VolumeStore) -> None:
    """Twice is fine for both, and a name never becomes another path."""
    for _ in range(2):
        await contents.make("data")
    assert contents.mountpoint("data").endswith("/data/_data")
    assert await contents.size("data") == 0
    for _ in range(2):
        await contents.delete("data")
    for wrong in ("..", "a/b", ""):
        with pytest.raises(InvalidValue):
            await contents.make(wrong)


async def test_contents_are_closed_to_others_and_deleted_whole(tmp_path: Path) -> None:
    """Whatever a container has made of them."""
    store = VolumeDirectories(tmp_path / "volumes")
    await store.make("data")
    place = Path(store.mountpoint("data"))
    assert [path.stat().st_mode & 0o777 for path in (place, *place.parents[:2])] == [0o755, 0o700, 0o700]
    deep = place
    for _ in range(20):
        deep /= "x" * 100
        deep.mkdir(mode=0o700)
    deep.chmod(0)
    (place / "link").symlink_to("/etc")
    (place / "file").write_bytes(b"12345")
    assert await store.size("data") == 9  # the link is as long as its name
    await store.delete("data")
    assert not place.parent.exists()
    assert Path("/etc").exists()
