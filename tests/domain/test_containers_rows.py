"""The rows of containers: who is active, and what a change of state costs."""

from itertools import pairwise

from domain.container import State
from domain.lifecycle import MACHINE
from domain.lifecycle.exit import Exited
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


def test_a_container_is_active_in_every_state_but_those_of_rest() -> None:
    """`ps` finds what runs by this column, and would miss what lacks it."""
    lives = (
        (*RUN, *PAUSE, *ENDS, RemoveRequested(force=False), RemoveFailed(residue="busy")),
        (StartRequested(attempt=1), StartFailed(attempt=1, reason="no such file", exit_code=127)),
    )
    rows = [row for life in lives for row in rows_after(*life) if row is not None]
    assert {State(str(row["state"])) for row in rows} >= {State.RUNNING, State.PAUSED, State.STOPPING, *AT_REST}
    assert all(row["active"] == (None if row["state"] in AT_REST else 1) for row in rows)


def test_within_a_run_no_change_of_state_touches_an_index() -> None:
    """Every index that changes is one more page that an append has to write before it is durable."""
    table = Containers()
    indexed = {column.name for column in table.columns if column.unique or column.indexed}
    rows = [row for row in rows_after(*RUN, *PAUSE, StopRequested(signal=15, timeout=1)) if row is not None][1:]
    changed = [set(Shape(table.columns).changed(*pair)) for pair in pairwise(rows)]
    assert all(changed)
    assert not indexed & set().union(*changed)


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
    again = (StartRequested(attempt=2), Started(attempt=2, pid=11, start_time=1, cgroup="a.2", boot="b"))
    story = Story()
    for event in (*RUN, Exited(attempt=1, code=0, ended=9), *again):
        story.tell(event)
    assert MACHINE.fold(ID, story.records).finished_at == 9
    rows = rows_after(*RUN, Exited(attempt=1, code=0, ended=9), *again)
    assert [row["finished_at"] for row in rows[-3:] if row is not None] == [9, 9, 9]


def test_a_removed_container_has_no_row() -> None:
    """Its name is free from then on."""
    assert rows_after(RemoveRequested(), Removed())[-1] is None
