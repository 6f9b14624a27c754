"""Filters as clients write them, and what several of them mean together. Pure; the gateway's process imports it, so
it needs the standard library alone.

    label=a=b                                  on the command line, behind `--filter`
    {"label":["a=b"]}  {"label":{"a=b":true}}  in a query of the API
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec

from domain.errors import InvalidValue
from domain.options import filter_pair

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

    ored = [_any(tests) for tests in groups.values()]
    if len(ored) == 1:
        return ored[0]

    def fits(*args: P.args, **kwargs: P.kwargs) -> bool:
        return all(one(*args, **kwargs) for one in ored)

    return fits


def _any(tests: Sequence[Callable[P, bool]]) -> Callable[P, bool]:
    """Most filters have one value: that is asked at once, for one notice may be held against a thousand of them."""
    if len(tests) == 1:
        return tests[0]
    return lambda *args, **kwargs: any(one(*args, **kwargs) for one in tests)


def of_query(text: str, known: Sequence[str]) -> dict[str, list[str]]:
    """The filters of a query of the API; none in an empty text. Raises: InvalidValue for one that is not known."""
    if not text:
        return {}
    try:
        given = json.loads(text)
        found = {str(name): [str(value) for value in _chosen(values)] for name, values in given.items()}
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise InvalidValue(f"invalid filter: {text[:200]}") from error
    for name in found:
        if name not in known:
            raise InvalidValue(f"invalid filter '{name}'")
    return found


def pairs(given: Mapping[str, Sequence[str]]) -> list[str]:
    """Filters as the command line writes them."""
    return [f"{key}={value}" for key, values in given.items() for value in values]


def _chosen(values: object) -> Sequence[object]:
    if isinstance(values, dict):
        return [value for value, chosen in values.items() if chosen]
    if isinstance(values, list):
        return values
    raise TypeError("neither a list nor an object")
