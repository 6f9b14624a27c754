"""A file that is read while it is still being written: an archive is looked through on its way, and not once more when
all of it is there."""

import os
import threading

from adapters.tar.reader import PIECE, Source


class Arriving(Source):
    """Whoever reads waits for what has not come yet; the file is only looked at, by places in it."""

    __slots__ = ("_changed", "_ended", "_file", "_place", "_written")

    def __init__(self, fd: int, start: int = 0) -> None:
        """`fd` stays the caller's; the archive begins at `start`."""
        super().__init__(-1, seekable=True)
        self._file, self._place, self._written, self._ended = fd, start, start, False
        self.offset = start
        self._changed = threading.Condition()

    def grow(self, count: int) -> None:
        """So many bytes more are in the file."""
        with self._changed:
            self._written += count
            self._changed.notify()

    def end(self) -> None:
        """No more come."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def more(self) -> bytes:
        """See Source."""
        piece = os.pread(self._file, min(self._awaited(1), PIECE), self._place)
        self._place += len(piece)
        return piece

    def _jump(self, count: int) -> bool:
        """See Source."""
        there = min(self._awaited(count), count)
        self._place += there
        self.offset += there
        return there == count

    def _awaited(self, count: int) -> int:
        """How much is there: at least that many bytes, if they come at all."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._written - self._place >= count)
            return self._written - self._place
