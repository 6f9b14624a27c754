"""The list of all containers that is kept between calls: it shows what a list that was just read would show."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import LadingError, StorageError
from domain.images.events import Tagged, Untagged
from domain.lifecycle.kill import Kill
from domain.lifecycle.pause import Pause
from domain.lifecycle.remove import Remove
from domain.lifecycle.rename import Rename
from domain.lifecycle.start import Start, StartFailed
from domain.lifecycle.stop import Stop
from domain.lifecycle.unpause import Unpause
from domain.messages import Command, Meta, StreamId
from domain.projections.fold import Row
from domain.text.units import DAY, HOUR, MINUTE
from tests.examples import examples
from tests.workers.console.fakes import EPOCH, ROOT, SECOND, FakeCall, FakeEngine, FakeViews, Prompt, Terminal
from workers.console import board as boards
from workers.console import sheet as sheets
from workers.console.board import Board
from workers.console.commands.ps import _shape
from workers.console.containers import Listed, listed
from workers.console.dispatch import dispatch
from workers.console.references import pointers
from workers.mover import Caller
from workers.requests import CreateRequest

WHO = Caller(ROOT)
COMMANDS = st.sampled_from([("true",), ("sleep", "9"), ("echo", "日本語 — wide"), ("sh", "-c", "a\x1b[1m b")])
NAMES = st.sampled_from(["a", "web", "a-name-that-is-rather-long", "db.1"])
CHANGES: Sequence[Command] = (Start(), Stop(), Pause(), Unpause(), Kill(signal=9), Remove(), Remove(force=True))
STEPS = st.one_of(
    st.tuples(st.just("create"), NAMES, COMMANDS),
    st.tuples(st.just("run"), NAMES, COMMANDS),
    st.tuples(st.just("fail"), NAMES, st.sampled_from(["exec format error", "no such file"])),
    st.tuples(st.just("change"), st.integers(0, 9), st.sampled_from(CHANGES)),
    st.tuples(st.just("rename"), st.integers(0, 9), NAMES),
    st.tuples(st.just("end"), st.integers(0, 9), st.integers(0, 255)),
    st.tuples(st.just("tag"), st.booleans(), st.none()),
    st.tuples(st.just("hear"), st.none(), st.none()),
    st.tuples(st.just("wait"), st.sampled_from([SECOND // 3, SECOND, 40 * SECOND, HOUR]), st.none()),
)
LATER = st.sampled_from([0, 0, 1, SECOND // 2, SECOND, 7 * SECOND, MINUTE, 90 * DAY, -1, -SECOND, -MINUTE, -9 * DAY])
COLUMNS = st.sampled_from([0, 0, 0, 40, 80, 110, 130])


class Story:
    """What happens to an engine, step by step; refusals happen, too."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.engine.images.add("a", "alpine:3.10", Cmd=["sh"])
        self.now, self.later, self.heard = self.engine.store.now, 0, 0

    async def begin(self) -> None:
        """A few that run, one that does not yet."""
        for number in range(4):
            self.engine.store.now = self.now
            await (self.run if number else self.create)(f"c{number}", ("true",))

    async def step(self, what: str, first: object, second: object) -> None:
        """One of `STEPS`; many of them at the same time."""
        self.engine.store.now = self.now
        try:
            await getattr(self, what)(first, second)
        except LadingError:
            pass
        self.engine.start_error = None

    async def create(self, name: str, command: tuple[str, ...]) -> None:
        """One more."""
        await self.engine.create(CreateRequest(image="alpine:3.10", name=name, command=command), WHO)

    async def run(self, name: str, command: tuple[str, ...]) -> None:
        """One more, which runs."""
        await self.engine.run(CreateRequest(image="alpine:3.10", name=name, command=command), WHO)

    async def fail(self, name: str, why: str) -> None:
        """One more, which cannot be started."""
        self.engine.start_error = StartFailed(attempt=1, stage="exec", reason=why, exit_code=126)
        await self.run(name, ("x",))

    async def change(self, place: int, command: Command) -> None:
        """A wish about one of them."""
        if (id := self._one(place)) is not None:
            await self.engine.execute(id, command, WHO)

    async def rename(self, place: int, name: str) -> None:
        """Another name."""
        await self.change(place, Rename(name=name))

    async def end(self, place: int, code: int) -> None:
        """One ends by itself."""
        id = self._one(place)
        if id is not None and (await self.engine.container(id)).pid:
            self.engine.exit(id, code, oom=code == 137)

    async def tag(self, points: bool, _: object) -> None:
        """The image gets its name, or loses it."""
        event = Tagged(image_id=f"sha256:{'a' * 64}") if points else Untagged(image_id=f"sha256:{'a' * 64}")
        self.engine.store.add(StreamId("ref", "alpine:3.10"), event, Meta(actor=ROOT))

    async def hear(self, *_: object) -> None:
        """The relay tells what was committed."""
        for record in self.engine.store.records[self.heard :]:
            self.engine.board.hear(record)
        self.heard = len(self.engine.store.records)

    async def wait(self, time: int, _: object) -> None:
        """Time goes by."""
        self.now += time

    async def look(self, later: int, columns: int) -> None:
        """The list is what it would be without a board; the clock may have been set back."""
        self.later += later
        now = self.now + 5 * SECOND + self.later
        call = FakeCall(["ps", "-a"], terminal=Terminal(cols=columns, stdout_tty=bool(columns)))
        assert await dispatch(call, self.engine, lambda: now) == 0
        shape = _shape(now, await pointers(self.engine), full=False, sizes=False)
        plain = shape.render(await read(self.engine), "", columns=columns)
        assert call.stdout == plain.encode("utf-8", "backslashreplace")

    def _one(self, place: int) -> str | None:
        ids = list(self.engine.store.rows["containers"])
        return ids[place % len(ids)] if ids else None


async def read(engine: FakeEngine) -> list[Listed]:
    """The rows as they are now, newest first."""
    return [listed(row) for row in await engine.views.select("containers", order="created_at", descending=True)]


@pytest.mark.slow
@examples(120)
@given(st.lists(st.tuples(STEPS, LATER, COLUMNS), min_size=5, max_size=40), st.booleans())
def test_the_kept_table_is_the_plain_one(
    steps: list[tuple[tuple[str, object, object], int, int]], away: bool
) -> None:
    """Whatever has happened, whatever the clock says, on the loop or in a thread."""
    many = sheets.MANY, sheets._MANY_TOLD
    sheets.MANY, sheets._MANY_TOLD = (0, 0) if away else many
    try:

        async def tell() -> None:
            story = Story()
            await story.begin()
            for step, later, columns in steps:
                await story.step(*step)
                await story.look(later, columns)
            assert list(await story.engine.board.rows()) == await read(story.engine)

        asyncio.run(tell())
    finally:
        sheets.MANY, sheets._MANY_TOLD = many


async def test_words_that_differ_in_one_thing_are_not_taken_for_the_same() -> None:
    """Two that ended in the same moment, each with its own status."""
    story = Story()
    await story.begin()
    for place in range(4):
        await story.step("end", place, place)
    for later in (0, MINUTE, HOUR):
        await story.look(later, 0)


@pytest.fixture
async def three(engine: FakeEngine, prompt: Prompt) -> FakeEngine:
    """Three that run, and a board that knows them."""
    for name in ("one", "two", "three"):
        await prompt.ok("run", "-d", "--name", name, "alpine:3.10")
    await engine.board.rows()
    return engine


class Counting(FakeViews):
    """Keeps what was asked for, and may fail once."""

    def __init__(self, engine: FakeEngine) -> None:
        super().__init__(engine.store)
        self.asked: list[object] = []
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        self.failing = False

    async def select(self, projection: str, **how: object) -> Sequence[Row]:
        """Like the real one."""
        self.asked.append(how.get("where"))
        if self.failing:
            self.failing = False
            raise StorageError("the disk is away")
        rows = await super().select(projection, **how)  # type: ignore[arg-type]
        if (meanwhile := self.meanwhile) is not None:
            self.meanwhile = None
            await meanwhile()
        return rows


async def test_only_what_an_event_has_touched_is_read_again(three: FakeEngine, prompt: Prompt) -> None:
    """A list of ten thousand does not read ten thousand rows for one change, and none for none."""
    views = Counting(three)
    board = Board(three.store, views)
    before = await board.rows()
    assert await board.rows() is before
    await prompt.ok("rename", "two", "second")
    after = await board.rows()
    assert views.asked == [None, {"id": ["2" * 64]}]
    assert [c.name for c in after] == ["three", "second", "one"]
    assert [new is old for new, old in zip(after, before, strict=True)] == [True, False, True]


async def test_what_is_heard_of_need_not_be_read_from_the_log(three: FakeEngine, prompt: Prompt) -> None:
    """And what is told twice, or before the board is in use, does no harm."""
    board = Board(three.store, three.views)
    for record in three.store.records:
        board.hear(record)
    await board.rows()
    known = len(three.store.records)
    await prompt.ok("rm", "-f", "two")
    for record in (*three.store.records, *three.store.records[known:]):
        board.hear(record)
    assert board._position == len(three.store.records)
    assert [c.name for c in await board.rows()] == ["three", "one"]


async def test_a_change_while_the_rows_are_read_is_not_missed(three: FakeEngine, prompt: Prompt) -> None:
    """What is shown was true at one moment: two containers never seem to have one name."""
    views = Counting(three)
    board = Board(three.store, views)
    await board.rows()
    await prompt.ok("rename", "one", "free")

    async def swap() -> None:
        await prompt.ok("rename", "free", "other")
        await prompt.ok("rename", "two", "free")

    views.meanwhile = swap
    assert [c.name for c in await board.rows()] == ["three", "free", "other"]


async def test_a_log_that_never_stands_still_is_read_as_a_whole(three: FakeEngine, prompt: Prompt) -> None:
    """There is an answer, and it is one moment's."""
    views = Counting(three)
    board = Board(three.store, views)
    await board.rows()
    names = iter(f"name{number}" for number in range(100))

    async def again() -> None:
        await prompt.ok("rename", "1111", next(names))
        views.meanwhile = again if views.asked[-1] is not None else None

    await again()
    views.meanwhile = again
    await board.rows()
    assert views.asked[-1] is None
    assert len(views.asked) == 2 + boards._TRIES


async def test_a_failed_read_forgets_nothing(three: FakeEngine, prompt: Prompt) -> None:
    """The next call reads what this one could not."""
    views = Counting(three)
    board = Board(three.store, views)
    views.failing = True
    with pytest.raises(StorageError):
        await board.rows()
    await board.rows()
    await prompt.ok("rename", "two", "second")
    views.failing = True
    with pytest.raises(StorageError):
        await board.rows()
    assert [c.name for c in await board.rows()] == ["three", "second", "one"]


async def test_a_list_that_is_too_long_is_not_kept(three: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory has a limit; the list is right all the same."""
    monkeypatch.setattr(boards, "MOST", 2)
    board = Board(three.store, three.views)
    for _ in range(2):
        assert [c.name for c in await board.rows()] == ["three", "two", "one"]
        assert not board._known
    monkeypatch.setattr(boards, "MOST", 3)
    assert await board.rows() is await board.rows()


async def test_many_events_are_not_read_one_by_one(three: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a long time the rows are read, not the log."""
    views = Counting(three)
    board = Board(three.store, views)
    await board.rows()
    monkeypatch.setattr(boards, "_BEHIND", 3)
    await three.execute("1" * 64, Stop(), WHO)
    await three.execute("1" * 64, Start(), WHO)
    assert [c.started_at for c in await board.rows()][-1] > EPOCH
    assert views.asked == [None, None]


async def test_a_call_that_is_cancelled_leaves_the_table_whole(
    three: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that makes the rows ends before anybody else may use them."""
    real, inside = sheets.Sheet._bring_up, list[int]()

    def slow(sheet: sheets.Sheet, *arguments: object) -> None:
        assert not inside
        inside.append(1)
        time.sleep(0.01)
        real(sheet, *arguments)  # type: ignore[arg-type]
        inside.clear()

    monkeypatch.setattr(sheets, "MANY", 0)
    monkeypatch.setattr(sheets, "_MANY_TOLD", 0)
    monkeypatch.setattr(sheets.Sheet, "_bring_up", slow)
    for turns in range(12):
        three.store.now += SECOND
        call = asyncio.ensure_future(dispatch(FakeCall(["ps", "-a"]), three, three.now))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        shown = FakeCall(["ps", "-a"])
        assert await dispatch(shown, three, three.now) == 0
        shape = _shape(three.now(), await pointers(three), full=False, sizes=False)
        assert shown.stdout.decode() == shape.render(await read(three), "")
        await asyncio.wait((call,))
