"""What control groups of a host offer, and how the kernel writes sets of processors. Standard library only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from domain.errors import InvalidValue

_LAST_NUMBER = 8191  # CONFIG_NR_CPUS goes no further


@dataclass(frozen=True, slots=True)
class Control:
    """What the control groups of this host offer.

    `versions` maps a controller to 1 or 2; one that is missing is ruled by nobody. `files` are those that a group has.
    `processors` and `nodes` are the numbers of those that may be used. `weighing`: a disk divides its time by weights.
    """

    versions: Mapping[str, int]
    files: frozenset[str]
    processors: frozenset[int] = frozenset()
    nodes: frozenset[int] = frozenset()
    weighing: bool = True


def numbers(text: str, what: str = "list") -> frozenset[int]:
    """The numbers of `0-2,4`. Raises: InvalidValue."""
    found: set[int] = set()
    for part in text.split(","):
        low, dash, high = part.partition("-")
        if not all(each.isascii() and each.isdigit() and len(each) < 6 for each in ((low, high) if dash else (low,))):
            raise InvalidValue(f"invalid {what} {text!r}", hint="write it as 0-2,4")
        last = int(high) if dash else int(low)
        if last < int(low) or last > _LAST_NUMBER:
            raise InvalidValue(f"invalid {what} {text!r}", hint="write it as 0-2,4")
        found.update(range(int(low), last + 1))
    return frozenset(found)


def ranges(chosen: Iterable[int]) -> str:
    """Numbers as `0-2,4`; "none" for none."""
    runs: list[list[int]] = []
    for number in sorted(chosen):
        if runs and runs[-1][1] + 1 == number:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs) or "none"
