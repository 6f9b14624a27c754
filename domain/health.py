"""Health checks: what an image and a user ask for together, and what a row of probes means. Pure.

An image's config spells a check like this, times in nanoseconds, what is left out is the default:

    {"Test": ["CMD-SHELL", "wget -q -O /dev/null localhost"], "Interval": 5000000000, "Retries": 3}

`Test` may also be `["CMD", program, argument, …]`, or `["NONE"]`: none, whatever the image below says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from domain.errors import InvalidValue
from domain.lifecycle.health import Status
from domain.spec import HealthAction, HealthCheck

SECOND = 1_000_000_000
MOST_OUTPUT = 4096
"""Characters of a probe's output that are kept."""
KEPT = 5
"""Probes that are remembered for `inspect`."""
TOO_LATE = -1
"""Exit code of a probe that was killed when its time was over."""
_SHELL = ("/bin/sh", "-c")
_LEAST = 0.001
_TIMES = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start_period": "StartPeriod",
    "start_interval": "StartInterval",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for besides the image; times in seconds; what is None or empty is as the image has it."""

    test: tuple[str, ...] = ()
    interval: float | None = None
    timeout: float | None = None
    start_period: float | None = None
    start_interval: float | None = None
    retries: int | None = None
    action: HealthAction = "none"


@dataclass(frozen=True, slots=True)
class Probe:
    """One look: times in ns since the epoch, the exit code of the command, and what it has written."""

    start: int
    end: int
    exit_code: int
    output: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the probes so far say: `streak` counts the failures in a row, `probes` are the last ones, oldest first."""

    status: Status
    streak: int = 0
    probes: tuple[Probe, ...] = ()


def health_check(wanted: Wanted, image: object) -> HealthCheck | None:
    """The check of a container; `image` is the entry of the image's config. None when nobody has named a test.

    Raises: InvalidValue, naming what cannot be meant.
    """
    given = image if isinstance(image, Mapping) else {}
    test = wanted.test or _strings(given.get("Test"))
    if not test or test[0] == "NONE":
        if wanted.action != "none":
            raise InvalidValue(f"the health action {wanted.action} needs a health check, and there is none")
        return None
    if test[0] not in ("CMD", "CMD-SHELL") or len(test) < 2 or any("\0" in part for part in test):
        raise InvalidValue(f"Unknown healthcheck type '{test[0]}' (expected 'CMD' or 'CMD-SHELL')")
    times = {name: _seconds(getattr(wanted, name), given.get(key), key) for name, key in _TIMES.items()}
    retries = wanted.retries or _whole(given.get("Retries"))
    if retries < 0:
        raise InvalidValue("Retries in Healthcheck cannot be negative")
    known = {name: value for name, value in times.items() if value}
    counted = {"retries": retries} if retries else {}
    return HealthCheck(test=test, action=wanted.action).model_copy(update={**known, **counted})


def _seconds(wanted: float | None, image: object, name: str) -> float:
    """Zero stands for the default."""
    seconds = wanted if wanted else _whole(image) / SECOND
    if seconds and seconds < _LEAST:
        raise InvalidValue(f"{name} in Healthcheck cannot be less than 1ms")
    return seconds


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _strings(value: object) -> tuple[str, ...]:
    return tuple(str(part) for part in value) if isinstance(value, list | tuple) else ()


def as_config(check: HealthCheck) -> dict[str, object]:
    """The check as an image's config and `inspect` spell it."""
    times = {key: round(getattr(check, name) * SECOND) for name, key in _TIMES.items()}
    return {"Test": list(check.test), **{key: value for key, value in times.items() if value}, "Retries": check.retries}


def argv(check: HealthCheck) -> tuple[str, ...]:
    """What a probe executes."""
    return check.test[1:] if check.test[0] == "CMD" else (*_SHELL, *check.test[1:])


def judged(before: Verdict, probe: Probe, check: HealthCheck, started_at: int) -> Verdict:
    """The verdict after one more probe of a run that began at `started_at` (ns).

    One success is enough. Failures of a starting container do not count while its start period lasts.
    """
    probes = (*before.probes, probe)[-KEPT:]
    if probe.exit_code == 0:
        return Verdict("healthy", 0, probes)
    if _starts(before.status, check, started_at, probe.start):
        return replace(before, probes=probes)
    streak = before.streak + 1
    return Verdict("unhealthy" if streak >= check.retries else before.status, streak, probes)


def pause(status: Status, check: HealthCheck, started_at: int, now: int) -> float:
    """Seconds between two probes: shorter ones while a container starts, if it has time to."""
    return check.start_interval if _starts(status, check, started_at, now) else check.interval


def _starts(status: Status, check: HealthCheck, started_at: int, now: int) -> bool:
    """Whether it has time to start. A clock that was set back before the start ends that time: it must not last on."""
    return status == "starting" and 0 <= now - started_at < check.start_period * SECOND


def legible_output(data: bytes) -> str:
    """What is kept of a probe's output."""
    text = data.decode("utf-8", "replace")
    return text if len(text) <= MOST_OUTPUT else text[:MOST_OUTPUT] + "..."
