"""What is written down of builds, whoever goes away; and what they use stays while they use it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters.images.store import LocalImageStore
from adapters.memory.event_store import MemoryEventStore
from domain.build.events import BuildCancelled, BuildFailed, BuildFinished, BuildRequested, StepStarted
from domain.build.streams import fold
from domain.catalogue import projections
from domain.errors import StorageError
from domain.images.authoring import config_bytes
from domain.messages import Append, Event, Meta, Recorded, StreamId
from tests.workers.test_images import StoppedClock, layer
from workers.build.ledger import Ledger
from workers.build.mounts import Caches

ME = "b" * 64
REQUESTED = BuildRequested(dockerfile="Dockerfile", digest="sha256:0", steps=2)
STARTED = StepStarted(number=1, stage="0", text="RUN true", key="k")


class Slow(MemoryEventStore):
    """A disk that takes its time, and may be full."""

    def __init__(self) -> None:
        super().__init__(projections())
        self.ordered = asyncio.Event()
        self.full = False

    async def append(self, batch: Sequence[Append], meta: Meta, *, reply: str | None = None) -> Sequence[Recorded]:
        """As the real one: what was ordered is stored, whether somebody waits for that or not."""
        if self.full:
            raise StorageError("the disk is full")
        stored = await super().append(batch, meta, reply=reply)
        self.ordered.set()
        for _ in range(3):
            await asyncio.sleep(0)
        return stored

    async def told(self) -> list[type[Event]]:
        """The story of the build, which can be folded."""
        records = await self.load(StreamId("build", ME))
        fold(ME, records)
        return [type(record.event) for record in records]


@pytest.mark.parametrize(("event", "ending"), [
    (STARTED, [BuildRequested, StepStarted, BuildCancelled]),
    (BuildFinished(), [BuildRequested, BuildFinished]),
])
async def test_a_build_that_is_called_off_while_something_is_written_has_one_outcome(
    event: Event, ending: list[type[Event]]
) -> None:
    """Whoever waits for the disk may be gone before it has answered: what is stored is known all the same."""
    store = Slow()
    ledger = Ledger(ME, store, StoppedClock(), Meta())
    await ledger.write(REQUESTED)
    store.ordered.clear()
    writing = asyncio.create_task(ledger.write(event))
    await store.ordered.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await ledger.end(BuildCancelled(by="user"))
    assert await store.told() == ending
    assert await store.open_intents() == ()


async def test_what_has_waited_is_not_lost_with_an_append_that_failed() -> None:
    """An outcome without its request is a story that nobody can fold."""
    store = Slow()
    ledger = Ledger(ME, store, StoppedClock(), Meta())
    ledger.note(REQUESTED)
    store.full = True
    with pytest.raises(StorageError):
        await ledger.write(BuildFinished())
    store.full = False
    await ledger.end(BuildFailed(reason="the disk is full"))
    assert await store.told() == [BuildRequested, BuildFailed]


async def test_a_cache_is_deleted_while_nobody_uses_it(tmp_path: Path) -> None:
    """Not from under a step, also when the step came after the list of what is idle; and a step waits for the end."""
    caches = Caches(tmp_path)
    deleting, may_go = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(path: Path) -> int:
        loop.call_soon_threadsafe(deleting.set)
        asyncio.run_coroutine_threadsafe(may_go.wait(), loop).result(10)
        path.rmdir()
        return 7

    async def step() -> Path:
        async with caches.use("go", "shared") as path:
            assert not path.exists()
            return path

    async with caches.use("go", "shared") as path:
        path.mkdir()
        assert await caches.delete(path, slow) is None
    deletion = asyncio.create_task(caches.delete(path, slow))
    await deleting.wait()
    late = asyncio.create_task(step())
    assert await caches.delete(path, slow) is None
    await asyncio.sleep(0)
    assert not late.done()
    may_go.set()
    assert (await deletion, await late) == (7, path)
    assert await caches.delete(path, slow) is None


async def test_caches_that_nobody_uses_take_no_memory(tmp_path: Path) -> None:
    """Each build may name others, for years."""
    caches = Caches(tmp_path)
    for number in range(50):
        for sharing in ("shared", "locked", "private"):
            async with caches.use(f"id-{number}", sharing), caches.use(f"id-{number}", "private"):
                assert len(caches._users) == 2
    assert (len(caches._users), len(caches._locks), len(caches._going)) == (0, 0, 0)


async def test_what_a_build_goes_on_from_is_not_swept(tmp_path: Path) -> None:
    """And no image is composed of layers that are gone: it would be registered, and of use to nobody."""
    store = LocalImageStore(tmp_path / "images")
    (tmp_path / "rootfs.tar").write_bytes(layer("x"))
    try:
        image = await store.import_tar(tmp_path / "rootfs.tar")
        assert store.hold(ME, image)
        store.release(image.id)
        await store.sweep([])
        await store.verify(image)
        composed = await store.compose(image.layers, config_bytes({**image.config, "author": "me"}))
        store.release(composed.id)
        store.release(ME)
        await store.sweep([])
        assert not store.hold(ME, image)
        with pytest.raises(StorageError, match="missing"):
            await store.compose(image.layers, config_bytes(image.config))
    finally:
        store.close()
