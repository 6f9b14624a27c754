"""Projections: folded with the events or after them, anew when their code changes, and always to the same rows."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters.sqlite import rebuild
from adapters.sqlite.event_store import SqliteEventStore
from domain.errors import IllegalTransition, NameTaken, Unavailable
from domain.messages import Append, Event, Recorded
from domain.projections.fold import Column, Projection, Row
from domain.projections.replay import Digest, Shape, digest_of
from tests.adapters.sqlite.conftest import Opener, sql
from tests.contracts.samples import (
    DOOR,
    META,
    Built,
    Burnt,
    CloseAsked,
    Closed,
    Doors,
    Named,
    Noted,
    Past,
    Torn,
    Whole,
    append,
    door,
    projections,
)


async def live(store: SqliteEventStore, lives: int, seed: int = 1) -> None:
    """Random but legal lives of doors, many per transaction."""
    chance = random.Random(seed)
    for first in range(0, lives, 50):
        batch = []
        for number in range(first, min(first + 50, lives)):
            events: list[Event] = [Built(name=f"n{number}", code=("1",), tags={"n": str(number)})]
            for _ in range(chance.randrange(6)):
                events.append(
                    chance.choice([CloseAsked(), Closed(), Burnt(), Named(name=f"m{number}"), Noted(text="x")])
                )
            if chance.random() < 0.3:
                events.append(Torn())
            batch.append(Append(door(number), 0, tuple(events)))
        await store.append(batch, META)


async def digests(store: SqliteEventStore) -> dict[str, str]:
    """The digests of all projections."""
    return {projection.name: await store.digest(projection.name) for projection in store.projections}


async def test_rows_are_the_same_however_they_were_folded(opened: Opener, tmp_path: Path) -> None:
    """With the events, in a rebuild, in memory, one by one or in groups."""
    store = await opened()
    await live(store, 200)
    first = await digests(store)
    await store.rebuild()
    assert await digests(store) == first
    records = await store.read(0, 10_000)
    assert {p.name: digest_of(p, records) for p in projections()} == first
    other = await opened(tmp_path / "other")
    for record in records:
        await other.append(append(record.stream, record.version - 1, record.event), META)
    times = {r.position: r.time for r in await other.read(0, 10_000)}
    assert len(times) == len(records)
    assert await other.digest("door_past") == first["door_past"]
    assert (await store.verify()).findings == (await other.verify()).findings == ()


async def test_rows_are_the_same_whether_changes_are_told_or_found(opened: Opener) -> None:
    """By one caller or many in a commit, several times in it, after refusals, and when the rows were read back."""
    chance = random.Random(2)
    store = await opened(given=(Doors(), Whole()))
    kinds = (CloseAsked(), Closed(), Burnt(), Noted(), Named(name="a"), Named(name="b"), Named(name=""), Torn())
    refused = 0
    for turn in range(120):
        orders = []
        for number in chance.sample(range(6), chance.randrange(1, 5)):
            events = chance.choices((*kinds, Built(name=chance.choice("abcd"))), k=chance.randrange(1, 4))
            orders.append(store.append((Append(door(number), None, tuple(events)),), META))
        found = await asyncio.gather(*orders, return_exceptions=True)
        assert {type(each) for each in found} <= {tuple, NameTaken}
        refused += sum(isinstance(each, NameTaken) for each in found)
        if turn % 40 == 39:
            await store.close()
            await store.open()
        assert await store.views.select("doors") == await store.views.select("whole")
    assert refused > 10
    assert (await store.verify()).findings == ()


async def test_a_changed_projection_is_folded_anew_at_the_start(opened: Opener) -> None:
    """Its columns, its revision, or its code."""
    store = await opened()
    await live(store, 50)
    await store.close()
    names, states = Column("id", "text"), Column("state", "text", indexed=True)
    smaller = Doors(revision=2, columns=(names, states))
    again = await opened(given=(smaller, Past()))
    assert set((await again.views.select("doors", limit=1))[0]) == {"id", "state"}
    assert (await again.verify()).findings == ()


async def test_an_unchanged_projection_is_left_alone(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start must not cost a replay."""
    store = await opened()
    await live(store, 20)
    await store.caught_up()
    await store.close()

    def refuse(self: rebuild.Rebuild) -> None:
        raise AssertionError("folded anew")

    monkeypatch.setattr(rebuild.Rebuild, "begin", refuse)
    again = await opened()
    assert (await again.verify()).findings == ()


async def test_a_projection_that_missed_events_is_folded_anew(opened: Opener) -> None:
    """An older version that does not know it must not leave it behind."""
    store = await opened()
    await live(store, 10)
    await store.close()
    without = await opened(given=())
    await without.append(append(door(99), 0, Built(name="n99")), META)
    await without.close()
    again = await opened()
    assert await again.views.get("doors", door(99).key) is not None
    assert (await again.verify()).findings == ()


async def test_looking_at_a_store_without_projections_changes_nothing(opened: Opener) -> None:
    """Only an append makes rows old."""
    store = await opened()
    await live(store, 10)
    await store.caught_up()
    await store.close()
    await (await opened(given=())).close()
    rows = sql(store.path.parent, "SELECT name FROM projections ORDER BY name")
    assert rows == [("door_past",), ("doors",)]


async def test_appends_go_on_during_a_rebuild(opened: Opener) -> None:
    """And what they wrote is in the new rows."""
    store = await opened()
    await live(store, 300)
    task = asyncio.create_task(store.rebuild())
    count = 0
    while not task.done():
        await store.append(append(door(1000 + count), 0, Built(name=f"late{count}")), META)
        count += 1
    await task
    assert count > 0
    assert (await store.verify()).findings == ()


async def test_a_rebuild_that_was_interrupted_is_begun_again(opened: Opener) -> None:
    """Its shadow tables lie about after a kill."""
    store = await opened()
    await live(store, 20)
    await store.close()
    sql(store.path.parent, "CREATE TABLE doors_shadow (anything)")
    sql(store.path.parent, "DELETE FROM projections")
    again = await opened()
    assert (await again.verify()).findings == ()
    assert sql(again.path.parent, "SELECT name FROM sqlite_schema WHERE name LIKE '%shadow'") == []


class Stubborn(Past):
    """A projection with a defect."""

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """Cannot bear notes."""
        if isinstance(record.event, Noted):
            raise IllegalTransition("notes are unheard of")
        return super().fold(row, record, key)


async def test_a_following_projection_that_fails_stops_nobody(opened: Opener) -> None:
    """It keeps what it has, and verification says why it stopped."""
    store = await opened(given=(Doors(), Stubborn("stubborn"), Past()))
    await store.append(append(DOOR, 0, Built(name="front")), META)
    await store.caught_up()
    await store.append(append(DOOR, 1, Noted(text="x"), Closed()), META)
    await store.caught_up()
    assert [row["state"] for row in await store.views.select("door_past")] == ["closed"]
    assert [row["state"] for row in await store.views.select("stubborn")] == ["open"]
    assert [str(finding) for finding in (await store.verify()).findings] == [
        "the table stubborn has stopped: IllegalTransition: notes are unheard of"
    ]


async def test_an_inline_projection_that_fails_refuses_only_its_caller(opened: Opener) -> None:
    """Nothing of the refused events stays."""
    store = await opened(given=(Stubborn("stubborn", inline=True), Doors()))
    refused, stored = await asyncio.gather(
        store.append(append(DOOR, 0, Built(name="front"), Noted()), META),
        store.append(append(door(1), 0, Built(name="front")), META),
        return_exceptions=True,
    )
    assert isinstance(refused, IllegalTransition)
    assert not isinstance(stored, BaseException)
    assert await store.head() == 1
    assert (await store.verify()).findings == ()


async def test_a_long_log_is_folded_anew_while_the_store_is_open(opened: Opener) -> None:
    """What follows the log may be late after an upgrade; it says so until it is there."""
    store = await opened()
    await store.append([Append(door(n), 0, (Built(name=f"n{n}"), *[Noted()] * 20)) for n in range(300)], META)
    await store.close()
    sql(store.path.parent, "DELETE FROM projections WHERE name = 'door_past'")
    again = await opened()
    with pytest.raises(Unavailable, match="folded anew"):
        await again.views.select("door_past")
    await again.append(append(door(1000), 0, Built(name="late")), META)
    await again.caught_up()
    assert len(await again.views.select("door_past")) == 301
    assert (await again.verify()).findings == ()


async def test_events_of_a_newer_version_are_kept_and_skipped(opened: Opener) -> None:
    """They cannot be understood here, and they are not lost."""
    store = await opened()
    await store.append(append(DOOR, 0, Built(name="front"), Noted(text="x"), Closed()), META)
    root = store.path.parent
    await store.close()
    first = await _renamed(opened, root)
    assert [r.position for r in await first.load(DOOR)] == [1, 3]
    assert [r.position for r in await first.read(0, 2)] == [1, 3]
    assert list(await first.read(1, 1)) == list(await first.read(2, 1))


async def _renamed(opened: Opener, root: Path) -> SqliteEventStore:
    sql(root, "UPDATE types SET name = 'test-noted.v9' WHERE name = 'test-noted.v1'")
    return await opened(root)


async def test_many_rows_are_selected_in_a_thread(opened: Opener) -> None:
    """The loop that pumps terminals goes on meanwhile; the answer is the same."""
    store = await opened()
    await store.append([Append(door(n), 0, (Built(name=f"n{n:05}", tags={"n": str(n)}),)) for n in range(1500)], META)
    rows = await store.views.select("doors", order="name", descending=True)
    assert [row["name"] for row in rows[:2]] == ["n01499", "n01498"]
    assert len(rows) == 1500
    assert len(await store.views.select("doors", where={"since": rows[7]["since"]})) == 1


def test_a_digest_does_not_depend_on_the_order_of_rows() -> None:
    """But on every value, and on how often a row is there."""
    rows: Sequence[tuple[int | str | None, ...]] = [("a", 1, None), ("b", 2, "x"), ("c", 3, "ü")]
    assert str(Digest(rows)) == str(Digest(reversed(rows)))
    assert str(Digest(rows)) != str(Digest(rows[:2]))
    assert str(Digest(rows)) != str(Digest([*rows, rows[0]]))
    assert str(Digest([("a", 1)])) != str(Digest([("a", "1")]))


def test_a_value_that_its_column_cannot_hold_is_refused() -> None:
    """Before it comes to the database."""
    shape = Shape((Column("id", "text"), Column("n", "integer"), Column("j", "json")))
    assert shape.store({"id": "a", "n": True, "j": {"b": 1, "a": [None]}}) == ("a", 1, '{"a":[null],"b":1}')
    assert shape.restore(("a", 1, '{"a":[null]}')) == {"id": "a", "n": 1, "j": {"a": [None]}}
    assert shape.store({"id": "a"}) == ("a", None, None)
    with pytest.raises(TypeError, match="column n is integer"):
        shape.store({"id": "a", "n": 1.5})


def test_the_fingerprint_follows_columns_revision_and_name() -> None:
    """And nothing that differs from start to start."""
    given: list[Projection] = [
        Doors(),
        Doors(revision=2),
        Doors(name="gates"),
        Doors(columns=Doors().columns[:3]),
        Past(),
    ]
    assert len({rebuild.fingerprint(projection) for projection in given}) == len(given)
    assert rebuild.fingerprint(Doors()) == rebuild.fingerprint(Doors())


async def test_rows_without_a_value_are_in_no_index_and_the_others_are_found_by_it(opened: Opener) -> None:
    """An index costs every append that changes it a page; a query for a value must use it all the same."""
    store = await opened()
    await live(store, 20)
    await store.close()
    root = store.path.parent
    made = sql(root, "SELECT name, sql FROM sqlite_schema WHERE tbl_name = 'doors' AND sql LIKE 'CREATE%INDEX%'")
    assert {name: str(text).partition(" WHERE ")[2] for name, text in made} == {
        "doors_name": "name IS NOT NULL",
        "doors_state": "state IS NOT NULL",
    }
    plans = {
        way: str(sql(root, f"EXPLAIN QUERY PLAN SELECT * FROM doors WHERE state {way}", "open"))
        for way in ("= ?", "IN (?)")
    }
    assert all("USING INDEX doors_state" in plan for plan in plans.values())


async def test_an_intent_that_ends_in_its_own_transaction_is_not_left_open(opened: Opener) -> None:
    """Both are written at once; whoever opens the store next must not do it again."""
    store = await opened()
    await store.append(append(door(1), 0, Built(name="a"), CloseAsked(), Closed()), META)
    assert await store.open_intents() == ()
    await store.close()
    again = await opened()
    assert list(await again.open_intents()) == []
    assert sql(again.path.parent, "SELECT count(*) FROM open_intents") == [(0,)]
