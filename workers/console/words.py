"""What several commands read in the same way: options that are pairs."""

from collections.abc import Sequence

from domain.options import OptionError


def pairs(spelling: str, items: Sequence[str], *, alone: bool = False) -> dict[str, str]:
    """`KEY=VALUE` items of the option that is spelled so; a key `alone` has an empty value. Raises: OptionError."""
    found: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not key or not (equals or alone):
            raise OptionError(f'invalid argument "{item}" for "{spelling}" flag: write it as KEY=VALUE')
        found[key] = value
    return found
