"""Recorded logs: today's code gives the recorded hash, digests, states and intents for every one of them."""

import pytest

from domain.catalogue import projections
from domain.lifecycle import MACHINE
from domain.messages import event_types
from tests.histories.record import FOLDER, line_of, read, records_of, rows_of, summary

HISTORIES = sorted(path.stem for path in FOLDER.glob("*.jsonl"))


@pytest.mark.parametrize("name", HISTORIES)
def test_what_was_recorded_is_what_todays_code_says(name: str) -> None:
    """A difference means: a stored event is read differently, or a projection has changed without a new revision."""
    recorded, rows = read(name)
    assert recorded["fault"] == ""
    assert summary(rows) == recorded


def test_the_histories_together_hold_every_event_of_a_container() -> None:
    """A new event needs a history that holds it."""
    seen = {record.event.stored_as for name in HISTORIES for record in records_of(read(name)[1])}
    assert {event.stored_as for event in MACHINE.moves} <= seen
    assert seen <= event_types().keys()


@pytest.mark.parametrize("name", HISTORIES)
def test_every_projection_says_something(name: str) -> None:
    """A digest over nothing would prove nothing."""
    recorded, _ = read(name)
    assert set(recorded["digests"]) == {projection.name for projection in projections()}


def test_a_line_is_the_event_it_was_made_from() -> None:
    """Also with text of other scripts in it."""
    _, rows = read(HISTORIES[0])
    assert list(rows_of(map(line_of, rows))) == rows
