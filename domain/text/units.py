"""Sizes and durations, in the words and roundings of the industry's CLI.

Durations are integers in nanoseconds. Sizes shown to people are 1000-based (`1.99MB`), memory is 1024-based
(`332KiB`); sizes that people type are 1024-based (`64m`).
"""

from domain.errors import InvalidValue

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_GO_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": SECOND, "m": MINUTE, "h": HOUR}
_LARGEST = 2**63 - 1
_DAYS, _WEEKS, _MONTHS, _YEARS = 48, 24 * 7 * 2, 24 * 30 * 2, 24 * 365 * 2
"""The hours from which on there are days, weeks, months and years."""
_SPANS = ((_DAYS, 1), (_WEEKS, 24), (_MONTHS, 24 * 7), (_YEARS, 24 * 30), (_LARGEST, 24 * 365))
"""Up to so many hours a word holds for so many."""
_POWERS = {"": 0, "b": 0} | {
    letter + tail: power for power, letter in enumerate("kmgtp", 1) for tail in ("", "b", "ib")
}


def human_duration(nanoseconds: int) -> str:
    """`About a minute`, `3 hours`, `2 weeks`: what CREATED and STATUS show."""
    seconds = max(nanoseconds, 0) // SECOND
    if seconds < 60:
        return _seconds(seconds)
    if seconds < 3600:
        minutes = seconds // 60
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = (seconds + 1800) // 3600
    if hours < _DAYS:
        return "About an hour" if hours == 1 else f"{hours} hours"
    return _days(hours)


def _seconds(seconds: int) -> str:
    if seconds < 1:
        return "Less than a second"
    return "1 second" if seconds == 1 else f"{seconds} seconds"


def _days(hours: int) -> str:
    if hours < _WEEKS:
        return f"{hours // 24} days"
    if hours < _MONTHS:
        return f"{hours // 24 // 7} weeks"
    if hours < _YEARS:
        return f"{hours // 24 // 30} months"
    return f"{hours // 24 // 365} years"


def ago(then: int, now: int) -> str:
    """`3 hours ago`."""
    return f"{human_duration(now - then)} ago"


def ago_changes(then: int, now: int) -> int:
    """The first moment after `now` at which the time since `then` is called otherwise than at `now`, in words of
    `human_duration`."""
    seconds = max(now - then, 0) // SECOND
    if seconds < 60:
        return then + (seconds + 1) * SECOND
    if seconds < 3600:
        return then + (seconds // 60 + 1) * MINUTE
    hours = (seconds + 1800) // 3600
    limit, step = next(span for span in _SPANS if hours < span[0])
    return then + min((hours // step + 1) * step, limit) * HOUR - 30 * MINUTE


def exact_duration(nanoseconds: int) -> str:
    """A measured time with three digits: `350us`, `12.3ms`, `1.24s`, `2m 3s`, `1h 2m`."""
    for unit, name in ((1_000, "us"), (1_000_000, "ms"), (SECOND, "s")):
        if nanoseconds < unit * (60 if name == "s" else 999.5):
            return f"{_digits(nanoseconds / unit, 3)}{name}"
    if nanoseconds < HOUR:
        return f"{nanoseconds // MINUTE}m {nanoseconds % MINUTE // SECOND}s"
    if nanoseconds < 2 * DAY:
        return f"{nanoseconds // HOUR}h {nanoseconds % HOUR // MINUTE}m"
    return f"{nanoseconds // DAY}d {nanoseconds % DAY // HOUR}h"


def go_duration(seconds: float) -> str:
    """As Go writes it: `500ms`, `1.5s`, `1m30s`."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.15g}ms"
    hours, minutes, rest = int(seconds // 3600), int(seconds % 3600 // 60), seconds % 60
    shown = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{shown}{round(rest, 6):g}s"


def human_size(size: float, digits: int = 3) -> str:
    """1000-based with `digits` significant digits: `72.9MB`; the `images` list has 3, everything else 4."""
    return _scaled(size, 1000.0, ("B", "kB", "MB", "GB", "TB", "PB", "EB"), digits)


def memory_size(size: float) -> str:
    """1024-based with 4 significant digits: `23.54GiB`."""
    return _scaled(size, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"), 4)


def _scaled(size: float, base: float, units: tuple[str, ...], digits: int) -> str:
    scale = 0
    while size >= base and scale < len(units) - 1:
        size /= base
        scale += 1
    return f"{_digits(size, digits)}{units[scale]}"


def _digits(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    # `g` falls into 1e+03 when the rounding makes one digit too many (999.6 with three digits).
    return str(round(value)) if "e" in text else text


def parse_size(text: str) -> int:
    """`64m`, `1.5g`, `100`, `2KiB` in bytes, 1024-based. Raises InvalidValue."""
    body = text.strip().lower()
    digits = body.rstrip("bikmgtp").rstrip()
    suffix = body[len(digits) :].lstrip()
    number = _decimal(digits)
    if number is None or suffix not in _POWERS:
        raise InvalidValue(f"invalid size: '{text}'", hint="a size is a number with b, k, m, g or t: 64m, 1.5g")
    return int(number * 1024 ** _POWERS[suffix])


def _decimal(text: str) -> float | None:
    whole, point, part = text.partition(".")
    digits = whole + part
    if not digits.isascii() or not digits.isdigit() or (point and not part) or len(digits) > 30:
        return None
    return float(text)


def parse_duration(text: str) -> int:
    """Nanoseconds of `1h2m3.5s`, `500ms`, `0`; a sign is allowed. Raises InvalidValue."""
    sign, body = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if body == "0":
        return 0
    total, rest = 0, body
    while rest:
        part, rest = _duration_part(rest, text)
        total += part
    if not body or total > _LARGEST:
        raise _bad_duration(text)
    return sign * total


def _duration_part(rest: str, text: str) -> tuple[int, str]:
    number = _leading(rest, "0123456789.")
    unit = _leading(rest[len(number) :], "nuµμmsh")
    while unit not in _GO_UNITS and len(unit) > 1:
        unit = unit[:-1]
    whole, _, fraction = number.partition(".")
    if unit not in _GO_UNITS or "." in fraction or not whole + fraction or len(number) > 30:
        raise _bad_duration(text)
    scale = _GO_UNITS[unit]
    exact = int(whole or "0") * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)
    return exact, rest[len(number) + len(unit) :]


def _leading(text: str, alphabet: str) -> str:
    return text[: len(text) - len(text.lstrip(alphabet))]


def _bad_duration(text: str) -> InvalidValue:
    return InvalidValue(f'invalid duration "{text}"', hint="a duration is written like 90s, 1h30m or 500ms")
