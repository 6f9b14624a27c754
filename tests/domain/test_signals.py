"""Signals by name and number."""

import signal

import pytest

from domain.errors import InvalidValue
from domain.signals import NUMBERS, name, number


@pytest.mark.parametrize("text", ["KILL", "SIGKILL", "kill", "sigkill", "9", " Kill "])
def test_a_signal_is_known_by_all_its_spellings(text: str) -> None:
    """Fingers differ."""
    assert number(text) == 9


@pytest.mark.parametrize("text", ["", "0", "65", "-1", "NOPE", "SIG", "9.0", "999999", "٩"])
def test_what_is_no_signal_is_refused(text: str) -> None:
    """0 only asks whether a process exists; that is not a signal to send."""
    with pytest.raises(InvalidValue, match=f"invalid signal: {text}"):
        number(text)


def test_the_table_is_that_of_the_kernel() -> None:
    """Compared with what the C library of this host says."""
    assert {
        s.name: s.value
        for s in signal.Signals
        if not s.name.startswith("SIGRT") and s.name not in ("SIGCLD", "SIGPOLL", "SIGIOT")
    } == {f"SIG{known}": value for known, value in NUMBERS.items() if not known.startswith("RT")}
    assert (number("RTMIN"), number("RTMIN+3"), number("RTMAX-1"), number("RTMAX")) == (34, 37, 63, 64)
    assert (name(9), name(37), name(200)) == ("SIGKILL", "SIGRTMIN+3", "200")
