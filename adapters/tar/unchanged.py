"""Files that need not be sent again: whoever gets the archive still has them as they are. Standard library only.

The sender is first told what is there, and for each file what stat(2) once said of it:

    10 a\\0dir/b STAT STAT         how many bytes of names, the names, and as many stats

What says the same now is left out of the archive. Behind the archive's end stands what the next one needs:

    2 1 0 5 3 STAT               how many were left out, how many were sent; the places of those in the list, and of
                                 these the number of the entry in the archive, and what stat(2) says of them

Numbers are native: both ends are on one machine. A file counts as unchanged when everything that stat(2) says is the
same, above all the time of its last change of any kind (ctime), which no program can set. Of a file that was changed
just now, or in what its clock calls the future, nothing is told: another change in the same tick of that clock would
not be seen (git calls this "racily clean"). Nor is anything told of files that may be on another machine, behind a
program of somebody's (their devices have the major number 0), or on a file system with coarse times.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from struct import Struct, error, pack, unpack_from

from adapters.tar.reader import Damaged, Source

_STAT = Struct("=QQQQQIII")
STAT_SIZE = _STAT.size
_COUNT = Struct("=I")
_COUNTS = Struct("=II")
_SENT = Struct(f"=I{STAT_SIZE}s")
_SETTLED = 2 * 10**9
"""Nanoseconds after which a change would be seen by any clock that file systems use."""
_COARSE = 10**7
"""A time that is a multiple of so many nanoseconds comes from a file system that knows no better, like FAT."""

_ALL = (1 << 64) - 1
"""Times before 1970 and after 2262 do not fit into 64 bits; what is left of them is as good."""


def stat_bytes(status: os.stat_result) -> bytes:
    """All that changes when a file does."""
    return _STAT.pack(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns & _ALL, status.st_ctime_ns & _ALL,
        status.st_mode, status.st_uid, status.st_gid,
    )


def listed(names: Iterable[bytes], stats: Iterable[bytes]) -> bytes:
    """What the sender is told; nothing if there are none. A name is never empty."""
    joined = b"\0".join(names)
    return _COUNT.pack(len(joined)) + joined + b"".join(stats) if joined else b""


def is_settled(status: os.stat_result, now: int) -> bool:
    """Whether the times of a file tell every change from now on."""
    changed = status.st_ctime_ns
    return changed <= now - _SETTLED and changed % _COARSE != 0 and os.major(status.st_dev) != 0


class Spared:
    """The sender's side: which files are left out, and what is said of all others."""

    def __init__(
        self, known: bytes, now: int, settled: Callable[[os.stat_result, int], bool] = is_settled
    ) -> None:
        """`now` is when the first file is looked at, in ns; see `is_settled`. Raises: Damaged."""
        names, self._stats = _read_list(known)
        self._places = {name: place for place, name in enumerate(names)}
        self._now, self._settled = now, settled
        self._left_out: list[int] = []
        self._sent: list[bytes] = []

    def spares(self, name: bytes, status: os.stat_result) -> bool:
        """Whether a file can be left out."""
        place = self._places.get(name)
        if place is None or self._stats[place] != stat_bytes(status):
            return False
        self._left_out.append(place)
        return True

    def sent(self, number: int, status: os.stat_result) -> None:
        """A file was sent, as the entry with this number; `status` is from before it was read."""
        if status.st_nlink == 1 and self._settled(status, self._now):
            self._sent.append(_SENT.pack(number, stat_bytes(status)))

    def end(self) -> bytes:
        """What stands behind the archive."""
        counts = _COUNTS.pack(len(self._left_out), len(self._sent))
        return counts + pack(f"={len(self._left_out)}I", *self._left_out) + b"".join(self._sent)


def spared_by(source: Source) -> Spared:
    """For an archive that is written from now on, by the list that comes from there. Raises: Damaged."""
    return Spared(b"".join(iter(source.more, b"")), time.time_ns())


def read_end(data: bytes) -> tuple[Sequence[int], Sequence[tuple[int, bytes]]]:
    """Places of what was left out, number and stat of what was sent; nothing at all from one who says nothing.

    Raises: Damaged.
    """
    if not data:
        return (), ()
    try:
        left_out, sent = _COUNTS.unpack_from(data)
        places = unpack_from(f"={left_out}I", data, _COUNTS.size)
        rest = memoryview(data)[_COUNTS.size + _COUNT.size * left_out :]
        if len(rest) != sent * _SENT.size:
            raise Damaged("the list of its files is damaged")
        return places, list(_SENT.iter_unpack(rest))
    except error as wrong:
        raise Damaged("the list of its files is damaged") from wrong


def _read_list(known: bytes) -> tuple[list[bytes], list[bytes]]:
    if not known:
        return [], []
    try:
        (length,) = _COUNT.unpack_from(known)
        joined, stats = known[_COUNT.size :][:length], known[_COUNT.size + length :]
        names = joined.split(b"\0")
        found = [stats[at : at + STAT_SIZE] for at in range(0, len(stats), STAT_SIZE)]
    except error as wrong:
        raise Damaged("the list of known files is damaged") from wrong
    if len(names) * STAT_SIZE != len(stats):
        raise Damaged("the list of known files is damaged")
    return names, found
