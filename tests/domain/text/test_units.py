"""Sizes and durations read as in the industry's CLI."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue
from domain.text.units import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    ago,
    ago_changes,
    exact_duration,
    human_duration,
    human_size,
    memory_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (0, "Less than a second"),
        (SECOND - 1, "Less than a second"),
        (SECOND, "1 second"),
        (2 * SECOND, "2 seconds"),
        (59 * SECOND, "59 seconds"),
        (MINUTE, "About a minute"),
        (2 * MINUTE - 1, "About a minute"),
        (2 * MINUTE, "2 minutes"),
        (HOUR - 1, "59 minutes"),
        (HOUR, "About an hour"),
        (89 * MINUTE, "About an hour"),
        (90 * MINUTE, "2 hours"),
        (47 * HOUR, "47 hours"),
        (48 * HOUR, "2 days"),
        (13 * DAY, "13 days"),
        (14 * DAY, "2 weeks"),
        (59 * DAY, "8 weeks"),
        (60 * DAY, "2 months"),
        (729 * DAY, "24 months"),
        (730 * DAY, "2 years"),
        (-5, "Less than a second"),
    ],
)
def test_durations_are_told_in_one_word_and_a_number(duration: int, words: str) -> None:
    """CREATED and STATUS are read by people and matched by scripts."""
    assert human_duration(duration) == words
    assert ago(1000, 1000 + duration) == f"{words} ago"


@pytest.mark.parametrize(
    ("size", "digits", "text"),
    [
        (0, 3, "0B"),
        (5, 3, "5B"),
        (999, 3, "999B"),
        (1000, 3, "1kB"),
        (683_111, 3, "683kB"),
        (1_990_000, 3, "1.99MB"),
        (72_900_000, 3, "72.9MB"),
        (4_655_000, 4, "4.655MB"),
        (999_999, 3, "1000kB"),
        (2 * 10**12, 3, "2TB"),
    ],
)
def test_sizes_are_counted_in_thousands(size: int, digits: int, text: str) -> None:
    """Three digits for images, four elsewhere."""
    assert human_size(size, digits) == text


def test_memory_is_counted_in_1024() -> None:
    """As info and stats show it."""
    assert [memory_size(n) for n in (332 * 1024, 25_277_000_000, 0)] == ["332KiB", "23.54GiB", "0B"]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("64m", 64 << 20),
        ("1.5g", 3 << 29),
        ("2KiB", 2048),
        ("2kb", 2048),
        ("10B", 10),
        ("1T", 1 << 40),
        ("7 m", 7 << 20),
    ],
)
def test_sizes_that_people_type_are_powers_of_1024(text: str, size: int) -> None:
    """`64m` means what the kernel means."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1m", "1x", "1..2m", "1.m", "0x10", "1e3", "m1", "1bb", "٣m", "9" * 40])
def test_what_is_no_size_is_refused(text: str) -> None:
    """Never guess how much memory somebody meant."""
    with pytest.raises(InvalidValue):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("0", 0),
        ("1h2m3.5s", HOUR + 2 * MINUTE + 3_500_000_000),
        ("500ms", 500_000_000),
        ("1.5h", 90 * MINUTE),
        ("10us", 10_000),
        ("10µs", 10_000),
        ("3ns", 3),
        ("-2m", -2 * MINUTE),
        (".5s", SECOND // 2),
        ("1m30s", 90 * SECOND),
    ],
)
def test_durations_are_written_as_in_go(text: str, duration: int) -> None:
    """Scripts bring them from the standard CLI."""
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "5", "s", "1x", "1h2", "--1s", "1 h", "1.2.3s", "99999999999h", "1mm", "ms"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A plain number has no unit."""
    with pytest.raises(InvalidValue):
        parse_duration(text)


@given(st.integers(0, 10**18))
def test_every_duration_that_is_written_out_reads_back(nanoseconds: int) -> None:
    """Fractions are exact to the nanosecond."""
    assert parse_duration(f"{nanoseconds // SECOND}.{nanoseconds % SECOND:09d}s") == nanoseconds


@given(st.text(max_size=12))
def test_no_text_makes_the_readers_stumble(text: str) -> None:
    """What cannot be read is refused, in one way only."""
    for read in (parse_duration, parse_size):
        try:
            read(text)
        except InvalidValue:
            pass


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (350_000, "350us"),
        (12_300_000, "12.3ms"),
        (1_240_000_000, "1.24s"),
        (123 * SECOND, "2m 3s"),
        (3720 * SECOND, "1h 2m"),
        (999_999, "1ms"),
        (3 * DAY + HOUR, "3d 1h"),
    ],
)
def test_measured_times_have_three_digits(nanoseconds: int, text: str) -> None:
    """A step of history says how long it took, not more precisely than it matters."""
    assert exact_duration(nanoseconds) == text


@given(
    st.one_of(
        st.integers(-2 * MINUTE, 2 * HOUR),
        st.integers(0, 4 * 365 * DAY),
        st.integers(0, 40_000).flatmap(lambda hours: st.integers(-2, 2).map(lambda n: hours * 30 * MINUTE + n)),
    ),
    st.floats(0, 1),
)
def test_a_duration_in_words_holds_until_it_is_said_to_change(age: int, share: float) -> None:
    """No moment before is called otherwise, the moment itself is."""
    then = 1_764_087_362_123_456_789
    text, changes = ago(then, then + age), ago_changes(then, then + age)
    assert changes > then + age
    between = min(then + age + int((changes - 1 - then - age) * share), changes - 1)  # floats round up beyond 2**53
    assert ago(then, between) == ago(then, changes - 1) == text
    assert ago(then, changes) != text
