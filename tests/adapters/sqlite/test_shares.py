"""Long logs are folded by several processes, to the same rows as by one."""

import os
from pathlib import Path

import pytest

from adapters.sqlite import shares
from adapters.sqlite.event_store import SqliteEventStore
from domain.catalogue import projections as of_the_engine
from domain.images.events import Tagged, Untagged
from domain.lifecycle.create import Created
from domain.lifecycle.exit import Exited
from domain.lifecycle.remove import Removed, RemoveRequested
from domain.lifecycle.rename import Renamed
from domain.lifecycle.start import Started, StartRequested
from domain.messages import Append, Event, Recorded, StreamId
from domain.projections.fold import Projection
from domain.spec import ContainerSpec
from tests.adapters.sqlite.conftest import Opener
from tests.adapters.sqlite.test_projections import digests
from tests.contracts.samples import META


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> list[shares.Shares]:
    """Every log is a long one, on a machine with two processors; what was started for it."""
    started: list[shares.Shares] = []

    class Watched(shares.Shares):
        def __init__(self, path: Path, projections: tuple[Projection, ...], until: int, count: int) -> None:
            super().__init__(path, projections, until, count)
            started.append(self)

    monkeypatch.setattr(shares, "LONG", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(shares, "Shares", Watched)
    return started


def life(number: int) -> list[Append]:
    """A container with two names and a reference; some are gone in the end."""
    id = f"{number:064x}"
    events: list[Event] = [
        Created(name=f"a{number}", spec=ContainerSpec(image="box", image_id="sha256:" + "1" * 64), env=()),
        StartRequested(attempt=1),
        Started(attempt=1, pid=7, start_time=1),
        Renamed(old=f"a{number}", name=f"b{number}"),
        Exited(attempt=1, code=number),
    ]
    tags: list[Event] = [Tagged(image_id=id)]
    if number % 2:
        events += [RemoveRequested(), Removed()]
        tags += [Untagged(image_id=id)]
    return [
        Append(StreamId("container", id), 0, tuple(events)),
        Append(StreamId("ref", f"box:{number}"), 0, tuple(tags)),
    ]


async def live(store: SqliteEventStore, numbers: range) -> None:
    """These lives, one after the other."""
    for number in numbers:
        await store.append(life(number), META)


@pytest.mark.slow
async def test_several_processes_fold_to_the_same_rows(opened: Opener, spawned: list[shares.Shares]) -> None:
    """All projections of the engine."""
    store = await opened(given=of_the_engine())
    await live(store, range(60))
    before = await digests(store)
    await store.rebuild()
    assert await digests(store) == before
    assert len(spawned) == 1
    await store.append(life(60), META)
    assert (await store.verify()).findings == ()
    await store.rebuild(["spans"])
    assert (await store.verify()).findings == ()


@pytest.mark.slow
async def test_events_that_come_meanwhile_are_not_forgotten(
    opened: Opener, spawned: list[shares.Shares], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the others do not know of yet is folded onto their rows."""
    store = await opened(given=of_the_engine())
    await live(store, range(60))
    reached = await store.head() - 40
    behind = shares.Shares

    def earlier(path: Path, given: tuple[Projection, ...], until: int, count: int) -> shares.Shares:
        return behind(path, given, reached, count)

    monkeypatch.setattr(shares, "Shares", earlier)
    before = await digests(store)
    await store.rebuild()
    assert await digests(store) == before
    assert len(spawned) == 1
    assert (await store.verify()).findings == ()


@pytest.mark.slow
async def test_the_work_of_a_process_that_is_lost_is_done_here(
    opened: Opener, spawned: list[shares.Shares], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left half done, whatever became of it."""
    monkeypatch.setattr(shares, "_ENTRY", "raise SystemExit(1)")
    store = await opened(given=of_the_engine())
    await live(store, range(20))
    before = await digests(store)
    await store.rebuild()
    assert await digests(store) == before
    assert len(spawned) == 1


async def test_a_short_log_or_a_projection_with_state_is_folded_here(tmp_path: Path) -> None:
    """Another process would not know what the projection knows."""

    class Local:
        name = "local"

    local: Projection = Local()  # type: ignore[assignment]
    assert shares.shares_for(tmp_path, of_the_engine(), shares.LONG - 1) is None
    assert shares.shares_for(tmp_path, (local,), shares.LONG) is None


def test_a_row_belongs_to_one_stream() -> None:
    """Whatever happens in one stream, no other stream touches the rows it touches."""
    happened = [(each.stream, event) for number in range(4) for each in life(number) for event in each.events]
    for projection in of_the_engine():
        owners: dict[str, StreamId] = {}
        for stream, _ in happened:
            for event in (event for other, event in happened if other.kind == stream.kind):
                for key in projection.keys(Recorded(1, stream, 1, 1, event, META)):
                    assert owners.setdefault(key, stream) == stream
