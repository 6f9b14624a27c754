"""Limits of setrlimit(2) as people write them."""

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue
from domain.spec import Ulimit
from domain.ulimits import NUMBERS, checked_ulimit, parse_ulimit


@pytest.mark.parametrize(
    ("text", "soft", "hard"),
    [("nofile=1024:4096", 1024, 4096), ("nofile=7", 7, 7), ("core=0", 0, 0), ("memlock=-1", -1, -1),
     ("stack=8192:-1", 8192, -1)],
)
def test_one_number_is_both_and_minus_one_is_none(text: str, soft: int, hard: int) -> None:
    """As on the standard CLI."""
    assert parse_ulimit(text) == Ulimit(name=text.partition("=")[0], soft=soft, hard=hard)


@pytest.mark.parametrize(
    ("text", "told"),
    [("nofile", "invalid ulimit argument"), ("nofile=", "invalid ulimit argument"),
     ("nofile=a", "invalid ulimit argument"),
     ("nofile=-2", "invalid ulimit argument"), ("nofile=1:", "invalid ulimit argument"),
     ("files=1", "invalid ulimit type"),
     ("as=1", "invalid ulimit type"), ("nofile=1:2:3", "too many limit value arguments"),
     ("nofile=2:1", "must be less than or equal to hard limit: 2 > 1"), ("nofile=-1:5", "unlimited > 5"),
     ("nofile=9223372036854775808", "out of range"), ("nofile=\u0661", "invalid ulimit argument")],
)
def test_what_cannot_be_meant_names_the_value(text: str, told: str) -> None:
    """A typing mistake is no limit of 0."""
    with pytest.raises(InvalidValue, match=told):
        parse_ulimit(text)


@given(name=st.sampled_from(sorted(NUMBERS)), limits=st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1)))
def test_what_is_written_is_what_is_read(name: str, limits: tuple[int, int]) -> None:
    """And a request of a program obeys the same rule."""
    soft, hard = sorted(limits)
    assert checked_ulimit(parse_ulimit(f"{name}={soft}:{hard}")) == Ulimit(name=name, soft=soft, hard=hard)


def test_the_numbers_are_those_of_the_kernel() -> None:
    """As far as Python knows them."""
    known = {name: getattr(resource, f"RLIMIT_{name.upper()}", number) for name, number in NUMBERS.items()}
    assert known == NUMBERS
