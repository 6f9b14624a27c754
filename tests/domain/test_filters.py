"""Filters as clients write them, and what several of them mean together."""

import pytest

from domain.errors import InvalidValue
from domain.filters import of_query, pairs, together
from domain.options import OptionError


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], {"a1", "a2", "b1"}),
        (["letter=a"], {"a1", "a2"}),
        (["letter=a", "letter=b"], {"a1", "a2", "b1"}),
        (["letter=a", "digit=1"], {"a1"}),
        (["label=a", "label=1"], {"a1"}),
        (["label=a", "label=b"], set()),
    ],
)
def test_the_same_key_is_ored_and_everything_else_is_anded(values: list[str], found: set[str]) -> None:
    """Labels count as different keys."""
    fits = together(values, lambda key, wanted: lambda thing: wanted in thing)
    assert {thing for thing in ("a1", "a2", "b1") if fits(thing)} == found


def test_what_is_no_pair_is_refused() -> None:
    """There is no value to look for."""
    with pytest.raises(OptionError):
        together(["letter"], lambda key, wanted: lambda thing: True)


@pytest.mark.parametrize("text", ['{"label":["a=b","c"]}', '{"label":{"a=b":true,"c":true,"d":false}}'])
def test_both_forms_of_a_query_say_the_same(text: str) -> None:
    """Old clients write truths beside the values."""
    assert pairs(of_query(text, ("label",))) == ["label=a=b", "label=c"]
    assert of_query("", ()) == {}


@pytest.mark.parametrize("text", ["x", "[]", '{"label":1}', '{"other":["a"]}', "[" * 100_000])
def test_what_cannot_be_meant_is_refused(text: str) -> None:
    """Also a key that is not known there."""
    with pytest.raises(InvalidValue):
        of_query(text, ("label",))
