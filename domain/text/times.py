"""Moments: nanoseconds since the epoch to text, and the forms in which people write a moment.

A moment is typed as a duration ago (`10m`), a number of an event (`1207`, `#1207`), seconds since the epoch
(`1764087363.5`: ten digits before the point), a date or time (`2026-11-25`, `2026-11-25T16:16:03Z`), or
`today`, `yesterday`, each also with a time (`yesterday 14:00`). Without a zone a written time is in `zone`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from domain.errors import InvalidValue
from domain.text.units import SECOND, parse_duration

ZERO = "0001-01-01T00:00:00Z"
_SMALLEST_EPOCH = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Moment:
    """Either a `time` (ns since the epoch) or a `position` in the log; the other one is None."""

    time: int | None = None
    position: int | None = None


def rfc3339(nanoseconds: int) -> str:
    """`2026-11-25T16:16:03.172544033Z`, trailing zeros of the fraction dropped; the zero time for 0."""
    if nanoseconds <= 0:
        return ZERO
    fraction = f".{nanoseconds % SECOND:09d}".rstrip("0").rstrip(".")
    return f"{_second(nanoseconds):%Y-%m-%dT%H:%M:%S}{fraction}Z"


def rfc3339_fixed(nanoseconds: int) -> str:
    """As `rfc3339`, always with nine digits: lines of logs and events stay aligned."""
    return f"{_second(nanoseconds):%Y-%m-%dT%H:%M:%S}.{nanoseconds % SECOND:09d}Z"


def created_at(nanoseconds: int) -> str:
    """`2026-11-25 16:11:02 +0000 UTC`."""
    return f"{_second(nanoseconds):%Y-%m-%d %H:%M:%S} +0000 UTC"


def local(nanoseconds: int, zone: tzinfo | None = None) -> str:
    """`2026-11-25 16:11:02.172 +0000`, in `zone` or that of the host."""
    moment = _second(nanoseconds).astimezone(zone)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{nanoseconds % SECOND // 1_000_000:03d} {moment:%z}"


def _second(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds // SECOND, UTC)


def parse_rfc3339(text: str) -> int:
    """Nanoseconds of a date with time and zone, or 0 when it is not one."""
    moment = _written(text, UTC)
    return 0 if moment is None else max(moment, 0)


def parse_moment(text: str, now: int, zone: tzinfo | None = None) -> Moment:
    """What `--since`, `--until` and `--at` mean at `now`. Raises InvalidValue."""
    body = text.strip()
    number = _number(body, now)
    if number is not None:
        return number
    written = _written(body, zone)
    if written is None:
        written = _day_word(body, now, zone)
    if written is not None:
        return Moment(time=written)
    try:
        return Moment(time=now - parse_duration(body))
    except InvalidValue:
        hint = "write 10m, 2h, 2026-11-25T14:00:00, 'yesterday 14:00', seconds since 1970, or the number of an event"
        raise InvalidValue(f"invalid time '{text}'", hint=hint) from None


def _number(text: str, now: int) -> Moment | None:
    plain = text.removeprefix("#")
    whole, _, fraction = plain.partition(".")
    if not whole.isascii() or not whole.isdigit() or len(whole) > 18:
        return None
    if not fraction and (plain != text or int(whole) < _SMALLEST_EPOCH):
        return Moment(position=int(whole))
    if not (fraction or "0").isdigit() or len(fraction) > 9:
        return None
    return Moment(time=int(whole) * SECOND + int(fraction.ljust(9, "0")))


def _written(text: str, zone: tzinfo | None) -> int | None:
    if len(text) < 10 or text[4:5] != "-" or text[7:8] != "-":
        return None
    head, fraction, tail = _split_fraction(text)
    try:
        moment = datetime.fromisoformat(head + tail)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone) if zone else moment.astimezone()
        seconds = (moment - datetime.fromtimestamp(0, UTC)) // timedelta(seconds=1)
    except (ValueError, OverflowError):
        return None
    return seconds * SECOND + int(fraction.ljust(9, "0")[:9])


def _split_fraction(text: str) -> tuple[str, str, str]:
    # datetime keeps microseconds only: the fraction is read apart.
    head, point, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return (head, digits or "0", rest[len(digits) :]) if point and digits else (text, "0", "")


def _day_word(text: str, now: int, zone: tzinfo | None) -> int | None:
    word, _, clock = text.partition(" ")
    days = {"today": 0, "yesterday": 1}.get(word)
    if days is None:
        return None
    day = _second(now).astimezone(zone).date() - timedelta(days=days)
    return _written(f"{day}T{clock.strip() or '00:00'}", zone)
