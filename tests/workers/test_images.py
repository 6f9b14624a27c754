"""What the engine does with images: names win, tags move, removal asks the containers, and a crash is made good."""

import asyncio
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.memory.event_store import MemoryEventStore
from adapters.memory.images import MemoryImageStore
from domain import failpoints
from domain.errors import Ambiguous, Conflict, InUse, InvalidValue, NotFound, StorageError
from domain.images.events import (
    ImageRegistered,
    Pulled,
    PullFailed,
    PullRequested,
    Pushed,
    PushFailed,
    PushRequested,
)
from domain.images.layer import digest_of
from domain.images.model import Image
from domain.images.progress import Progress
from domain.images.reference import parse
from domain.images.registries import Registries
from domain.lifecycle.commit import Committed
from domain.lifecycle.create import Created
from domain.lifecycle.remove import Removed as ContainerRemoved
from domain.lifecycle.remove import RemoveRequested
from domain.lifecycle.start import Started, StartRequested
from domain.messages import Append, Event, Meta, StreamId
from domain.ports.images import Fetched
from domain.projections.build_cache import BuildCache
from domain.projections.containers import Containers
from domain.projections.images import Images as ImagesTable
from domain.projections.refs import Refs
from domain.spec import ContainerSpec
from workers.images import Images
from workers.settle import Settler
from workers.transfers import Transfers
from workers.wire import Outcome, Work


class StoppedClock:
    """Time that stands still."""

    def now(self) -> int:
        """A moment."""
        return 1_700_000_000_000_000_000

    async def sleep(self, seconds: float) -> None:
        """No waiting."""

    def new_id(self) -> str:
        """Always the same."""
        return "f" * 64

    def choice(self, bound: int) -> int:
        """The first."""
        return 0


@dataclass
class World:
    """An engine's images, with hands for what others do."""

    place: Path
    store: MemoryEventStore
    contents: MemoryImageStore
    images: Images

    def restarted(self) -> "World":
        """The same after the daemon has died: leases are gone."""
        self.contents._given.clear()
        return World(
            self.place, self.store, self.contents, Images(self.store, self.store.views, self.contents, StoppedClock())
        )

    async def imported(self, text: str, reference: str = "") -> Image:
        """An image whose one layer holds `text`."""
        (self.place / "rootfs.tar").write_bytes(layer(text))
        return await self.images.import_(self.place / "rootfs.tar", reference=reference)

    async def loaded(self, layers: list[str], *tags: str, **config: Any) -> str:
        """Load an image from an archive; its id."""
        data = [layer(text) for text in layers]
        document = json.dumps(
            {
                "os": "linux",
                "config": config,
                "rootfs": {"type": "layers", "diff_ids": [digest_of(one) for one in data]},
            }
        ).encode()
        names = {f"{number}.tar": one for number, one in enumerate(data)}
        manifest = json.dumps([{"Config": "c.json", "RepoTags": tags, "Layers": list(names)}]).encode()
        (self.place / "saved.tar").write_bytes(tar({"manifest.json": manifest, "c.json": document, **names}))
        self.answer = await self.images.load(self.place / "saved.tar")
        return self.answer.images[0].image_id

    async def container(self, image_id: str, letter: str = "c", *, running: bool = False) -> str:
        """A container of the image."""
        id = letter * 64
        created = Created(name=f"name-{letter}", spec=ContainerSpec(image="x", image_id=image_id, command=("sh",)))
        events: list[Event] = [created]
        if running:
            events += [StartRequested(attempt=1), Started(attempt=1, pid=7, start_time=8, cgroup="", boot="")]
        await self.store.append([Append(StreamId("container", id), 0, tuple(events))], Meta())
        return id

    async def drop(self, id: str) -> None:
        """Remove the container."""
        stream = StreamId("container", id)
        version = len(await self.store.load(stream))
        await self.store.append([Append(stream, version, (RemoveRequested(), ContainerRemoved()))], Meta())

    async def references(self) -> dict[str, str]:
        """What names what."""
        return {str(row["reference"]): str(row["image_id"]) for row in await self.store.views.select("refs")}

    async def states(self) -> dict[str, str]:
        """Where the images stand."""
        return {str(row["id"]): str(row["state"]) for row in await self.store.views.select("images")}


def tar(files: dict[str, bytes]) -> bytes:
    """An archive of files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def layer(text: str) -> bytes:
    """A layer with one file."""
    return tar({"file": text.encode()})


@pytest.fixture
def world(tmp_path: Path) -> World:
    """No images yet."""
    store = MemoryEventStore((Containers(), ImagesTable(), Refs(), BuildCache()))
    contents = MemoryImageStore(now=StoppedClock().now)
    return World(tmp_path, store, contents, Images(store, store.views, contents, StoppedClock()))


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    """No failpoint outlives its test."""
    yield
    failpoints.arm(None)


async def test_an_imported_image_is_found_by_name_id_and_prefix(world: World) -> None:
    """With or without the algorithm, the default tag, the default host."""
    image = await world.imported("a", "app")
    for name in (
        "app",
        "app:latest",
        "docker.io/library/app",
        "library/app:latest",
        image.id,
        image.id[7:],
        image.id[:20],
        image.id[7:9],
    ):
        assert (await world.images.resolve(name)).id == image.id


async def test_what_is_not_there_is_named_with_its_default_tag(world: World) -> None:
    """Scripts match the text."""
    for name, text in (
        ("x", "No such image: x:latest"),
        ("x:y", "No such image: x:y"),
        ("a/b", "No such image: a/b:latest"),
        ("sha256:abc", "No such image: sha256:abc"),
        ("f" * 64, "No such image: " + "f" * 64),
    ):
        with pytest.raises(NotFound) as caught:
            await world.images.resolve(name)
        assert caught.value.message == text
    with pytest.raises(InvalidValue, match="must be lowercase"):
        await world.images.resolve("UPPER/x")


async def test_names_win_over_ids(world: World) -> None:
    """An image may be called like the beginning of another one's id."""
    one, two = await world.imported("a"), await world.imported("b")
    await world.images.tag(one.id, two.id[7:15])
    assert (await world.images.resolve(two.id[7:15])).id == one.id
    assert (await world.images.resolve(two.id[7:16])).id == two.id


async def test_a_prefix_that_fits_two_images_is_ambiguous(world: World) -> None:
    """Nobody can know which one is meant."""
    first: dict[str, int] = {}
    for number in range(17):
        digit = (await world.imported(str(number))).id[7]
        first[digit] = first.get(digit, 0) + 1
    digit = max(first, key=first.__getitem__)
    with pytest.raises(Ambiguous, match=f"multiple IDs found with provided prefix: {digit}"):
        await world.images.resolve(digit)


async def test_a_tag_moves_silently_and_its_history_is_kept(world: World) -> None:
    """The old image stays, without the name; the log knows what the name meant before."""
    one, two = await world.imported("a", "app"), await world.imported("b", "other")
    await world.images.tag("other", "app")
    await world.images.tag("other", "app:latest")
    assert await world.references() == {"app:latest": two.id, "other:latest": two.id}
    events = [record.event for record in await world.store.load(StreamId("ref", "app:latest"))]
    assert [(event.image_id, event.previous) for event in events] == [(one.id, ""), (two.id, one.id)]  # type: ignore[attr-defined]
    for target in ("UPPER", "x@sha256:" + "0" * 64, "a..b"):
        with pytest.raises(InvalidValue):
            await world.images.tag("other", target)


async def test_a_load_registers_names_and_says_whom_it_displaced(world: World) -> None:
    """Loading the same again changes nothing."""
    old = await world.loaded(["a"], "app:v1")
    assert world.answer.lines() == ("Loaded image: app:v1",)
    head = await world.store.head()
    assert await world.loaded(["a"], "app:v1") == old
    assert await world.store.head() == head
    new = await world.loaded(["a", "b"], "app:v1", "more:v2")
    assert world.answer.lines() == (
        f"The image app:v1 already exists, renaming the old one with ID {old} to empty string",
        "Loaded image: app:v1",
        "Loaded image: more:v2",
    )
    assert await world.references() == {"app:v1": new, "more:v2": new}
    nameless = await world.loaded(["c"])
    assert world.answer.lines() == (f"Loaded image ID: {nameless}",)


async def test_the_list_has_one_row_per_name(world: World) -> None:
    """Newest first; an image without names has one row, too."""
    named = await world.loaded(["a"], "app:v1", "host.io/app:v2", Labels={"a": "b"})
    nameless = await world.imported("b")
    rows = await world.images.list()
    assert [(row.image_id, row.repository, row.tag) for row in rows] == [
        (nameless.id, "", ""),
        (named, "app", "v1"),
        (named, "host.io/app", "v2"),
    ]
    assert rows[1].config["config"] == {"Labels": {"a": "b"}}


async def test_removing_one_of_several_names_only_untags(world: World) -> None:
    """The last one takes the image with it, and its layers, top first."""
    id = await world.loaded(["a", "b"], "app:v1", "app:v2")
    image = await world.images.resolve(id)
    assert (await world.images.remove("app:v1")).lines() == ("Untagged: app:v1",)
    removed = await world.images.remove("app:v2")
    assert removed.lines() == (
        "Untagged: app:v2",
        f"Deleted: {id}",
        *(f"Deleted: {one.chain_id}" for one in reversed(image.layers)),
    )
    assert await world.states() == {}
    assert await world.store.open_intents() == ()
    with pytest.raises(StorageError):
        world.contents.layer_paths(image)
    assert await world.loaded(["a", "b"], "app:v1") == id, "it can come back"


async def test_layers_of_other_images_are_not_deleted(world: World) -> None:
    """Only what is really deleted is listed."""
    one, two = await world.loaded(["a", "b"], "one:1"), await world.loaded(["a", "c"], "two:1")
    top = (await world.images.resolve(one)).layers[-1].chain_id
    assert (await world.images.remove("one:1")).deleted == (one, top)
    await world.contents.verify(await world.images.resolve(two))


async def test_an_id_with_names_in_several_repositories_needs_force(world: World) -> None:
    """All of them would be gone."""
    id = await world.loaded(["a"], "app:v1", "other:v1")
    with pytest.raises(InUse, match=r"must be forced\) - image is referenced in multiple repositories"):
        await world.images.remove(id)
    removed = await world.images.remove(id, force=True)
    assert removed.untagged == ("app:v1", "other:v1")
    assert removed.deleted[0] == id


async def test_a_stopped_container_keeps_its_image_unless_forced(world: World) -> None:
    """By name and by id, each with its text; with force the layers stay as long as the container."""
    id = await world.loaded(["a"], "app:v1")
    image = await world.images.resolve(id)
    container = await world.container(id)
    with pytest.raises(
        InUse, match=r'unable to remove repository reference "app:v1" \(must force\) - container cccccccccccc'
    ):
        await world.images.remove("app:v1")
    with pytest.raises(InUse, match=r"\(must be forced\) - image is being used by stopped container cccccccccccc"):
        await world.images.remove(id)
    removed = await world.images.remove("app:v1", force=True)
    assert removed.lines() == ("Untagged: app:v1", f"Deleted: {id}")
    with pytest.raises(NotFound):
        await world.images.resolve(id)
    assert await world.images.list() == ()
    await world.images.sweep()
    assert await world.images.image(id) == image
    world.contents.layer_paths(image)
    await world.drop(container)
    assert await world.images.sweep() > 0
    assert await world.states() == {}


async def test_a_running_container_keeps_its_image_whatever_is_asked(world: World) -> None:
    """Its name can be forced off."""
    id = await world.loaded(["a"], "app:v1")
    await world.container(id, running=True)
    with pytest.raises(InUse, match=r"\(cannot be forced\) - image is being used by running container"):
        await world.images.remove(id, force=True)
    assert (await world.images.remove("app:v1", force=True)).lines() == ("Untagged: app:v1",)
    assert await world.states() == {id: "present"}


async def test_an_image_with_children_cannot_be_deleted_and_goes_with_its_last_child(world: World) -> None:
    """A nameless parent is only there for them; `prune` off keeps it."""
    parent = await world.imported("a")
    child = await commit(world, parent, "child:v1")
    with pytest.raises(InUse, match=r"cannot be forced\) - image has dependent child images"):
        await world.images.remove(parent.id, force=True)
    assert (await world.images.remove("child:v1", prune=False)).deleted[0] == child.id
    assert await world.states() == {parent.id: "present"}
    child = await commit(world, parent, "child:v1")
    assert {parent.id, child.id} <= set((await world.images.remove("child:v1")).deleted)
    assert await world.states() == {}


async def commit(world: World, parent: Image, reference: str) -> Image:
    """A commit, recorded as its worker does."""
    upper = world.place / "upper"
    upper.mkdir(exist_ok=True)
    (upper / "new").write_text("new")
    spec = ContainerSpec(
        image="x",
        image_id=parent.id,
        entrypoint=("e",),
        command=("c",),
        env_names=("A",),
        user="7",
        workdir="/w",
        labels={"own": "1"},
    )
    image = await world.images.commit(upper, spec, ["A=b"], author="me", message="m", changes=["EXPOSE 80"])
    async with world.images.guard:
        batch = await world.images.record_committed(image, reference=reference, parent=parent.id)
        await world.store.append(batch, Meta())
    return image


async def test_a_commit_holds_the_containers_settings_and_the_changes(world: World) -> None:
    """Over those of its image."""
    image = await commit(world, await world.imported("a"), "")
    assert image.config["config"] == {
        "Cmd": ["c"],
        "Entrypoint": ["e"],
        "Env": ["A=b"],
        "ExposedPorts": {"80/tcp": {}},
        "Labels": {"own": "1"},
        "User": "7",
        "WorkingDir": "/w",
    }
    events = [record.event for record in await world.store.load(StreamId("image", image.id))]
    assert isinstance(events[0], ImageRegistered)
    assert events[0].how == "committed"


async def test_recording_a_commit_twice_adds_nothing(world: World) -> None:
    """The same content and clock is the same image."""
    parent = await world.imported("a")
    image = await commit(world, parent, "x:y")
    async with world.images.guard:
        assert await world.images.record_committed(image, reference="x:y", parent=parent.id) == ()


async def test_a_commit_survives_a_sweep_before_it_is_recorded_and_can_be_removed_after(world: World) -> None:
    """The lease ends when the log knows the image."""
    parent = await world.imported("a")
    (world.place / "upper").mkdir()
    image = await world.images.commit(
        world.place / "upper", ContainerSpec(image="x", image_id=parent.id, command=("c",)), []
    )
    await world.images.sweep()
    await world.contents.verify(image)
    async with world.images.guard:
        await world.store.append(await world.images.record_committed(image, parent=parent.id), Meta())
    await world.images.remove(image.id, prune=False)
    with pytest.raises(StorageError):
        await world.contents.verify(image)


class LateMover:
    """One whose container has an outcome of that commit already."""

    def __init__(self, parent: str) -> None:
        self.settled = ContainerSpec(image="x", image_id=parent, command=("c",))

    async def container(self, id: str) -> "LateMover":
        """Itself is all that is asked for."""
        return self

    async def settle(self, id: str, intent: int, outcome: Event, *, more: Sequence[Append] = ()) -> None:
        """It comes too late."""


async def test_a_commit_whose_outcome_comes_too_late_leaves_nothing_in_the_store(world: World) -> None:
    """Work may be told twice, and then there are two images: one of them is in no log, and never will be."""
    parent = await world.imported("a")
    (world.place / "upper").mkdir()
    mover = LateMover(parent.id)
    image = await world.images.commit(world.place / "upper", mover.settled, [])
    settler = Settler(cast(Any, mover), world.images, cast(Any, None), lambda: None)
    await settler.settle(Work(1, "c" * 64, "commit-requested.v1"), Outcome(Committed(image_id=image.id), image))
    await world.images.sweep()
    with pytest.raises(StorageError):
        await world.contents.verify(image)
    await world.contents.verify(parent)


@pytest.mark.parametrize("point", ["images.before-sweep", "images.before-removed"])
async def test_a_removal_that_a_crash_has_interrupted_goes_on_at_the_next_start(point: str, world: World) -> None:
    """The name is gone at once, the rest follows."""
    id = await world.loaded(["a"], "app:v1")
    failpoints.arm(lambda name: _crash() if name == point else None)
    with pytest.raises(RuntimeError, match="crash"):
        await world.images.remove("app:v1")
    failpoints.arm(None)
    after = world.restarted()
    assert await after.states() == {id: "removing"}
    with pytest.raises(NotFound):
        await after.images.resolve(id)
    await after.images.recover()
    assert await after.states() == {}
    assert await after.store.open_intents() == ()
    assert await after.loaded(["a"], "app:v1") == id


def _crash() -> None:
    raise RuntimeError("crash")


async def test_contents_that_were_never_recorded_are_swept_at_the_next_start(world: World) -> None:
    """A crash between the store and the log."""
    failpoints.arm(lambda name: _crash() if name == "images.before-record" else None)
    with pytest.raises(RuntimeError, match="crash"):
        await world.imported("aaaa", "app")
    failpoints.arm(None)
    assert await world.restarted().images.recover() == 4


async def test_a_load_during_a_removal_waits_and_brings_the_image_back(world: World) -> None:
    """Whatever the order, what was registered is complete."""
    id = await world.loaded(["a"], "app:v1")
    removed, _ = await asyncio.gather(world.images.remove("app:v1"), world.loaded(["a"], "app:v1"))
    assert removed.untagged == ("app:v1",)
    await world.contents.verify(await world.images.resolve("app:v1"))
    assert await world.states() == {id: "present"}


async def test_whoever_holds_the_guard_sees_no_removal_begin(world: World) -> None:
    """So a container is never created from an image that goes."""
    await world.loaded(["a"], "app:v1")
    async with world.images.guard:
        task = asyncio.create_task(world.images.remove("app:v1"))
        for _ in range(20):
            await asyncio.sleep(0)
        id = (await world.images.resolve("app:v1")).id
        await world.container(id)
    with pytest.raises(InUse):
        await task


async def test_a_repeated_request_is_answered_and_not_done_again(world: World) -> None:
    """A client that lost the answer asks once more with the same identity."""
    (world.place / "rootfs.tar").write_bytes(layer("x"))
    meta = Meta(command_id="one")
    image = await world.images.import_(world.place / "rootfs.tar", reference="app", meta=meta)
    (world.place / "rootfs.tar").write_bytes(b"")
    assert await world.images.import_(world.place / "rootfs.tar", reference="app", meta=meta) == image
    meta = Meta(command_id="two")
    removed = await world.images.remove("app", meta=meta)
    assert await world.images.remove("app", meta=meta) == removed
    meta = Meta(command_id="three")
    await world.imported("y", "z")
    await world.images.tag("z", "w", meta=meta)
    await world.images.remove("w")
    await world.images.tag("z", "w", meta=meta)
    assert "w:latest" not in await world.references()


async def test_a_faster_writer_makes_us_decide_again(world: World) -> None:
    """The stream was longer than we had read."""
    image = await world.imported("a", "app")
    append, tries = world.store.append, []

    async def slow(*args: Any, **kwargs: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise Conflict("somebody was faster")
        return await append(*args, **kwargs)

    world.store.append = slow  # type: ignore[method-assign]
    await world.images.tag(image.id, "more")
    assert (await world.images.resolve("more")).id == image.id


# Registries and space


async def pulled(world: World, image: Image, key: str, digest: str) -> str:
    """As a pull records it; the id of what the reference named before."""
    request = await world.images.note(key, PullRequested(), Meta())
    event = Pulled(image_id=image.id, digest=digest, received=5)
    return await world.images.record_pulled(image, key, event, Meta(cause=request.position), source=key)


async def test_a_pull_moves_its_reference_and_leaves_the_digest_of_what_was_there(world: World) -> None:
    """An image that lost its tag can still be asked for by the bytes that it was."""
    one, two = await world.imported("one"), await world.imported("two")
    assert await pulled(world, one, "app:v1", f"sha256:{'1' * 64}") == ""
    assert await pulled(world, two, "app:v1", f"sha256:{'2' * 64}") == one.id
    assert await pulled(world, two, "app:v1", f"sha256:{'2' * 64}") == two.id
    assert await world.references() == {
        "app:v1": two.id, f"app@sha256:{'1' * 64}": one.id, f"app@sha256:{'2' * 64}": two.id,
    }  # fmt: skip
    assert await world.store.open_intents() == ()


async def test_a_pull_by_digest_names_nothing_else(world: World) -> None:
    """The reference is the digest."""
    one, key = await world.imported("one"), f"app@sha256:{'1' * 64}"
    await pulled(world, one, key, f"sha256:{'1' * 64}")
    assert await world.references() == {key: one.id}


async def test_a_pull_and_a_push_that_a_crash_has_broken_off_have_failed(world: World) -> None:
    """Nobody waits for them any more; the names are what they were."""
    one = await world.imported("one", "app:v1")
    await world.images.note("app:v1", PullRequested(), Meta())
    await world.images.note("app:v1", PushRequested(image_id=one.id), Meta())
    again = world.restarted()
    await again.images.recover()
    assert await again.store.open_intents() == ()
    events = [record.event for record in await again.store.load(StreamId("ref", "app:v1"))]
    assert [type(event) for event in events[-2:]] == [PullFailed, PushFailed]
    assert await again.references() == {"app:v1": one.id}


class Waiting(MemoryImageStore):
    """What the registry has is there at once."""

    found: Image

    async def pull(self, connect: object, which: str, **_: object) -> Fetched:
        """The image, under a digest."""
        return Fetched(self.found, f"sha256:{'1' * 64}")

    def settle(self, name: str) -> None:
        """Nothing to forget."""


@pytest.mark.parametrize(("appends", "ending"), [(1, PullFailed), (2, Pulled)])
async def test_a_pull_has_one_outcome_whenever_who_asked_goes_away(appends: int, ending: type, world: World) -> None:
    """Also while the wish, or the good end of it, is on its way to the disk: what was ordered is stored."""
    contents = Waiting()
    contents.found = await world.imported("one")
    ordered, append, done = asyncio.Event(), world.store.append, []

    async def slow(*args: Any, **kwargs: Any) -> Any:
        stored = await append(*args, **kwargs)
        done.append(1)
        if len(done) == appends:
            ordered.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return stored

    world.store.append = slow  # type: ignore[method-assign]
    transfers = Transfers(world.images, contents, None)  # type: ignore[arg-type]
    asked = asyncio.create_task(transfers.pull(parse("app:v1"), {}, Progress(), Meta()))
    await ordered.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    events = [record.event for record in await world.store.load(StreamId("ref", "app:v1"))]
    outcomes = [type(event) for event in events if isinstance(event, Pulled | PullFailed)]
    assert outcomes == [ending]
    assert await world.store.open_intents() == ()


async def test_an_image_whose_removal_an_error_has_stopped_can_be_brought_back(world: World) -> None:
    """What was begun is ended first; nobody has to start the engine anew for that."""
    id = await world.loaded(["a"], "app:v1")
    failpoints.arm(lambda name: _crash() if name == "images.before-removed" else None)
    with pytest.raises(RuntimeError, match="crash"):
        await world.images.remove("app:v1")
    failpoints.arm(None)
    assert await world.loaded(["a"], "app:v1") == id
    await world.contents.verify(await world.images.resolve("app:v1"))
    assert await world.store.open_intents() == ()


async def test_a_push_makes_the_image_known_by_its_digest(world: World) -> None:
    """As the registry knows it."""
    one = await world.imported("one", "app:v1")
    event = Pushed(image_id=one.id, digest=f"sha256:{'3' * 64}")
    await world.images.record_pushed("app:v1", event, one.id, event.digest, Meta())
    assert await world.images.known_as(one.id) == ("app:v1", f"app@sha256:{'3' * 64}")


async def test_short_names_and_the_default_registry_find_what_is_here(world: World) -> None:
    """So that the next run needs no pull."""
    one = await world.imported("one", "reg.example.com/team/tools:latest")
    own = Registries(short_names={"tools": "reg.example.com/team/tools"})
    images = Images(world.store, world.store.views, world.contents, StoppedClock(), own)
    assert (await images.found("tools")) == (one, "reg.example.com/team/tools:latest")
    with pytest.raises(NotFound):
        await world.images.found("tools")


async def test_unused_are_images_without_containers_children_first(world: World) -> None:
    """Without a tag, or all of them; a parent goes after what was made from it."""
    named, nameless, held = [await world.imported(text) for text in ("one", "two", "three")]
    await world.images.tag(named.id, "app:v1")
    await world.container(held.id)

    def every(image: Image) -> bool:
        return True

    assert await world.images.unused(every, everything=False) == (nameless.id,)
    assert set(await world.images.unused(every, everything=True)) == {named.id, nameless.id}
    assert held.id in await world.images.unused(every, everything=True, gone=["c" * 64])
    assert await world.images.unused(lambda image: image.id != named.id, everything=True) == (nameless.id,)


async def test_a_prune_frees_what_it_said_it_would(world: World) -> None:
    """And passes over what somebody uses by now."""
    one, two = await world.imported("first", "app:v1"), await world.imported("second one")
    both = await world.images.unused(lambda image: True, everything=True)
    said = await world.images.would_free(both)
    assert len(await world.images.list()) == 2
    removed, freed = await world.images.prune(both, Meta())
    assert (freed, removed.untagged) == (said, ("app:v1",))
    assert {one.id, two.id} <= set(removed.deleted)
    three = await world.imported("third", "app:v3")
    await world.container(three.id, running=True)
    assert (await world.images.prune([three.id], Meta()))[0].deleted == ()
    assert len(await world.images.list()) == 1


async def test_what_a_removal_would_do_is_what_it_does(world: World) -> None:
    """Also what it refuses."""
    id = await world.loaded(["one"], "app:v1", "app:v2")
    assert (await world.images.would_remove("app:v1")).lines() == ("Untagged: app:v1",)
    with pytest.raises(InUse):
        await world.images.would_remove(id)
    said = await world.images.would_remove(id, force=True)
    assert len(await world.references()) == 2
    assert await world.images.remove(id, force=True) == said


async def test_nothing_in_a_store_is_unknown(world: World) -> None:
    """Until something is lost track of."""
    await world.imported("one", "app:v1")
    found = await world.images.inventory()
    assert (found["layers"], found["unknown"]) == (3, 0)
    assert await world.images.check() == []
