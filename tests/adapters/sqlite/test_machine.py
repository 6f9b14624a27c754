"""A state machine: random appends, refusals, restarts and crashes, against the store in memory."""

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from adapters.memory.event_store import MemoryEventStore
from adapters.sqlite.event_store import SqliteEventStore
from domain.errors import LadingError
from domain.messages import Append, Event, Meta, Recorded
from tests.contracts.samples import (
    META,
    Built,
    Burnt,
    CloseAsked,
    Closed,
    Named,
    Noted,
    PaintAsked,
    Torn,
    door,
    projections,
)
from tests.examples import examples

NAMES = st.sampled_from(["", "a", "b", "c"])
EVENTS = st.one_of(
    st.builds(Built, name=NAMES, code=st.lists(st.text(max_size=3), max_size=2).map(tuple)),
    st.builds(Named, name=NAMES),
    st.builds(Noted, text=st.text(max_size=5), number=st.integers(-(2**63), 2**63 - 1)),
    st.sampled_from([CloseAsked(), PaintAsked(), Closed(), Burnt(), Torn()]),
)
PARTS = st.tuples(st.integers(0, 3), st.integers(-1, 4).map(lambda n: max(n - 3, -1)), st.lists(EVENTS, max_size=3))
METAS = st.builds(
    lambda command, cause: replace(META, command_id=command, cause=cause),
    st.sampled_from(["", "", "c1", "c2", "c3"]),
    st.integers(0, 12),
)

ORDERS = st.tuples(st.lists(PARTS, min_size=1, max_size=2), METAS, st.sampled_from([None, "x"]))

Result = tuple[Recorded, ...] | tuple[str, str]


class Stores(RuleBasedStateMachine):
    """The real store and its model are told the same, and must say the same."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.root = Path(mkdtemp(prefix="store-"))
        self.now = 1000
        self.model = MemoryEventStore(projections(), now=lambda: self.now)
        self.store = SqliteEventStore(self.root, projections(), now=lambda: self.now)

    @initialize()
    def start(self) -> None:
        """Both are empty."""
        self.runner.run(self.store.open())

    @rule(parts=st.lists(PARTS, min_size=1, max_size=3), meta=METAS, reply=st.sampled_from([None, "", "done"]))
    def append(self, parts: list[tuple[int, int, list[Event]]], meta: Meta, reply: str | None) -> None:
        """Mostly at the right versions, sometimes not."""
        self.runner.run(self._append([(parts, meta, reply)]))

    @rule(orders=st.lists(ORDERS, min_size=2, max_size=6))
    def append_together(self, orders: list[tuple[list[tuple[int, int, list[Event]]], Meta, str | None]]) -> None:
        """Several callers at once, in one group as a rule."""
        self.runner.run(self._append(orders))

    @rule(step=st.integers(-5, 5))
    def move_the_clock(self, step: int) -> None:
        """Forwards and backwards."""
        self.now += step

    @rule()
    def restart(self) -> None:
        """In good order."""
        self.runner.run(self.store.close())
        self.runner.run(self.store.open())

    @rule()
    def crash(self) -> None:
        """Go on with the files as they are now, as if the process had been killed."""
        other = Path(mkdtemp(prefix="store-"))
        for path in self.root.glob("lading.db*"):
            if not path.name.endswith("-shm"):
                shutil.copy(path, other)
        self.runner.run(self.store.close())
        shutil.rmtree(self.root)
        self.root = other
        self.store = SqliteEventStore(other, projections(), now=lambda: self.now)
        self.runner.run(self.store.open())

    @rule()
    def rebuild(self) -> None:
        """All projections anew."""
        self.runner.run(self.store.rebuild())

    @precondition(lambda self: self.runner.run(self.model.head()) > 0)
    @rule()
    def verify(self) -> None:
        """Nothing is ever wrong."""
        assert self.runner.run(self.store.verify()).findings == ()

    @invariant()
    def both_say_the_same(self) -> None:
        """Streams, log, intents, replies and every row."""
        self.runner.run(self._compare())

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.runner.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.root)

    async def _append(self, orders: list[tuple[list[tuple[int, int, list[Event]]], Meta, str | None]]) -> None:
        batches = []
        for parts, meta, reply in orders:
            batch = []
            ahead: dict[int, int] = {}
            for number, off, events in parts:
                version = ahead.get(number, len(await self.model.load(door(number))))
                batch.append(Append(door(number), max(version + off, 0), tuple(events)))
                ahead[number] = version + len(events)
            batches.append((batch, meta, reply))
        real = await asyncio.gather(*(_result(self.store, *order) for order in batches))
        assert list(real) == [await _result(self.model, *order) for order in batches]

    async def _compare(self) -> None:
        for number in range(4):
            assert list(await self.store.load(door(number))) == list(await self.model.load(door(number)))
        assert list(await self.store.read(0)) == list(await self.model.read(0))
        assert list(await self.store.open_intents()) == list(await self.model.open_intents())
        for command in ("c1", "c2", "c3"):
            assert await self.store.replied(command) == await self.model.replied(command)
        head = await self.model.head()
        await self.store.caught_up()
        assert await self.store.head() == head
        assert list(await self.store.views.select("doors")) == list(await self.model.views.select("doors"))
        for position in {0, head // 2, head}:
            real = await self.store.views.at("door_past", position)
            assert list(real) == list(await self.model.views.at("door_past", position))


async def _result(
    store: SqliteEventStore | MemoryEventStore, batch: list[Append], meta: Meta, reply: str | None
) -> Result:
    try:
        return tuple(await store.append(batch, meta, reply=reply))
    except LadingError as error:
        return type(error).__name__, str(error)


@pytest.mark.hypothesis
@pytest.mark.slow
def test_the_store_and_its_model_never_differ() -> None:
    """Whatever is asked of them, in whatever order, with restarts and crashes in between."""
    run_state_machine_as_test(Stores, settings=examples(20, steps=15, unchecked=True))
