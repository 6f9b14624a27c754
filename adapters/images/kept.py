"""Contexts of builds that have ended: most files of the next one from the same place are the same, and need not come.

Their archives stay in files without names, and what is known of them in memory, so nothing of it outlives the daemon.
What was kept is lent to one build at a time, and only to whom it came from: what a client says of its files is believed
of its own files alone. A context that is too large, or grew too much out of pieces, is sent anew the next time.
"""

import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from adapters.images.context import Context

MOST = 32
"""Each of them is an open file."""
MOST_BYTES = 256 << 20
MOST_FILES = 50_000
"""Of all together. What is known of a file takes less than a kilobyte."""
_JUMP = 10**9
"""Nanoseconds by which clocks drift apart without having been set."""
Origin = tuple[str, str, int, str]
"""How a client came, its name, its number, and the directory."""


def _set_by() -> int:
    """Changes when somebody sets the clock, in ns."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Kept:
    """`fd` is the file of the archives that the context consists of; `whole` was its length after the first of them."""

    fd: int
    context: Context
    whole: int
    clock: int

    @property
    def size(self) -> int:
        """In bytes."""
        return os.fstat(self.fd).st_size


class Shelf:
    """What is kept, the last used at the end. `clock` changes when the clock of files is set: then a time may come
    again, and nothing is believed any more."""

    def __init__(self, clock: Callable[[], int] = _set_by, *, bytes: int = MOST_BYTES, files: int = MOST_FILES) -> None:
        self._clock, self._most_bytes, self._most_files = clock, bytes, files
        self._kept: OrderedDict[Origin, Kept] = OrderedDict()

    def take(self, origin: Origin) -> Kept | None:
        """What is kept of there; its descriptor is the caller's now."""
        kept = self._kept.pop(origin, None)
        if kept is not None and abs(self._clock() - kept.clock) > _JUMP:
            os.close(kept.fd)
            return None
        return kept

    def put(self, origin: Origin, fd: int, context: Context, whole: int) -> None:
        """Keep it, if it is not too much; takes the descriptor over."""
        kept = Kept(fd, context, whole, self._clock())
        self.drop(origin)
        if not context.known or kept.size > min(2 * whole + (1 << 20), self._most_bytes):
            os.close(fd)
            return
        self._kept[origin] = kept
        while self._is_too_much():
            self.drop(next(iter(self._kept)))

    def drop(self, origin: Origin) -> None:
        """Keep nothing of there."""
        if (kept := self._kept.pop(origin, None)) is not None:
            os.close(kept.fd)

    def clear(self) -> None:
        """Keep nothing."""
        for origin in tuple(self._kept):
            self.drop(origin)

    def _is_too_much(self) -> bool:
        if len(self._kept) > MOST:
            return True
        files = sum(kept.context.files for kept in self._kept.values())
        return files > self._most_files or sum(kept.size for kept in self._kept.values()) > self._most_bytes
