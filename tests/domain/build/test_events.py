"""The folds of builds and of cache entries, and the rows that are made of them."""

from collections.abc import Sequence

import pytest

from domain.audit import detail
from domain.build import streams
from domain.build.events import (
    BuildCancelled,
    BuildFailed,
    BuildFinished,
    BuildRequested,
    CacheDropped,
    CacheStored,
    CacheUsed,
    ContextReceived,
    StepDone,
    StepFailed,
    StepStarted,
)
from domain.build.streams import Build, Entry, fold_entry
from domain.errors import IllegalTransition
from domain.messages import Event, Meta, Recorded, StreamId
from domain.notices import Narrator
from domain.projections.build_cache import BuildCache
from domain.projections.builds import Builds
from domain.projections.fold import Projection, Row

REQUESTED = BuildRequested(dockerfile="Dockerfile", digest="sha256:a", steps=3, references=("app:1",))
STARTED = StepStarted(
    number=2, stage="one", text="RUN make", key="k", inputs=(("base", "1"), ("command", "2")), cause="base changed"
)
DONE = StepDone(number=2, stage="one", text="RUN make", how="ran", key="k", image_id="sha256:i", size=7, took=5)
FINISHED = BuildFinished(image_id="sha256:i", references=("app:1",), size=9)
ENDS: Sequence[Event] = (FINISHED, BuildFailed(reason="no"), BuildCancelled(by="user"))
STORED = CacheStored(image_id="sha256:i", step="s", text="RUN make", inputs=(("base", "1"),), size=7, build="b")


def told(kind: str, *events: Event) -> list[Recorded]:
    """A stream of these events."""
    stream = StreamId(kind, "key")  # type: ignore[arg-type]
    return [Recorded(place, stream, place, place * 10, event, Meta()) for place, event in enumerate(events, 1)]


def row(projection: Projection, kind: str, *events: Event) -> Row | None:
    """What becomes of them."""
    found: Row | None = None
    for record in told(kind, *events):
        for key in projection.keys(record):
            found = projection.fold(found, record, key)
    return found


def test_a_build_goes_from_its_wish_over_its_steps_to_one_end() -> None:
    """And counts what is done."""
    build = streams.fold("key", told("build", REQUESTED, ContextReceived(files=1, bytes=2), STARTED, DONE, FINISHED))
    assert (build.state, build.version, build.request, build.done) == ("finished", 5, 1, frozenset({2}))
    assert build.append(DONE).expected == 5


@pytest.mark.parametrize("end", ENDS)
def test_nothing_happens_to_a_build_that_has_ended(end: Event) -> None:
    """A late outcome is a defect."""
    for late in (REQUESTED, STARTED, DONE, *ENDS):
        with pytest.raises(IllegalTransition):
            streams.fold("key", told("build", REQUESTED, end, late))


@pytest.mark.parametrize("event", [STARTED, DONE, *ENDS, ContextReceived(files=0, bytes=0)])
def test_nothing_happens_before_a_wish(event: Event) -> None:
    """Neither does a step end twice."""
    with pytest.raises(IllegalTransition):
        Build("key").after(told("build", event)[0])
    with pytest.raises(IllegalTransition):
        streams.fold("key", told("build", REQUESTED, DONE, DONE))


def test_every_wish_is_settled_by_every_end() -> None:
    """Else it would stay open for ever."""
    assert all(REQUESTED.stored_as in end.settles for end in ENDS)
    assert REQUESTED.intent


def test_an_entry_holds_an_image_until_it_is_dropped() -> None:
    """And may hold another one after that."""
    assert fold_entry("key", told("cache", STORED, CacheUsed(build="c"))) == Entry("key", 2, "sha256:i", 7)
    assert fold_entry("key", told("cache", STORED, CacheDropped(freed=7))) == Entry("key", 2)
    assert fold_entry("key", told("cache", STORED, CacheDropped(), STORED)).image_id == "sha256:i"
    for event in (CacheUsed(build="c"), CacheDropped()):
        with pytest.raises(IllegalTransition):
            fold_entry("key", told("cache", event))


def test_the_row_of_a_build_says_how_far_it_is_and_how_it_ended() -> None:
    """Also which of its steps were found."""
    cached = DONE.model_copy(update={"number": 1, "how": "cached"})
    found = row(Builds(), "build", REQUESTED, cached, STARTED, DONE, FINISHED)
    assert found is not None
    assert (found["state"], found["done"], found["cached"], found["finished"]) == ("finished", 2, 1, 50)
    failed = row(
        Builds(), "build", REQUESTED, StepFailed(number=1, stage="", text="", reason="no"), BuildFailed(reason="no")
    )
    assert failed is not None
    assert (failed["state"], failed["error"]) == ("failed", "no")
    cancelled = row(Builds(), "build", REQUESTED, BuildCancelled(by="engine"))
    assert cancelled is not None
    assert cancelled["error"] == "cancelled by the engine"


def test_the_row_of_an_entry_counts_its_uses_and_goes_with_it() -> None:
    """What was not used for the longest time is dropped first."""
    found = row(BuildCache(), "cache", STORED, CacheUsed(build="c"), CacheUsed(build="d"))
    assert found is not None
    assert (found["uses"], found["used"], found["created"], found["inputs"]) == (2, 30, 10, [["base", "1"]])
    assert row(BuildCache(), "cache", STORED, CacheDropped()) is None


def test_rows_are_touched_by_their_own_streams_only() -> None:
    """Streams are folded apart."""
    assert row(Builds(), "cache", STORED) is None
    assert row(BuildCache(), "build", REQUESTED) is None


def test_builds_are_told_in_the_words_of_the_industry() -> None:
    """`builder build` with its image; steps are no news."""
    narrator = Narrator()
    notices = [
        notice for record in told("build", REQUESTED, STARTED, DONE, FINISHED) for notice in narrator.tell(record)
    ]
    assert [(n.kind, n.action, n.attributes["name"]) for n in notices] == [("builder", "build", "app:1")]
    assert [n.action for record in told("cache", STORED, CacheDropped(freed=7)) for n in narrator.tell(record)] == [
        "prune"
    ]


def test_the_history_says_what_a_step_depends_on_and_why_it_was_not_found() -> None:
    """In one line; values are not in it."""
    assert detail(STARTED) == "2 of one: RUN make cause='base changed' inputs=base,command"
    assert detail(DONE) == "2 of one: RUN make (ran) key=k"
