"""The options of `run` and `create` that say how to find out whether a container is well."""

from typing import cast

from domain.errors import InvalidValue
from domain.options import Option, OptionError, Parsed, flag, number, one
from domain.spec import HealthAction
from domain.text.units import SECOND, parse_duration
from workers.console.errors import UNREADABLE, Plain
from workers.requests import HealthRequest

ACTIONS = ("none", "restart", "kill")
OPTIONS: tuple[Option, ...] = (
    one("health-action", "", "What to do with a container that is unhealthy: none, restart, kill", value="action"),
    one("health-cmd", "", "Shell command that ends with status 0 if the container is well", value="command"),
    one("health-interval", "", "Time between two checks (30s if nothing else was said)", value="time"),
    number("health-retries", "", "Failures in a row that mean unhealthy (3 if nothing else was said)"),
    one("health-start-interval", "", "Time between two checks in the start period (5s)", value="time"),
    one("health-start-period", "", "Time in which failures of a starting container do not count", value="time"),
    one("health-timeout", "", "Time that one check may take (30s if nothing else was said)", value="time"),
    flag("no-healthcheck", "", "No check, also when the image has one"),
)
_NAMES = tuple(option.name for option in OPTIONS if option.takes_value)


def health(options: Parsed) -> HealthRequest:
    """What was asked for. Raises OptionError, Plain."""
    if options.flag("no-healthcheck"):
        if any(options.has(name) for name in _NAMES):
            raise _bad("--no-healthcheck conflicts with --health-* options")
        return HealthRequest(test=("NONE",))
    command = options.text("health-cmd")
    return HealthRequest(
        test=("CMD-SHELL", command) if command else (),
        interval=_seconds(options, "health-interval"),
        timeout=_seconds(options, "health-timeout"),
        start_period=_seconds(options, "health-start-period"),
        start_interval=_seconds(options, "health-start-interval"),
        retries=_retries(options.number("health-retries")),
        action=_action(options.text("health-action")),
    )


def _seconds(options: Parsed, name: str) -> float | None:
    text = options.one(name)
    if text is None:
        return None
    try:
        nanoseconds = parse_duration(text)
    except InvalidValue as error:
        raise OptionError(f'invalid argument "{text}" for "--{name}" flag: {error.message}', hint=error.hint) from error
    if nanoseconds < 0:
        raise _bad(f"--{name} cannot be negative")
    if 0 < nanoseconds < SECOND // 1000:
        raise _bad(f"--{name} cannot be less than 1ms")
    return nanoseconds / SECOND


def _retries(count: int | None) -> int | None:
    if count is not None and count < 0:
        raise _bad("--health-retries cannot be negative")
    return count


def _action(text: str) -> HealthAction:
    if text not in ("", *ACTIONS):
        raise _bad(f"invalid health action '{text}'", "use none, restart or kill")
    return cast(HealthAction, text or "none")


def _bad(message: str, hint: str = "") -> Plain:
    return Plain(message, hint=hint, status=UNREADABLE)
