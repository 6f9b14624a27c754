"""The stored output of one container: where to begin, and reading on from there. Format: `domain.logs`. Blocking.

Segments are only ever read. They may be deleted meanwhile: the one that is being read stays readable, behind it is a
gap then, and its size is known.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from adapters.files.tail import Place, Tail
from domain import logs
from domain.ports.logs import LogFrame

Found = tuple[Place, LogFrame]
"""A frame and the place of its data."""

_BLOCK = 1 << 18
_BEGINNING = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Start:
    """The frame to begin with and the position there; of each stream in `cut` only what lies at or behind that place is
    wanted, of all nothing before the position `wanted`."""

    place: Place = _BEGINNING
    position: int = 0
    cut: dict[int, Place] = field(default_factory=dict)
    wanted: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is asked for; see the port."""

    since: int | None = None
    until: int | None = None
    tail: int | None = None
    start: int | None = None


class Stored:
    """The segments in `directory`, and one reader on its way through them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._place: Place = _BEGINNING
        self._position = 0
        self._fd = -1
        self._headers = 0  # how many bytes of a header count as output: none but in old files

    def size(self) -> int:
        """Bytes that there are now."""
        return sum(self._size(segment) for segment in self.segments())

    def segments(self) -> list[logs.Segment]:
        """As they are now."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        return logs.segments(names, lambda name: _size(self._directory / name))

    def end(self) -> Place:
        """Behind the last byte that there is now."""
        segments = self.segments()
        return (*segments[-1][:2], self._size(segments[-1])) if segments else _BEGINNING

    def end_position(self) -> int:
        """The position there."""
        segments = self.segments()
        return self._position_at(segments[-1], self._size(segments[-1])) if segments else 0

    def start(self, end: Place, bounds: Bounds) -> Start:
        """Where to begin so that as little as possible is read for nothing."""
        if bounds.tail is not None and bounds.tail <= 0:
            return self._start_at(self.end_position())  # the end may lie within a frame, where nobody can begin to read
        if bounds.tail is not None:
            return self._start_of_tail(end, bounds.until, bounds.tail)
        if bounds.start is not None:
            return self._start_at(bounds.start)
        return self._start_before(bounds.since) if bounds.since is not None else Start()

    # Reading on ------------------------------------------------------------------------------------------------------

    def go_to(self, start: Start) -> None:
        """Read on from there."""
        self._place, self._position = start.place, start.position
        for segment in self.segments():
            if segment[:2] == start.place[:2]:
                self._open(segment)

    def waiting(self) -> int:
        """About how many bytes there are to read at once."""
        return max(os.fstat(self._fd).st_size - self._place[2], 0) if self._fd >= 0 else 0

    def next(self, end: Place | None, *, last: bool) -> list[Found]:
        """Frames that were not given yet, none when there are no more, or none before `end`.

        The frame at the very end of a segment may be half written: it is only given if this is the `last` look, or a
        newer segment exists.
        """
        if end is not None and self._place >= end:
            return []
        found = self._here(end, partial=False)
        if found:
            return found
        later = [segment for segment in self.segments() if segment[:2] > self._place[:2]]
        missed = 0
        while not (found := self._here(end, partial=last or bool(later))) and later:
            segment = later.pop(0)
            missed += max(segment.base - self._position, 0)
            self._place, self._position = (*segment[:2], 0), segment.base
            if end is not None and self._place >= end:
                break
            self._open(segment)
        return _after(missed, self._place, found)

    def close(self) -> None:
        """Let go of the segment."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self, segment: logs.Segment) -> None:
        self.close()
        self._headers = segment.data(0)
        try:
            self._fd = os.open(self._path(segment, logs.LOG), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._fd = -1  # deleted in this moment: what it held is missed

    def _here(self, end: Place | None, *, partial: bool) -> list[Found]:
        """Frames of the present segment."""
        base, attempt, offset = self._place
        length = min(_BLOCK, end[2] - offset) if end is not None and end[:2] == (base, attempt) else _BLOCK
        if self._fd < 0 or length <= 0:
            return []
        buffer = os.pread(self._fd, length, offset)
        found: list[Found] = []
        try:
            for frame in logs.frames(buffer):
                if frame.missing and not (partial and len(buffer) < _BLOCK):
                    break
                self._position += frame.stop - frame.start + self._headers
                if frame.start < frame.stop:
                    data = buffer[frame.start:frame.stop]
                    found.append(((base, attempt, offset + frame.start),
                                  LogFrame(frame.time, frame.stream, data, self._position)))
                self._place = (base, attempt, offset + frame.stop)
        except logs.Damaged:
            return found  # after a power cut: nothing behind it can be told apart
        return found

    # Looking for a place ---------------------------------------------------------------------------------------------

    def _start_before(self, since: int) -> Start:
        """A frame at or before the first one that is not older than `since`."""
        chosen = None
        for segment in self.segments():
            first = next(self._times(segment), None)
            if first is not None and first >= since:
                break
            chosen = segment if first is not None else chosen
        if chosen is None:
            return Start()
        return _at(chosen, self._last_entry(chosen, lambda entry: entry.time < since))

    def _start_at(self, position: int) -> Start:
        """The frame that holds the byte at `position`, or one a little before."""
        before = [segment for segment in self.segments() if segment.base <= position]
        if not before:
            return Start(position=position, wanted=position)
        entry = self._last_entry(before[-1], lambda entry: before[-1].base + entry.ahead <= position)
        return replace(_at(before[-1], entry), wanted=position)

    def _start_of_tail(self, end: Place, until: int | None, lines: int) -> Start:
        tail, segments = Tail(end, lines), [segment for segment in self.segments() if segment[:2] <= end[:2]]
        for segment, first, stop in self._all_blocks_backwards(segments, end):
            if tail.full:
                break
            tail.add((*segment[:2], first), self._pread(segment, first, stop - first), until)
        if tail.lacking:
            return Start(cut=tail.cut)
        for segment in segments:
            if segment[:2] == tail.first[:2]:
                return Start(tail.first, self._position_at(segment, tail.first[2]), tail.cut)
        return Start(tail.first, segments[-1].base if segments else 0, tail.cut)

    def _position_at(self, segment: logs.Segment, offset: int) -> int:
        """How many bytes of output lie before an offset at which a frame begins or the file ends."""
        entry = self._last_entry(segment, lambda entry: entry.offset <= offset)
        ahead, at = entry.ahead, entry.offset
        for next_at, length in self._headers_from(segment, entry.offset):
            if at >= offset:
                break
            ahead, at = ahead + segment.data(min(length, offset - at - logs.HEADER_SIZE)), next_at
        return segment.base + ahead

    def _all_blocks_backwards(self, segments: list[logs.Segment],
                              end: Place) -> Iterator[tuple[logs.Segment, int, int]]:
        for segment in reversed(segments):
            size = end[2] if segment[:2] == end[:2] else self._size(segment)
            for first, stop in self._blocks_backwards(segment, size):
                yield segment, first, stop

    def _blocks_backwards(self, segment: logs.Segment, size: int) -> Iterator[tuple[int, int]]:
        """(start, stop) of runs of whole frames, the last first, each about as long as the index's spacing."""
        count = self._entries(segment)
        while count and self._entry(segment, count - 1).offset >= size:
            count -= 1
        last = self._entry(segment, count - 1).offset if count else 0
        stops = [*self._spaced(segment, last, size), size]
        yield from zip(reversed(stops[:-1]), reversed(stops[1:]), strict=True)
        stop = last
        for number in range(count - 2, -2, -1):
            first = self._entry(segment, number).offset if number >= 0 else 0
            if first < stop:
                yield first, stop
            stop = first

    def _spaced(self, segment: logs.Segment, offset: int, size: int) -> Iterator[int]:
        """Offsets of frames from `offset` on, an index spacing apart: what the index lacks at its end."""
        previous = offset
        yield offset
        for after, _ in self._headers_from(segment, offset):
            if after >= size:
                return
            if previous + logs.INDEX_SPACING <= after:
                previous = after
                yield after

    def _headers_from(self, segment: logs.Segment, offset: int) -> Iterator[tuple[int, int]]:
        """(where the next one begins, length of its data) of each frame from `offset` on."""
        while len(header := self._pread(segment, offset, logs.HEADER_SIZE)) == logs.HEADER_SIZE:
            try:
                length = logs.parse_header(header).length
            except logs.Damaged:
                return
            offset += logs.HEADER_SIZE + length
            yield offset, length

    def _times(self, segment: logs.Segment) -> Iterator[int]:
        """When the first frame was written, if there is one."""
        with suppress(logs.Damaged):
            for frame in logs.frames(self._pread(segment, 0, logs.HEADER_SIZE)):
                yield frame.time

    def _last_entry(self, segment: logs.Segment, before: Callable[[logs.Entry], bool]) -> logs.Entry:
        size = segment.entry_size
        return logs.last_entry(self._entries(segment), lambda number: self._read_index(segment, number, size), before)

    def _path(self, segment: logs.Segment, ending: str) -> Path:
        return self._directory / (segment.name + ending)

    def _size(self, segment: logs.Segment) -> int:
        return _size(self._path(segment, logs.LOG))

    def _entries(self, segment: logs.Segment) -> int:
        return _size(self._path(segment, logs.INDEX)) // segment.entry_size

    def _entry(self, segment: logs.Segment, number: int) -> logs.Entry:
        return logs.decode_entry(self._read_index(segment, number, segment.entry_size))

    def _read_index(self, segment: logs.Segment, number: int, size: int) -> bytes:
        return _pread(self._path(segment, logs.INDEX), number * size, size) or bytes(size)

    def _pread(self, segment: logs.Segment, offset: int, length: int) -> bytes:
        return _pread(self._path(segment, logs.LOG), offset, length)


def _at(segment: logs.Segment, entry: logs.Entry) -> Start:
    return Start((segment.base, segment.attempt, entry.offset), segment.base + entry.ahead)


def _after(missed: int, place: Place, found: list[Found]) -> list[Found]:
    """What was found behind a gap tells how large it was; if nothing was, an empty frame does."""
    if not missed:
        return found
    if not found:
        return [(place, LogFrame(0, logs.STDOUT, b"", missed=missed))]
    (where, first), *rest = found
    return [(where, replace(first, missed=missed)), *rest]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _pread(path: Path, offset: int, length: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(fd, length, offset)
    finally:
        os.close(fd)
