"""Health checks: what image and user ask for together, and what a row of probes means."""

import pytest

from domain.errors import InvalidValue
from domain.health import (
    KEPT,
    MOST_OUTPUT,
    SECOND,
    TOO_LATE,
    Probe,
    Verdict,
    Wanted,
    argv,
    as_config,
    health_check,
    judged,
    legible_output,
    pause,
)
from domain.spec import HealthCheck

IMAGE = {"Test": ["CMD-SHELL", "wget localhost"], "Interval": 5 * SECOND, "Retries": 7}


def probe(code: int = 0, at: float = 100.0) -> Probe:
    """One look, `at` seconds after the start."""
    return Probe(int(at * SECOND), int(at * SECOND) + 1, code, "")


def test_without_a_test_there_is_no_check() -> None:
    """Times alone mean nothing."""
    assert health_check(Wanted(interval=3.0), None) is None
    assert health_check(Wanted(), {}) is None
    assert health_check(Wanted(), {"Test": []}) is None


def test_the_check_of_the_image_is_taken_over_and_can_be_changed_in_parts() -> None:
    """What is not asked for is as the image says, and else the default."""
    assert health_check(Wanted(), IMAGE) == HealthCheck(test=("CMD-SHELL", "wget localhost"), interval=5.0, retries=7)
    changed = health_check(Wanted(test=("CMD", "true"), retries=1, timeout=0.5, action="kill"), IMAGE)
    assert changed == HealthCheck(test=("CMD", "true"), interval=5.0, timeout=0.5, retries=1, action="kill")


@pytest.mark.parametrize("wanted", [Wanted(test=("NONE",)), Wanted()])
def test_none_is_no_check(wanted: Wanted) -> None:
    """Said by the user about the image's, or by the image about that of the one below."""
    assert health_check(wanted, IMAGE if wanted.test else {"Test": ["NONE"]}) is None


def test_zeros_are_the_defaults() -> None:
    """As the industry's configs mean them."""
    zeros = {"Test": ["CMD", "true"], "Interval": 0, "Timeout": 0, "StartPeriod": 0, "StartInterval": 0, "Retries": 0}
    check = health_check(Wanted(interval=0.0, retries=0), zeros)
    assert check == HealthCheck(test=("CMD", "true"))
    assert (check.interval, check.timeout, check.start_period, check.start_interval, check.retries) == (30, 30, 0, 5, 3)


@pytest.mark.parametrize(
    ("wanted", "image", "text"),
    [
        (Wanted(test=("EXEC", "x")), None, "Unknown healthcheck type 'EXEC'"),
        (Wanted(test=("CMD",)), None, "Unknown healthcheck type"),
        (Wanted(interval=0.0005), IMAGE, "Interval in Healthcheck cannot be less than 1ms"),
        (Wanted(), {**IMAGE, "StartPeriod": 1000}, "StartPeriod in Healthcheck cannot be less than 1ms"),
        (Wanted(timeout=-1.0), IMAGE, "Timeout in Healthcheck cannot be less than 1ms"),
        (Wanted(action="kill"), None, "needs a health check"),
        (Wanted(test=("NONE",), action="restart"), IMAGE, "needs a health check"),
        (Wanted(retries=-1), IMAGE, "Retries in Healthcheck cannot be negative"),
    ],
)
def test_what_cannot_be_meant_is_refused(wanted: Wanted, image: object, text: str) -> None:
    """With the name of the value."""
    with pytest.raises(InvalidValue) as refused:
        health_check(wanted, image)
    assert text in str(refused.value)


def test_a_check_is_spelled_as_it_was_read() -> None:
    """`inspect` and a committed image say the same."""
    check = health_check(Wanted(), {**IMAGE, "StartPeriod": SECOND // 2})
    assert check is not None
    assert health_check(Wanted(), as_config(check)) == check
    assert as_config(check)["StartPeriod"] == SECOND // 2


def test_a_shell_form_goes_through_the_shell_of_the_container() -> None:
    """And the other one does not."""
    assert argv(HealthCheck(test=("CMD-SHELL", "a && b"))) == ("/bin/sh", "-c", "a && b")
    assert argv(HealthCheck(test=("CMD", "wget", "x"))) == ("wget", "x")


def test_one_success_is_enough_and_failures_in_a_row_are_counted() -> None:
    """A success in between begins the count anew."""
    check, verdict = HealthCheck(test=("CMD", "x"), retries=3), Verdict("starting")
    told = []
    for code in (0, 1, 1, 0, 1, TOO_LATE, 1, 1, 0):
        verdict = judged(verdict, probe(code), check, 0)
        told.append((verdict.status, verdict.streak))
    assert told == [
        ("healthy", 0), ("healthy", 1), ("healthy", 2), ("healthy", 0), ("healthy", 1), ("healthy", 2),
        ("unhealthy", 3), ("unhealthy", 4), ("healthy", 0),
    ]  # fmt: skip


def test_failures_in_the_start_period_do_not_count_and_a_success_ends_it() -> None:
    """A database that takes its time is not unhealthy; one that was well and fails is."""
    check = HealthCheck(test=("CMD", "x"), retries=1, start_period=10.0)
    early = judged(Verdict("starting"), probe(1, at=9.9), check, 0)
    assert (early.status, early.streak) == ("starting", 0)
    assert judged(early, probe(1, at=10.0), check, 0).status == "unhealthy"
    well = judged(early, probe(0, at=2.0), check, 0)
    assert judged(well, probe(1, at=3.0), check, 0).status == "unhealthy"


def test_a_clock_that_was_set_back_does_not_prolong_the_start() -> None:
    """Else failures would not count until it has caught up."""
    check = HealthCheck(test=("CMD", "x"), retries=1, start_period=10.0)
    assert judged(Verdict("starting"), probe(1, at=5.0), check, 60 * SECOND).status == "unhealthy"
    assert pause("starting", check, 60 * SECOND, 5 * SECOND) == 30.0


def test_the_last_probes_are_kept() -> None:
    """Also those that did not count."""
    check, verdict = HealthCheck(test=("CMD", "x"), start_period=1000.0), Verdict("starting")
    for second in range(9):
        verdict = judged(verdict, probe(1, at=second), check, 0)
    assert [look.start // SECOND for look in verdict.probes] == [4, 5, 6, 7, 8]
    assert len(verdict.probes) == KEPT


def test_probes_are_closer_together_while_a_container_starts() -> None:
    """As long as it has a start period and was not well yet."""
    check = HealthCheck(test=("CMD", "x"), start_period=10.0)
    assert pause("starting", check, 0, 9 * SECOND) == 5.0
    assert pause("starting", check, 0, 10 * SECOND) == 30.0
    assert pause("healthy", check, 0, 1 * SECOND) == 30.0
    assert pause("starting", HealthCheck(test=("CMD", "x")), 0, 0) == 30.0


def test_the_output_of_a_probe_is_limited() -> None:
    """And may hold any bytes."""
    assert legible_output(b"fine\n") == "fine\n"
    assert legible_output(b"\xff") == "\ufffd"
    assert legible_output(b"x" * MOST_OUTPUT) == "x" * MOST_OUTPUT
    assert legible_output(b"x" * 9999) == "x" * MOST_OUTPUT + "..."
