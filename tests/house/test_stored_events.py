"""Stored events never change: somebody's log already holds them."""

import subprocess
import sys

import pytest

from tests.house.stored_events import book, breaks, known_events, shape
from tests.house.tree import ROOT


def test_no_stored_event_was_changed() -> None:
    """A log is read for years; a changed class would misread, or refuse, what is in it."""
    changed = [name for name, event in known_events().items() if name in book() and shape(event) != book()[name]]
    hint = f"additions are entered with: make event NAME='{' '.join(changed)}'; all else needs a new name"
    assert changed == [], hint


def test_no_stored_name_was_given_up() -> None:
    """The class of an event may retire from use, but not from reading."""
    assert sorted(book().keys() - known_events().keys()) == []


def test_every_new_event_is_entered_by_hand() -> None:
    """Entering it is the moment to look once more at a shape that can never be changed."""
    missing = sorted(known_events().keys() - book().keys())
    assert missing == [], f"make event NAME='{' '.join(missing)}'"


@pytest.mark.slow
def test_the_catalogue_alone_knows_every_event() -> None:
    """What the catalogue forgets to import, a daemon cannot read at start."""
    code = ("import domain.catalogue; from domain.messages import event_types; import sys; "
            "sys.stdout.write(' '.join(sorted(event_types())))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == sorted(known_events()), done.stderr


@pytest.mark.parametrize(
    ("old", "new", "broken"),
    [
        ({"properties": {"a": {"type": "string"}}}, {"properties": {"a": {"type": "integer"}}}, True),
        ({"properties": {"a": {"type": "string"}}}, {"properties": {}}, True),
        ({"properties": {}}, {"properties": {"b": {"type": "string"}}, "required": ["b"]}, True),
        ({"properties": {}}, {"properties": {"b": {"type": "string", "default": ""}}}, False),
        ({"properties": {"a": {"enum": ["x"]}}}, {"properties": {"a": {"enum": ["x", "y"]}}}, True),
        ({"properties": {"a": {}}, "required": ["a"]}, {"properties": {"a": {"default": 1}}}, False),
        ({"properties": {"a": {"default": 1}}}, {"properties": {"a": {"default": 2}}}, True),
        ({"properties": {"a": {}}}, {"properties": {"a": {"minimum": 0}}}, True),
        ({"sealed": []}, {"sealed": ["env"]}, True),
    ],
)
def test_only_additions_with_a_default_are_additions(
    old: dict[str, object], new: dict[str, object], broken: bool
) -> None:
    """The command that enters events must refuse exactly what old logs could not bear."""
    assert bool(breaks(old, new)) is broken
