"""Reading the stored output of a container forward, in the small processes. Format: `domain.logs`."""

import os
from typing import NamedTuple

from domain import logs

_BLOCK = 1 << 17  # empty lines become a hundred times as long when they are written as JSON
_NOWHERE = logs.Segment(-1, 0, "")


class Piece(NamedTuple):
    """A frame; its data begins at `position`."""

    header: logs.Header
    data: bytes
    position: int


class Frames:
    """What lies in `directory` from about `position` on; it may begin a little before."""

    def __init__(self, directory: str, position: int) -> None:
        self._directory = directory
        self._segment = _NOWHERE
        self._fd = -1
        self._offset = 0
        self.position = position
        before = [segment for segment in self._segments() if segment.base <= position]
        if before:
            self._enter(before[-1], position)

    def read(self) -> tuple[int, list[Piece]]:
        """(bytes that were deleted before they could be read, frames behind them); no frames: there are no more yet.

        Raises: OSError.
        """
        missed = 0
        pieces = self._here()
        while not pieces:
            later = [segment for segment in self._segments() if segment[:2] > self._segment[:2]]
            pieces = self._here()
            if pieces or not later:
                break
            missed += max(later[0].base - self.position, 0)
            self._enter(later[0], later[0].base)
            pieces = self._here()
        return missed, pieces

    def close(self) -> None:
        """Release the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _segments(self) -> list[logs.Segment]:
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        return logs.segments(names, lambda name: os.stat(os.path.join(self._directory, name)).st_size)

    def _enter(self, segment: logs.Segment, position: int) -> None:
        self.close()
        path = os.path.join(self._directory, segment.name)
        self._segment, self._offset, self.position = segment, 0, segment.base
        try:
            self._fd = os.open(path + logs.LOG, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return  # deleted in this moment
        if position > segment.base:
            entry = _entry_before(path + logs.INDEX, segment, position - segment.base)
            self._offset, self.position = entry.offset, segment.base + entry.ahead

    def _here(self) -> list[Piece]:
        if self._fd < 0:
            return []
        buffer = os.pread(self._fd, _BLOCK, self._offset)
        pieces: list[Piece] = []
        start = self._offset
        try:
            for frame in logs.frames(buffer):
                if frame.missing:
                    break
                header = logs.Header(frame.time, frame.stream, frame.stop - frame.start, frame.attempt)
                pieces.append(Piece(header, buffer[frame.start:frame.stop], self.position))
                self.position += self._segment.data(header.length)
                self._offset = start + frame.stop
        except logs.Damaged:
            return pieces  # after a power cut: nothing behind it can be told apart
        return pieces


def _entry_before(path: str, segment: logs.Segment, ahead: int) -> logs.Entry:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return logs.Entry(0, 0, 0)
    try:
        size = segment.entry_size
        count = os.fstat(fd).st_size // size
        return logs.last_entry(count, lambda number: os.pread(fd, size, number * size), lambda e: e.ahead <= ahead)
    finally:
        os.close(fd)
