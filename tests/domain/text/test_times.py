"""Moments: how they are shown and in which forms they may be typed."""

from datetime import UTC, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue
from domain.text.times import (
    Moment,
    created_at,
    local,
    parse_moment,
    parse_rfc3339,
    rfc3339,
    rfc3339_fixed,
)
from domain.text.units import DAY, MINUTE, SECOND

NOW = 1_764_087_363_172_544_033  # 2025-11-25T16:16:03.172544033Z


def test_moments_are_shown_in_three_forms() -> None:
    """inspect, logs -t and .CreatedAt each have their own."""
    assert rfc3339(NOW) == "2025-11-25T16:16:03.172544033Z"
    assert rfc3339(NOW // SECOND * SECOND + 500_000_000) == "2025-11-25T16:16:03.5Z"
    assert rfc3339_fixed(NOW // SECOND * SECOND) == "2025-11-25T16:16:03.000000000Z"
    assert created_at(NOW) == "2025-11-25 16:16:03 +0000 UTC"
    assert local(NOW, timezone(timedelta(hours=2))) == "2025-11-25 18:16:03.172 +0200"
    assert rfc3339(0) == "0001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("10m", Moment(time=NOW - 10 * MINUTE)),
        ("2s", Moment(time=NOW - 2 * SECOND)),
        ("1207", Moment(position=1207)),
        ("#7", Moment(position=7)),
        ("0", Moment(position=0)),
        ("1764087363", Moment(time=NOW // SECOND * SECOND)),
        ("1764087363.172544033", Moment(time=NOW)),
        ("2025-11-25T16:16:03.172544033Z", Moment(time=NOW)),
        ("2025-11-25T18:16:03.172544033+02:00", Moment(time=NOW)),
        ("2025-11-25T16:16:03", Moment(time=NOW // SECOND * SECOND)),
        ("2025-11-25 16:16", Moment(time=(NOW - 3 * SECOND) // SECOND * SECOND)),
        ("2025-11-25", Moment(time=NOW // DAY * DAY)),
        ("today", Moment(time=NOW // DAY * DAY)),
        ("yesterday", Moment(time=NOW // DAY * DAY - DAY)),
        ("yesterday 14:00", Moment(time=NOW // DAY * DAY - 10 * 60 * MINUTE)),
        (" 10m ", Moment(time=NOW - 10 * MINUTE)),
    ],
)
def test_one_set_of_forms_serves_all_commands(text: str, moment: Moment) -> None:
    """--since, --until and --at must not differ."""
    assert parse_moment(text, NOW, UTC) == moment


def test_a_written_time_without_a_zone_is_in_the_zone_of_the_reader() -> None:
    """People write the time that their clock shows."""
    zone = timezone(timedelta(hours=2))
    assert parse_moment("2025-11-25T18:16:03", NOW, zone) == Moment(time=NOW // SECOND * SECOND)


@pytest.mark.parametrize(
    "text", ["", "soon", "2025-13-01", "yesterday 25:00", "1.2.3", "12:00", "--1", "2025-11-25T", "10 apples"]
)
def test_what_is_no_moment_is_refused_with_the_forms(text: str) -> None:
    """The answer says what may be written."""
    with pytest.raises(InvalidValue) as caught:
        parse_moment(text, NOW, UTC)
    assert "10m" in caught.value.hint


@given(st.integers(1, 4_000_000_000 * SECOND))
def test_what_is_shown_reads_back(time: int) -> None:
    """A time copied from a list names the same moment."""
    assert parse_rfc3339(rfc3339(time)) == time
    assert parse_moment(rfc3339_fixed(time), NOW).time == time


@given(st.text(max_size=30))
def test_no_text_makes_the_reader_stumble(text: str) -> None:
    """Refused in one way only."""
    try:
        parse_moment(text, NOW)
    except InvalidValue:
        pass
