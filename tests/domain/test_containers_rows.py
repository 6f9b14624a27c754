"""The rows of containers: who is active, and what a change of state costs."""

from itertools import pairwise

from domain.container import LIVELY, State
from domain.lifecycle import MACHINE
from domain.lifecycle.exit import Exited, RestartScheduled
from domain.lifecycle.kill import KillRequested
from domain.lifecycle.pause import Paused, PauseRequested
from domain.lifecycle.remove import Removed, RemoveFailed, RemoveRequested
from domain.lifecycle.start import Started, StartFailed, StartRequested
from domain.lifecycle.stop import StopRequested
from domain.lifecycle.unpause import Unpaused, UnpauseRequested
from domain.messages import Event
from domain.projections.containers import Containers
from domain.projections.fold import Row
from domain.projections.replay import Shape
from tests.domain.stories import ID, Story

AT_REST = {State.CREATED, State.EXITED, State.DEAD}
STARTED = Started(attempt=1, pid=10, start_time=1, cgroup="a.1", boot="b")
RUN: tuple[Event, ...] = (StartRequested(attempt=1), STARTED)
AGAIN: tuple[Event, ...] = (
    StartRequested(attempt=2), Started(attempt=2, pid=11, start_time=1, cgroup="a.2", boot="b")
)
PAUSE: tuple[Event, ...] = (PauseRequested(), Paused(), UnpauseRequested(), Unpaused())
ENDS: tuple[Event, ...] = (StopRequested(signal=15, timeout=1), KillRequested(signal=9), Exited(attempt=1, code=137))


def rows_after(*events: Event) -> list[Row | None]:
    """The container's row after its creation and after each of the events."""
    story, table = Story(), Containers()
    for event in events:
        story.tell(event)
    rows: list[Row | None] = []
    for record in story.records:
        rows.append(table.fold(rows[-1] if rows else None, record, ID))
    return rows


def test_a_container_is_active_in_the_states_that_ps_shows() -> None:
    """`ps` finds what runs by this column alone."""
    lives = (
        (*RUN, *PAUSE, *ENDS, RemoveRequested(force=False), RemoveFailed(residue="busy")),
        (*RUN, Exited(attempt=1, code=1), RestartScheduled(attempt=1, delay=0, count=1), *AGAIN),
        (StartRequested(attempt=1), StartFailed(attempt=1, reason="no such file", exit_code=127)),
    )
    rows = [row for life in lives for row in rows_after(*life) if row is not None]
    assert {State(str(row["state"])) for row in rows} >= {*LIVELY, *AT_REST, State.STARTING, State.REMOVING}
    assert all(row["active"] == (1 if row["state"] in LIVELY else None) for row in rows)


def test_only_the_beginning_and_the_end_of_a_run_touch_an_index() -> None:
    """Every index that changes is one more page that an append has to write before it is durable."""
    table = Containers()
    indexed = {column.name for column in table.columns if column.unique or column.indexed}
    life = (*RUN, *PAUSE, *ENDS, RemoveRequested(force=False))
    rows = [row for row in rows_after(*life) if row is not None]
    changed = [set(Shape(table.columns).changed(*pair)) for pair in pairwise(rows)]
    assert all(changed)
    touching = [event for event, columns in zip(life, changed, strict=True) if columns & indexed]
    assert [type(event) for event in touching] == [Started, Exited]


def test_what_an_event_changes_is_what_differs_in_the_row_after_it() -> None:
    """Appends write the one, a rebuild folds the other."""
    table = Containers()
    for life in ((*RUN, *PAUSE, *ENDS), (*RUN, Exited(attempt=1, code=0), RemoveRequested(force=True), Removed())):
        rows, story = rows_after(*life), Story()
        for event in life:
            story.tell(event)
        for record, before, after in zip(story.records[1:], rows[:-1], rows[1:], strict=True):
            assert before is not None
            changes = table.changes(before, record)
            assert changes is None if after is None else after == {**before, **(changes or {})}
            assert set(changes or ()) <= set(Shape(table.columns).names)


def test_a_start_keeps_the_time_of_the_end_before() -> None:
    """`inspect` of what runs again says when it ended last, in the row as in the container itself."""
    story = Story()
    for event in (*RUN, Exited(attempt=1, code=0, ended=9), *AGAIN):
        story.tell(event)
    assert MACHINE.fold(ID, story.records).finished_at == 9
    rows = rows_after(*RUN, Exited(attempt=1, code=0, ended=9), *AGAIN)
    assert [row["finished_at"] for row in rows[-3:] if row is not None] == [9, 9, 9]


def test_a_removed_container_has_no_row() -> None:
    """Its name is free from then on."""
    assert rows_after(RemoveRequested(), Removed())[-1] is None
