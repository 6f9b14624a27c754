"""Moments as clients of the API write them: seconds since 1970 with a fraction, or a time or duration as people do."""

from domain.errors import InvalidValue
from domain.text.times import parse_moment
from domain.text.units import SECOND


def moment(text: str, now: int) -> int:
    """Nanoseconds since 1970. Raises: InvalidValue."""
    whole, _, fraction = text.partition(".")
    if whole.isascii() and whole.isdigit() and len(whole) < 12:
        if fraction and not (fraction.isascii() and fraction.isdigit()):
            raise InvalidValue(f"invalid time: {text[:100]}")
        return int(whole) * SECOND + int(fraction[:9].ljust(9, "0"))
    try:
        found = parse_moment(text, now).time
    except InvalidValue:
        found = None
    if found is None:
        raise InvalidValue(f"invalid time: {text[:100]}", hint="write seconds since 1970, a time, or 10m")
    return found
