"""Samples and what is said about them: medians, tenth and ninetieth percentiles, ratios. Owns no clock.

Machines are noisy and get slower and faster while they are watched, so contestants take turns (A B A B …, and B A B A …
in every other round): a disturbance hits all of them. Ratios of medians are what to trust, not milliseconds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Summary:
    """The middle and the edges of some samples."""

    count: int
    median: float
    p10: float
    p90: float

    def inverse(self, factor: float = 1.0) -> "Summary":
        """A rate from durations: the edges change sides."""
        return Summary(self.count, factor / self.median, factor / self.p90, factor / self.p10)


def percentile(samples: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the samples lie, interpolated between neighbours."""
    ordered = sorted(samples)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def summary(samples: Sequence[float]) -> Summary:
    """Raises ValueError without samples."""
    if not samples:
        raise ValueError("nothing was measured")
    return Summary(len(samples), median(samples), percentile(samples, 0.1), percentile(samples, 0.9))


def ratio(ours: Summary, theirs: Summary) -> float:
    """How many times theirs ours is."""
    return ours.median / theirs.median


def interleave(
    contestants: Mapping[str, Callable[[], float]], rounds: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Let all contestants take turns; each returns what a turn took. The first `warm_up` rounds do not count."""
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    order = list(contestants.items())
    for turn in range(warm_up + rounds):
        for name, contestant in order if turn % 2 == 0 else reversed(order):
            value = contestant()
            if turn >= warm_up:
                samples[name].append(value)
    return samples
