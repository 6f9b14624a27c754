"""What several commands read in the same way: filters, and options that are pairs."""

from collections.abc import Callable, Sequence
from typing import ParamSpec

from domain.options import OptionError, filter_pair

P = ParamSpec("P")
_AND_ED = "label"


def together(values: Sequence[str], test: Callable[[str, str], Callable[P, bool]]) -> Callable[P, bool]:
    """What `--filter` values mean together: those with the same key are or-ed, different keys and labels and-ed; `test`
    makes the test of one from its key and its value. Raises: OptionError for what is no `KEY=VALUE`, and what `test`
    raises."""
    groups: dict[str, list[Callable[P, bool]]] = {}
    for value in values:
        key, wanted = filter_pair(value)
        group = value if key == _AND_ED else key
        groups.setdefault(group, []).append(test(key, wanted))

    def fits(*args: P.args, **kwargs: P.kwargs) -> bool:
        return all(any(one(*args, **kwargs) for one in tests) for tests in groups.values())

    return fits


def pairs(spelling: str, items: Sequence[str], *, alone: bool = False) -> dict[str, str]:
    """`KEY=VALUE` items of the option that is spelled so; a key `alone` has an empty value. Raises: OptionError."""
    found: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not key or not (equals or alone):
            raise OptionError(f'invalid argument "{item}" for "{spelling}" flag: write it as KEY=VALUE')
        found[key] = value
    return found
