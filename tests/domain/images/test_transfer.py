"""Transfers: when it is tried again, and from which byte."""

import pytest

from domain.errors import Refused
from domain.images.transfer import (
    LONGEST_PAUSE,
    TRIES,
    Resumed,
    asked_pause,
    next_page,
    pause,
    resumed,
    uploaded,
    with_digest,
)

NOW = 1_764_087_362.0


def test_pauses_grow_from_nothing_and_end() -> None:
    """The first try again comes at once: a connection that was cut is often fine the next moment."""
    pauses = [pause(failures) for failures in range(1, TRIES + 1)]
    known = [seconds for seconds in pauses if seconds is not None]
    assert known == sorted(known)
    assert (known[0], pauses[-1]) == (0.0, None)
    assert max(known) <= LONGEST_PAUSE


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "43"}, 43.0),
        ({"retry-after": "Tue, 25 Nov 2025 16:16:32 GMT"}, 30.0),
        ({"retry-after": "Tue, 25 Nov 2025 16:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 30}, None),
        ({"ratelimit-reset": "7"}, 7.0),
        ({}, None),
    ],
)
def test_a_server_says_how_long_to_wait_in_several_ways(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, a date, another header, or nothing that can be meant."""
    assert asked_pause(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("status", "header", "found"),
    [
        (206, "bytes 100-199/200", Resumed(0, 200)),
        (206, "bytes 90-199/*", Resumed(10, -1)),
        (200, "", Resumed(100, -1)),
    ],
)
def test_what_comes_is_put_in_its_place(status: int, header: str, found: Resumed) -> None:
    """Also from a server that knows no ranges, or gives more than was asked for."""
    assert resumed(status, header, 100, "x") == found


@pytest.mark.parametrize(("status", "header"), [(206, "bytes 101-199/200"), (206, ""), (204, "bytes 100-199/200")])
def test_a_gap_is_refused(status: int, header: str) -> None:
    """Nothing may be missing in the middle."""
    with pytest.raises(Refused):
        resumed(status, header, 100, "x")


@pytest.mark.parametrize(("header", "count"), [("0-99", 100), ("bytes=0-99", 100), ("0-0", 0), ("", 0), ("5-9", 0)])
def test_an_upload_is_where_its_server_says(header: str, count: int) -> None:
    """`0-0` is nothing."""
    assert uploaded(header) == count


def test_the_digest_is_appended_to_any_address() -> None:
    """With or without a query."""
    assert with_digest("/u", "sha256:x") == "/u?digest=sha256:x"
    assert with_digest("/u?s=1", "sha256:x") == "/u?s=1&digest=sha256:x"


@pytest.mark.parametrize(
    ("link", "after"),
    [('</v2/x?last=a>; rel="next"', "/v2/x?last=a"), ("<a>; rel=prev, <b>; rel=next", "b"), ("", ""), ("<a>", "")],
)
def test_pages_lead_to_the_next_one(link: str, after: str) -> None:
    """Relative or not."""
    assert next_page(link) == after
