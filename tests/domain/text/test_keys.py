"""Detach keys: how they are spelled, and how they are found in what is typed, however it is cut into pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue
from domain.text.keys import Watch, parse

KEYS = st.lists(st.sampled_from(b"ab\x10"), min_size=1, max_size=5).map(bytes)
TYPED = st.lists(st.sampled_from(b"ab\x10\x11"), max_size=40).map(bytes)
CUTS = st.lists(st.integers(0, 40), max_size=8)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", b"\x10\x11"),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("ctrl-@,ctrl-a,ctrl-z", b"\x00\x01\x1a"),
        ("ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\x1b\x1c\x1d\x1e\x1f"),
        ("a,B,1", b"aB1"),
        ("-", b"-"),
    ],
)
def test_keys_are_single_characters_or_control_characters(text: str, wanted: bytes) -> None:
    """As people spell them for the standard CLI."""
    assert parse(text) == wanted


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-A", "ctrl-1", "ctrl-pq", "alt-x", "a,,b", ",", "ab", "é", "ctrl-é"])
def test_other_spellings_are_refused_by_name(text: str) -> None:
    """The person sees what was wrong, and the right form."""
    with pytest.raises(InvalidValue, match="invalid detach keys") as refused:
        parse(text)
    assert text in refused.value.message
    assert "ctrl-p,ctrl-q" in refused.value.hint


def fed(keys: bytes, pieces: list[bytes]) -> tuple[bytes, bool, bytes]:
    """What the program got, whether the keys were complete, and what was held back at the end."""
    watch = Watch(keys)
    got = b"".join([watch.feed(piece) for piece in pieces])
    return got, watch.complete, watch.rest()


@given(keys=KEYS, typed=TYPED)
def test_everything_before_the_first_occurrence_reaches_the_program_and_nothing_behind_it(
    keys: bytes, typed: bytes
) -> None:
    """The definition, without any cleverness."""
    before, found, _ = typed.partition(keys)
    got, complete, rest = fed(keys, [typed])
    assert complete == bool(found)
    assert got + rest == before


@given(keys=KEYS, typed=TYPED, cuts=CUTS)
def test_the_pieces_make_no_difference(keys: bytes, typed: bytes, cuts: list[int]) -> None:
    """Networks and terminals cut as they like."""
    edges = [0, *sorted(min(cut, len(typed)) for cut in cuts), len(typed)]
    pieces = [typed[a:b] for a, b in pairwise(edges)]
    assert fed(keys, pieces) == fed(keys, [typed])


@given(keys=KEYS, typed=TYPED)
def test_only_what_may_become_the_keys_is_held_back(keys: bytes, typed: bytes) -> None:
    """Else a person would not see what they type."""
    got, complete, rest = fed(keys, [typed])
    assert keys.startswith(rest)
    assert complete or got + rest == typed


def test_a_lone_first_key_waits_for_the_next_one() -> None:
    """^P alone is history in every shell: it comes late, but it comes."""
    watch = Watch(b"\x10\x11")
    assert [watch.feed(b"\x10"), watch.feed(b"\x10"), watch.feed(b"x")] == [b"", b"\x10", b"\x10x"]
    assert [watch.feed(b"\x10"), watch.feed(b"\x11more"), watch.feed(b"x")] == [b"", b"", b""]
    assert watch.complete
