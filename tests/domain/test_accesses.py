"""Who has only looked: what is recorded at once, what is counted, and that no question is lost or counted twice."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.accesses import WINDOW, Access, Accessed, Due, Tally, accesses_of
from domain.audit import detail, steps, title
from domain.catalogue import projections
from domain.messages import Actor, Meta, Recorded, StreamId
from domain.notices import Narrator
from domain.text.units import SECOND
from tests.domain.stories import Story

WEB = StreamId("container", "4f" * 32)
DB = StreamId("container", "5a" * 32)
ANN = Actor(via="socket", user="ann", uid=1000, pid=7, command="docker logs web", host="here")
NOON = 1_700_000_000 * SECOND


def told(due: list[Due]) -> list[tuple[str, int, bool]]:
    """Command line, times and whether others are in it."""
    return [(each.actor.command, each.event.times, each.event.merged) for each in due]


def test_the_first_question_is_recorded_at_once_and_the_same_ones_are_counted() -> None:
    """A dashboard that asks every second costs one event in a quarter of an hour, and its count stands there."""
    tally = Tally()
    (first,) = tally.note(Access(ANN, "logs", WEB), NOON)
    assert first == Due(ANN, StreamId("access", f"container/{WEB.key}"), Accessed(what="logs"))
    later = replace(ANN, pid=8)
    for second in range(1, 900):
        assert tally.note(Access(later, "logs", WEB), NOON + second * SECOND) == []
    (count,) = tally.close(NOON + WINDOW)
    assert count.actor == later
    assert count.event == Accessed(
        what="logs", times=899, first=NOON + SECOND, last=NOON + 899 * SECOND)
    assert tally.note(Access(ANN, "logs", WEB), NOON + WINDOW + 1) == [], "it goes on in a window of its own"
    assert told(tally.close(NOON + 2 * WINDOW)) == [(ANN.command, 1, False)]
    assert tally.close(NOON + 3 * WINDOW) == []
    assert (tally.kept, tally.ends) == (0, None)
    assert told(tally.note(Access(ANN, "logs", WEB), NOON + 4 * WINDOW)) == [(ANN.command, 1, False)]


@pytest.mark.parametrize("other", [
    Access(ANN, "stats", WEB),
    Access(ANN, "logs", DB),
    Access(ANN, "logs", WEB, "it is not there"),
    Access(replace(ANN, user="bob", uid=1001), "logs", WEB),
    Access(replace(ANN, command="docker logs -f web"), "logs", WEB),
    Access(replace(ANN, via="nats"), "logs", WEB),
    Access(replace(ANN, host="there"), "logs", WEB),
])
def test_another_question_is_another_record(other: Access) -> None:
    """Who, from where, by which words, what, about what, and with which outcome: each of them matters."""
    tally = Tally()
    tally.note(Access(ANN, "logs", WEB), NOON)
    (due,) = tally.note(other, NOON + 1)
    assert (due.actor, due.stream) == (other.actor, accesses_of(other.object))
    assert (due.event.outcome, due.event.reason) == ("refused" if other.refused else "answered", other.refused)


def test_of_ever_other_command_lines_only_some_are_told_apart() -> None:
    """A script that changes its `--since` each time must not fill the log; how often it asked is not lost."""
    tally = Tally(most_lines=3)
    actors = [replace(ANN, command=f"docker logs --since {n} web") for n in range(10)]
    recorded = [due for n, actor in enumerate(actors) for due in tally.note(Access(actor, "logs", WEB), NOON + n)]
    assert [due.actor for due in recorded] == actors[:3]
    (rest,) = tally.close(NOON + WINDOW)
    assert (rest.actor.command, rest.actor.pid, rest.event.times, rest.event.merged) == ("", 0, 7, True)
    assert (rest.event.first, rest.event.last) == (NOON + 3, NOON + 9)


def test_more_counts_than_are_kept_end_the_oldest_windows_early() -> None:
    """Memory is bounded however many objects are asked for, and their counts are recorded before they are forgotten."""
    tally = Tally(most_kept=2)
    for _ in range(3):
        tally.note(Access(ANN, "logs", WEB), NOON)
    tally.note(Access(ANN, "logs", DB), NOON + 1)
    due = tally.note(Access(ANN, "stats", DB), NOON + 2)
    assert [(each.event.what, each.event.times) for each in due] == [("stats", 1), ("logs", 2)]
    assert tally.kept == 2


def test_a_reason_is_short_and_text() -> None:
    """It quotes names that clients make up, and must not be what cannot be stored."""
    (due,) = Tally().note(Access(ANN, "logs", WEB, "No such container: \udcff" + "x" * 1000), NOON)
    assert due.event.reason.startswith("No such container: \ufffdxx")
    assert len(due.event.reason) == 300


def test_a_clock_that_is_put_back_ends_windows() -> None:
    """They must not last until it has caught up."""
    tally = Tally()
    tally.note(Access(ANN, "logs", WEB), NOON)
    tally.note(Access(ANN, "logs", WEB), NOON)
    assert told(tally.close(NOON - WINDOW)) == [(ANN.command, 1, False)]


questions = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob"]), st.integers(0, 5), st.sampled_from(["logs", "stats"]),
        st.sampled_from([WEB, DB]), st.booleans(), st.integers(-3, 12),
    ),
    max_size=60,
)


@given(questions, st.integers(1, 20), st.integers(1, 4), st.integers(1, 6))
def test_counts_add_up_whatever_the_order_and_the_window(
    asked: list[tuple[str, int, str, StreamId, bool, int]], window: int, most_lines: int, most_kept: int
) -> None:
    """Of each user, for what, about what and with which outcome; and no more is kept than may be."""
    tally, now = Tally(window=window, most_lines=most_lines, most_kept=most_kept), NOON
    wanted: Counter[tuple[str, str, StreamId, str]] = Counter()
    due: list[Due] = []
    for user, line, what, about, refused, passed in asked:
        now += passed
        access = Access(replace(ANN, user=user, command=f"{what} {line}"), what, about, "no" if refused else "")
        due += tally.note(access, now)
        wanted[user, what, accesses_of(about), "refused" if refused else "answered"] += 1
        assert tally.kept <= most_kept
    due += tally.drain()
    found: Counter[tuple[str, str, StreamId, str]] = Counter()
    for each in due:
        assert each.event.times > 0
        found[each.actor.user, each.event.what, each.stream, each.event.outcome] += each.event.times
    assert found == wanted
    assert (tally.kept, tally.ends, tally.drain()) == (0, None, [])


@pytest.mark.parametrize(("event", "words"), [
    (Accessed(what="system df"), "system df"),
    (Accessed(what="logs", outcome="refused", reason="No such container: web"), "logs refused: No such container: web"),
    (Accessed(what="ps", times=3, first=NOON, last=NOON), "ps 3 times more, from "),
    (Accessed(what="ps", times=1, first=NOON, last=NOON, merged=True), "ps once more, from "),
])
def test_a_step_says_it_in_words(event: Accessed, words: str) -> None:
    """What, how often, and how it went."""
    assert title(event) == "accessed"
    assert detail(event).startswith(words)
    assert detail(event).endswith("by other command lines") is event.merged


def test_who_looks_changes_nothing_and_nobody_hears_of_it() -> None:
    """No row of any projection, no state, no line of `events`: its step stands between the others, with their state."""
    story = Story()
    looked = Recorded(99, accesses_of(story.records[0].stream), 1, story.now, Accessed(what="logs"), Meta(actor=ANN))
    assert [projection.keys(looked) for projection in projections()] == [()] * len(projections())
    assert Narrator().tell(looked) == ()
    told = list(steps([*story.records, looked]))
    assert (told[-1].event, told[-1].state, told[-1].by, told[-1].took) == ("accessed", "created", "ann", None)
    assert told[-1].detail == "logs"
