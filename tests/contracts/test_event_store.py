"""What every event store promises; the one in memory may stand in for the real one only because it passes this."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.memory.event_store import MemoryEventStore
from adapters.sqlite.event_store import SqliteEventStore
from domain.errors import Conflict, NameTaken
from domain.messages import Append
from domain.ports.events import EventStore, OpenIntent, Reply, Views
from tests.contracts.samples import (
    DOOR,
    GATE,
    IMAGE,
    META,
    Built,
    Burnt,
    CloseAsked,
    Closed,
    Named,
    Noted,
    PaintAsked,
    Torn,
    append,
    door,
    projections,
)

Store = SqliteEventStore | MemoryEventStore


class Hands:
    """A clock that stands wherever a test puts it."""

    def __init__(self) -> None:
        self.now = 1_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Hands:
    """The clock of the store under test."""
    return Hands()


@pytest.fixture(params=["sqlite", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Hands) -> AsyncIterator[Store]:
    """Every adapter of the port in turn."""
    if request.param == "memory":
        yield MemoryEventStore(projections(), now=clock)
        return
    found = SqliteEventStore(tmp_path, projections(), now=clock)
    await found.open()
    yield found
    await found.close()


async def test_what_was_appended_is_loaded_again(store: Store) -> None:
    """The log gives back facts, actors and causes as they were."""
    stored = await store.append(append(DOOR, 0, Built(name="front", tags={"b": "1", "a": "ü"}), Closed()), META)
    assert [(r.position, r.version, r.stream) for r in stored] == [(1, 1, DOOR), (2, 2, DOOR)]
    assert list(await store.load(DOOR)) == list(stored)
    assert stored[0].meta == META
    assert await store.head() == 2


async def test_a_stream_without_events_is_empty(store: Store) -> None:
    """Nothing is told about what never happened."""
    assert list(await store.load(DOOR)) == []
    assert await store.head() == 0
    assert list(await store.read(0)) == []
    assert await store.position_at(10**19) == 0


async def test_the_slower_of_two_writers_gets_a_conflict(store: Store) -> None:
    """The expected version is the only lock there is."""
    await store.append(append(DOOR, 0, Built(name="front")), META)
    with pytest.raises(Conflict):
        await store.append(append(DOOR, 0, Built(name="other")), META)
    with pytest.raises(Conflict):
        await store.append(append(DOOR, 2, Closed()), META)
    assert len(await store.load(DOOR)) == 1


async def test_facts_that_depend_on_none_before_are_stored_wherever_the_stream_is(store: Store) -> None:
    """They need no version, and cannot be too slow: each finds its place, also among many at once."""
    await store.append(append(DOOR, 0, Built(name="front")), META)
    facts = [store.append((Append(DOOR, None, (Closed(),)), Append(GATE, None, (Closed(),))), META) for _ in range(5)]
    await asyncio.gather(*facts)
    assert [record.version for record in await store.load(DOOR)] == [1, 2, 3, 4, 5, 6]
    assert [record.version for record in await store.load(GATE)] == [1, 2, 3, 4, 5]


async def test_of_many_writers_at_once_exactly_one_wins(store: Store) -> None:
    """Group commit must not let two callers of one group pass."""
    attempts = [store.append(append(DOOR, 0, Built(name=f"n{n}")), META) for n in range(20)]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert [type(r) for r in results].count(Conflict) == 19
    assert len(await store.load(DOOR)) == 1


async def test_a_batch_is_stored_whole_or_not_at_all(store: Store) -> None:
    """The second stream's conflict takes the first stream's events with it, and their rows."""
    await store.append(append(GATE, 0, Built(name="gate")), META)
    batch = (Append(DOOR, 0, (Built(name="front"), CloseAsked())), Append(GATE, 0, (Closed(),)))
    with pytest.raises(Conflict):
        await store.append(batch, META)
    assert await store.head() == 1
    assert list(await store.open_intents()) == []
    assert await store.views.get("doors", DOOR.key) is None


async def test_one_batch_may_fill_several_streams(store: Store) -> None:
    """And one stream twice, each part expecting what the one before left."""
    batch = (
        Append(DOOR, 0, (Built(name="front"),)),
        Append(GATE, 0, (Built(name="gate"),)),
        Append(DOOR, 1, (Closed(),)),
    )
    stored = await store.append(batch, META)
    assert [(r.stream, r.version) for r in stored] == [(DOOR, 1), (GATE, 1), (DOOR, 2)]


async def test_an_append_without_events_only_checks_the_version(store: Store) -> None:
    """So a caller can make sure of a stream that it does not change."""
    assert list(await store.append(append(DOOR, 0), META)) == []
    with pytest.raises(Conflict):
        await store.append((Append(DOOR, 1, ()), Append(GATE, 0, (Built(name="gate"),))), META)
    assert await store.head() == 0


async def test_positions_have_no_gaps_whatever_was_refused(store: Store) -> None:
    """Readers go by position: a gap would look like an event that is still to come."""
    for number in range(10):
        try:
            await store.append(append(door(number), number % 2, Built(name=f"n{number}")), META)
        except Conflict:
            pass
    assert [r.position for r in await store.read(0)] == list(range(1, 6))


async def test_times_grow_even_when_the_clock_goes_back(store: Store, clock: Hands) -> None:
    """Order by position and order by time are one order."""
    times: list[int] = []
    for now in (5_000, 1_000, 5_000, 9_000):
        clock.now = now
        number = len(times)
        times += [r.time for r in await store.append(append(door(number), 0, Built(name=f"n{number}")), META)]
    assert times == [5_000, 5_001, 5_002, 9_000]


async def test_a_time_is_found_as_a_position(store: Store, clock: Hands) -> None:
    """The last position at or before the time."""
    for now in (1_000, 2_000, 3_000):
        clock.now = now
        await store.append(append(door(now), 0, Built(name=f"n{now}")), META)
    found = [await store.position_at(time) for time in (0, 999, 1_000, 1_999, 2_000, 3_000, 10**18)]
    assert found == [0, 0, 1, 1, 2, 3, 3]


async def test_reading_goes_on_after_a_position(store: Store) -> None:
    """Pages neither overlap nor leave anything out."""
    await store.append([Append(door(n), 0, (Built(name=f"n{n}"), Closed())) for n in range(5)], META)
    pages, after = [], 0
    while page := await store.read(after, 3):
        pages += [r.position for r in page]
        after = page[-1].position
    assert pages == list(range(1, 11))
    chosen = await store.read(0, streams=(door(1), door(4)))
    assert [r.position for r in chosen] == [3, 4, 9, 10]
    assert list(await store.read(0, streams=())) == []
    assert [r.position for r in await store.read(3, 1, streams=(door(1), door(9)))] == [4]


async def test_an_intent_is_open_until_its_outcome(store: Store) -> None:
    """The table is the list of what a worker has to do, also after a crash."""
    await store.append(append(DOOR, 0, Built(name="front"), CloseAsked()), META)
    await store.append(append(GATE, 0, Built(name="gate"), PaintAsked()), META)
    assert list(await store.open_intents()) == [
        OpenIntent(2, DOOR, "test-close-asked.v1"), OpenIntent(4, GATE, "test-paint-asked.v1")
    ]  # fmt: skip
    await store.append(append(DOOR, 2, Closed()), META)
    assert [i.position for i in await store.open_intents()] == [4]


async def test_an_outcome_with_a_cause_ends_only_that_intent(store: Store) -> None:
    """Two signals sent in a row are two pieces of work."""
    await store.append(append(DOOR, 0, CloseAsked(), CloseAsked(hurry=True), PaintAsked()), META)
    await store.append(append(DOOR, 3, Closed()), replace(META, cause=2))
    assert [i.position for i in await store.open_intents()] == [1, 3]


async def test_an_outcome_may_end_all_intents_of_a_name(store: Store) -> None:
    """Besides the one that caused it."""
    await store.append(append(DOOR, 0, CloseAsked(), CloseAsked(), PaintAsked(), PaintAsked()), META)
    await store.append(append(DOOR, 4, Burnt()), replace(META, cause=1))
    assert [i.position for i in await store.open_intents()] == [2]


async def test_outcomes_leave_other_streams_alone(store: Store) -> None:
    """Intents belong to their stream."""
    await store.append(append(DOOR, 0, CloseAsked()), META)
    await store.append(append(GATE, 0, CloseAsked()), META)
    await store.append(append(GATE, 1, Torn()), META)
    assert [i.position for i in await store.open_intents()] == [1]


async def test_a_command_is_carried_out_once(store: Store) -> None:
    """A retried command gets the stored answer; a second one with its identity is a conflict."""
    meta = replace(META, command_id="c1")
    assert await store.replied("c1") is None
    await store.append(append(DOOR, 0, Built(name="front"), Closed()), meta, reply="done")
    assert await store.replied("c1") == Reply(1, 2, "done")
    with pytest.raises(Conflict):
        await store.append(append(GATE, 0, Built(name="gate")), meta, reply="again")
    await store.append(append(GATE, 0, Built(name="gate")), meta)
    assert (await store.load(GATE))[0].meta.command_id == "c1"


async def test_of_two_doubled_commands_at_once_one_is_refused(store: Store) -> None:
    """Also when both are in one group."""
    meta = replace(META, command_id="c1")
    both = [store.append(append(door(n), 0, Built(name=f"n{n}")), meta, reply="r") for n in range(2)]
    results = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(r).__name__ for r in results) == ["Conflict", "tuple"]


async def test_a_refused_command_leaves_no_reply(store: Store) -> None:
    """It may be tried again."""
    with pytest.raises(Conflict):
        await store.append(append(DOOR, 5, Closed()), replace(META, command_id="c1"), reply="done")
    assert await store.replied("c1") is None


async def test_a_command_that_changes_nothing_is_remembered_too(store: Store) -> None:
    """Its retry must not be decided against a later state."""
    await store.append((), replace(META, command_id="c1"), reply="nothing to do")
    assert await store.replied("c1") == Reply(0, 0, "nothing to do")


async def test_a_name_belongs_to_one(store: Store) -> None:
    """The set rule holds in the transaction, and the holder is named."""
    await store.append(append(DOOR, 0, Built(name="front")), META)
    with pytest.raises(NameTaken) as caught:
        await store.append(append(GATE, 0, Built(name="front")), META)
    assert caught.value.holder == DOOR.key
    assert await store.head() == 1
    assert await store.views.get("doors", GATE.key) is None


async def test_of_many_racers_for_a_name_one_gets_it_and_the_others_hear_who(store: Store) -> None:
    """In one group as well as one after the other."""
    racers = [store.append(append(door(n), 0, Built(name="front")), META) for n in range(20)]
    results = await asyncio.gather(*racers, return_exceptions=True)
    taken = [r for r in results if isinstance(r, NameTaken)]
    (row,) = await store.views.select("doors")
    assert len(taken) == 19
    assert {r.holder for r in taken} == {row["id"]}


async def test_a_name_is_free_again_when_its_holder_lets_go(store: Store) -> None:
    """By another name or by ending, also within one transaction, and even when two change places."""
    await store.append(append(DOOR, 0, Built(name="front")), META)
    await store.append((Append(DOOR, 1, (Named(name="back"),)), Append(GATE, 0, (Built(name="front"),))), META)
    swap = (
        Append(DOOR, 2, (Named(name="x"),)),
        Append(GATE, 1, (Named(name="back"),)),
        Append(DOOR, 3, (Named(name="front"),)),
    )
    await store.append(swap, META)
    assert [row["name"] for row in await store.views.select("doors", order="id")] == ["front", "back"]
    await store.append((Append(DOOR, 4, (Torn(),)), Append(door(1), 0, (Built(name="front"),))), META)
    assert [row["id"] for row in await store.views.select("doors", where={"name": "front"})] == [door(1).key]


async def test_a_refused_caller_does_not_keep_a_name(store: Store) -> None:
    """What it wrote before it was refused is undone."""
    batch = (Append(DOOR, 0, (Built(name="front"),)), Append(GATE, 7, (Closed(),)))
    after = store.append(append(door(1), 0, Built(name="front")), META)
    refused, stored = await asyncio.gather(store.append(batch, META), after, return_exceptions=True)
    assert isinstance(refused, Conflict)
    assert not isinstance(stored, BaseException)


async def test_no_name_is_no_value(store: Store) -> None:
    """NULLs never collide."""
    await store.append([Append(door(n), 0, (Built(name=f"n{n}"), Named(name=""))) for n in range(3)], META)
    assert [row["name"] for row in await store.views.select("doors")] == [None] * 3


async def test_secrets_can_be_read_until_the_key_is_dropped(store: Store) -> None:
    """Only by loading the stream; whoever follows the log never sees them."""
    built = Built(name="front", code=("1234", "ü"), notes={"who": "ada"})
    (record,) = await store.append(append(DOOR, 0, built), META)
    assert record.event == built
    assert (await store.load(DOOR))[0].event == built
    assert [r.event for r in await store.read(0)] == [Built(name="front")]
    row = await store.views.get("doors", DOOR.key)
    assert row is not None
    assert row["code"] == []
    await store.append(append(DOOR, 1, Torn()), META)
    assert [r.event for r in await store.load(DOOR)] == [Built(name="front"), Torn()]


async def test_each_stream_has_a_key_of_its_own(store: Store) -> None:
    """Dropping one leaves the other readable."""
    await store.append(append(DOOR, 0, Built(name="front", code=("1",))), META)
    await store.append(append(GATE, 0, Built(name="gate", code=("2",))), META)
    await store.append(append(DOOR, 1, Torn()), META)
    assert (await store.load(GATE))[0].event == Built(name="gate", code=("2",))


async def test_secrets_after_the_key_was_dropped_get_a_new_one(store: Store) -> None:
    """The old ones stay lost."""
    await store.append(append(DOOR, 0, Built(name="front", code=("1",))), META)
    await store.append(append(DOOR, 1, Torn()), META)
    await store.append(append(DOOR, 2, Built(name="new", code=("2",))), META)
    first, _, last = await store.load(DOOR)
    assert first.event == Built(name="front")
    assert last.event == Built(name="new", code=("2",))


async def test_views_answer_by_key_value_list_and_prefix(store: Store) -> None:
    """All that the queries of the engine need."""
    await store.append([Append(door(n), 0, (Built(name=f"n{n}", tags={"n": str(n)}),)) for n in range(1, 5)], META)
    await store.append(append(door(2), 1, Closed()), META)
    views = store.views
    row = await views.get("doors", door(3).key)
    assert row is not None
    assert (row["name"], row["tags"], row["state"]) == ("n3", {"n": "3"}, "open")
    names = [r["name"] for r in await views.select("doors", where={"state": "open"}, order="name", descending=True)]
    assert names == ["n4", "n3", "n1"]
    assert len(await views.select("doors", where={"name": ["n1", "n2", "x"]})) == 2
    assert list(await views.select("doors", where={"name": []})) == []
    assert len(await views.select("doors", where={"name": None})) == 0
    assert len(await views.select("doors", where={"state": "open", "name": "n1"})) == 1
    assert [r["id"] for r in await views.select("doors", prefix=("id", door(4).key[:64]))] == [door(4).key]
    assert len(await views.select("doors", prefix=("id", "000"), limit=3)) == 3
    assert list(await views.select("doors", prefix=("name", "%"))) == []
    assert [r["name"] for r in await views.select("doors", limit=2)] == ["n1", "n2"]
    assert [r["name"] for r in await views.select("doors", descending=True, limit=2)] == ["n4", "n3"]
    assert list(await views.select("doors", limit=0)) == []


async def test_values_are_never_taken_for_statements(store: Store) -> None:
    """Neither as values nor as names of columns or projections."""
    await store.append(append(DOOR, 0, Built(name="x' OR 1=1 --")), META)
    assert list(await store.views.select("doors", where={"name": "' OR 1=1 --"})) == []
    assert len(await store.views.select("doors", where={"name": "x' OR 1=1 --"})) == 1
    for wrong in ({"where": {"1=1 --": 1}}, {"order": "name; DROP TABLE doors"}, {"prefix": ("1=1", "x")}):
        with pytest.raises(LookupError):
            await store.views.select("doors", **wrong)
    with pytest.raises(LookupError):
        await store.views.get("events", "1")


async def test_a_temporal_projection_shows_every_position(store: Store) -> None:
    """`ps --at` asks for the rows as they were."""
    await store.append(append(DOOR, 0, Built(name="front"), CloseAsked(), Closed(), Named(name="old")), META)
    await store.append(append(GATE, 0, Built(name="gate"), Torn()), META)
    await store.append(append(DOOR, 4, Torn()), META)
    await store.caught_up()
    views = store.views
    seen = {at: [(r["name"], r["state"]) for r in await views.at("door_past", at, order="id")] for at in range(8)}
    assert seen == {
        0: [], 1: [("front", "open")], 2: [("front", "open")], 3: [("front", "closed")], 4: [("old", "closed")],
        5: [("old", "closed"), ("gate", "open")], 6: [("old", "closed")], 7: [],
    }  # fmt: skip
    assert list(await views.select("door_past")) == []
    assert [r["from_pos"] for r in await views.at("door_past", 2)] == [1]
    with pytest.raises(LookupError):
        await views.at("doors", 1)


async def test_payloads_of_any_size_and_text_survive(store: Store) -> None:
    """Zero bytes, lone quotes, other scripts, a megabyte."""
    texts = ["", "\0", "'\"\\", "\u2028 漢字 🚪", "x" * 1_000_000]
    await store.append(append(IMAGE, 0, *(Noted(text=t, number=-(2**62)) for t in texts)), META)
    assert [r.event for r in await store.load(IMAGE)] == [Noted(text=t, number=-(2**62)) for t in texts]


async def test_long_streams_are_loaded_whole(store: Store) -> None:
    """Whatever way is taken for large answers."""
    await store.append(append(IMAGE, 0, *(Noted(number=n) for n in range(700))), META)
    assert [r.version for r in await store.load(IMAGE)] == list(range(1, 701))
    assert len(await store.read(0)) == 700
    assert len(await store.read(650)) == 50


def test_the_stores_are_stores(tmp_path: Path) -> None:
    """The protocol, as mypy sees it."""
    stores: list[EventStore] = [SqliteEventStore(tmp_path), MemoryEventStore()]
    views: list[Views] = [SqliteEventStore(tmp_path).views, MemoryEventStore().views]
    assert len(stores) == len(views)
