"""Which layers and blobs must not be swept, although the log may not name them: those that an operation is using."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Lease:
    """What one operation holds; it grows while the operation goes on, in all its threads, and ends as a whole."""

    def __init__(self, leases: "Leases") -> None:
        self._leases = leases
        self._names: set[str] = set()
        self._lock = threading.Lock()

    def add(self, *names: str) -> None:
        """Hold these, too."""
        with self._lock:
            self._leases.take(set(names) - self._names)
            self._names |= set(names)

    def end(self) -> None:
        """Hold nothing any more; twice is fine."""
        with self._lock:
            self._leases.drop(self._names)
            self._names = set()


class Leases:
    """Counts holders by name; `unless_held` makes looking and acting one step."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._given: dict[str, list[Lease]] = {}

    def take(self, names: set[str]) -> None:
        """One more holder of each."""
        with self._lock:
            self._held.update(names)

    def drop(self, names: set[str]) -> None:
        """One holder less of each."""
        with self._lock:
            self._held.subtract(names)
            for name in names:
                if self._held[name] <= 0:
                    del self._held[name]

    def held(self) -> set[str]:
        """All names that somebody holds."""
        with self._lock:
            return set(self._held)

    @contextmanager
    def unless_held(self, name: str) -> Iterator[bool]:
        """Whether nobody holds the name; as long as the block lasts nobody can take it."""
        with self._lock:
            yield name not in self._held

    def give(self, key: str, lease: Lease) -> None:
        """Go on holding for whoever got `key`, until `release`."""
        with self._lock:
            self._given.setdefault(key, []).append(lease)

    def release(self, key: str) -> None:
        """One of those who got `key` does not need the lease any more; none is fine."""
        with self._lock:
            leases = self._given.get(key, [])
            lease = leases.pop() if leases else None
            if not leases:
                self._given.pop(key, None)
        if lease is not None:
            lease.end()
