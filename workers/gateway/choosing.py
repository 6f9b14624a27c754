"""What a prune takes: `filters` by when something was made and by its labels."""

import time
from collections.abc import Mapping, Sequence

from workers.console.pruning import Test, chosen
from workers.gateway.moments import moment

BY_AGE_AND_LABELS = ("label", "label!", "until")


def prunable(given: Mapping[str, Sequence[str]]) -> Test:
    """Whether something goes, by when it was made (ns) and its labels. Raises: InvalidValue."""
    now = time.time_ns()
    untils = [moment(text, now) for text in given.get("until", ())]
    labelled = chosen([f"{key}={text}" for key in ("label", "label!") for text in given.get(key, ())], now)
    return lambda created, labels: all(created < until for until in untils) and labelled(created, labels)


def truth(given: Mapping[str, Sequence[str]], name: str, *, default: bool) -> bool:
    """A filter that is true or false."""
    values = given.get(name, ())
    return default if not values else any(value.lower() in ("true", "1") for value in values)
