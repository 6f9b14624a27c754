"""Container output for readers: in order, by time, from the end, and on and on. Format: `domain.logs`.

Files are only ever read. Whoever asks for the last lines gets blocks read from the end (found through the index) until
enough line beginnings were seen; everything else starts at the index entry before `since` and walks forward.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

from domain import logs
from domain.errors import InvalidValue
from domain.ports import LogFrame

P = ParamSpec("P")
T = TypeVar("T")
Place = tuple[int, int]
"""(number of the file, offset in it): places compare as the output was written."""
Found = tuple[Place, LogFrame]
"""A frame and the place of its data."""

_BLOCK = 1 << 18
_LITTLE = 1 << 16
_FURTHER = 1 << 20
_HEXADECIMAL = frozenset("0123456789abcdef")
_STREAMS = (logs.STDOUT, logs.STDERR)


@dataclass(frozen=True, slots=True)
class _Start:
    """The frame to begin with; of each stream in `cut` only what lies at or behind that place is wanted."""

    place: Place
    cut: dict[int, Place] = field(default_factory=dict)


class LogFiles:
    """Reads below `root`, the directory that has one directory for each container."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def frames(self, id: str, *, since: int | None = None, until: int | None = None, tail: int | None = None,
                     follow: Callable[[], Awaitable[bool]] | None = None) -> AsyncIterator[LogFrame]:
        """See the port; `tail` counts lines. Without `follow` only what there is now. Raises: InvalidValue."""
        output = _Output(self._directory(id))
        end = await _beside(output, output.end)
        start = await _beside(output, output.start, end, since, until, tail)
        place, more = start.place, follow is not None
        while True:
            last = not more
            batch, place = await _beside(output, output.read, place, end if follow is None else None, last)
            for where, frame in batch:
                if until is not None and frame.time > until:
                    return
                if since is None or frame.time >= since:
                    data = _uncut(where, frame, start.cut.get(frame.stream))
                    if data:
                        yield LogFrame(frame.time, frame.stream, data)
            if batch:
                continue
            if last or follow is None:
                return
            more = await follow()

    def size(self, id: str) -> int:
        """Bytes of disk that the output of a container takes."""
        directory = self._directory(id)
        return sum(file.stat().st_size for file in directory.iterdir()) if directory.is_dir() else 0

    def _directory(self, id: str) -> Path:
        if not id or not _HEXADECIMAL.issuperset(id):
            raise InvalidValue("a container id is hexadecimal")
        return self._root / id


async def _beside(output: "_Output", look: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Look in a thread; for a little output the way there and back takes ten times as long as the look itself."""
    if output.size() <= _LITTLE:
        return look(*arguments, **named)
    return await asyncio.to_thread(look, *arguments, **named)


def _uncut(where: Place, frame: LogFrame, cut: Place | None) -> bytes:
    if cut is None or where >= cut:
        return frame.data
    return frame.data[cut[1] - where[1]:] if where[0] == cut[0] else b""


class _Output:
    """The files of one container. Blocking."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def size(self) -> int:
        """Bytes that there are now."""
        return sum(self._size(number) for number in self._numbers())

    def end(self) -> Place:
        """Behind the last byte that there is now."""
        numbers = self._numbers()
        return (numbers[-1], self._size(numbers[-1])) if numbers else (0, 0)

    def start(self, end: Place, since: int | None, until: int | None, tail: int | None) -> _Start:
        """Where to begin so that as little as possible is read for nothing."""
        if tail is not None:
            return self._start_of_tail(end, until, max(tail, 0))
        return _Start(self._before(since) if since is not None else (0, 0))

    def read(self, place: Place, end: Place | None, last: bool) -> tuple[list[Found], Place]:
        """Frames from `place` on, each with the place of its data, and where to go on. The frame at the very end of
        a file may be half written: it is only given if this is the `last` look, or a newer file exists."""
        found: list[Found] = []
        while not found and (end is None or place < end):
            later = [number for number in self._numbers() if number > place[0]]
            stop = end[1] if end is not None and end[0] == place[0] else None
            found, place = self._read_file(place, stop, partial=last or bool(later))
            if not found:
                if not later:
                    break
                place = (later[0], 0)
        return found, place

    def _read_file(self, place: Place, stop: int | None, *, partial: bool) -> tuple[list[Found], Place]:
        number, offset = place
        buffer = self._pread(number, offset, _BLOCK if stop is None else min(_BLOCK, stop - offset))
        at_end = len(buffer) < _BLOCK
        found = []
        try:
            for frame in logs.frames(buffer):
                if frame.missing and not (at_end and partial):
                    break
                if frame.start < frame.stop:
                    data = buffer[frame.start:frame.stop]
                    found.append(((number, place[1] + frame.start), LogFrame(frame.time, frame.stream, data)))
                offset = place[1] + frame.stop
        except logs.Damaged:
            return found, (number, offset)  # after a power cut: nothing behind it can be told apart
        return found, (number, offset)

    def _before(self, since: int) -> Place:
        """A frame at or before the first one that is not older than `since`."""
        chosen = 0
        for number in self._numbers():
            first = next(self._times(number), since)
            if first >= since:
                break
            chosen = number
        return chosen, logs.entry_before(since, self._entries(chosen), lambda entry: self._entry(chosen, entry))[1]

    def _start_of_tail(self, end: Place, until: int | None, lines: int) -> _Start:
        tail = _Tail(end, lines)
        for number in reversed(self._numbers()):
            if number > end[0]:
                continue
            size = end[1] if number == end[0] else self._size(number)
            for first, stop in self._blocks_backwards(number, size):
                if tail.full:
                    return tail.start()
                tail.add(number, first, self._pread(number, first, stop - first), until)
        return tail.start()

    def _blocks_backwards(self, number: int, size: int) -> Iterator[tuple[int, int]]:
        """(start, stop) of runs of whole frames, the last first, each about as long as the index's spacing."""
        count = self._entries(number)
        while count and logs.decode_entry(self._entry(number, count - 1))[1] >= size:
            count -= 1
        last = logs.decode_entry(self._entry(number, count - 1))[1] if count else 0
        stops = [*self._walk(number, last, size), size]
        yield from zip(reversed(stops[:-1]), reversed(stops[1:]), strict=True)
        stop = last
        for entry in range(count - 2, -2, -1):
            first = logs.decode_entry(self._entry(number, entry))[1] if entry >= 0 else 0
            if first < stop:
                yield first, stop
            stop = first

    def _walk(self, number: int, offset: int, size: int) -> Iterator[int]:
        """Offsets of frames from `offset` on, an index spacing apart: what the index lacks at its end."""
        previous = offset
        yield offset
        while offset + logs.HEADER_SIZE < size:
            try:
                _, _, length = logs.parse_header(self._pread(number, offset, logs.HEADER_SIZE))
            except logs.Damaged:
                return
            offset += logs.HEADER_SIZE + length
            if previous + logs.INDEX_SPACING <= offset < size:
                previous = offset
                yield offset

    def _times(self, number: int) -> Iterator[int]:
        """When the first frame was written, if there is one."""
        with suppress(logs.Damaged):
            for frame in logs.frames(self._pread(number, 0, logs.HEADER_SIZE)):
                yield frame.time

    def _numbers(self) -> list[int]:
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        return sorted(int(stem) for name in names if name.endswith(".log") and (stem := name[:-4]).isdigit())

    def _size(self, number: int) -> int:
        return _size(self._directory / f"{number}.log")

    def _entries(self, number: int) -> int:
        return _size(self._directory / f"{number}.idx") // logs.ENTRY_SIZE

    def _entry(self, number: int, entry: int) -> bytes:
        return _pread(self._directory / f"{number}.idx", entry * logs.ENTRY_SIZE, logs.ENTRY_SIZE)

    def _pread(self, number: int, offset: int, length: int) -> bytes:
        return _pread(self._directory / f"{number}.log", offset, length)


class _Tail:
    """Counts ends of lines from the end on, of both streams together, until there are `lines`; then looks for where
    the earliest of each stream begins, as far up as `_FURTHER` bytes (else it is taken to begin with its frame)."""

    def __init__(self, end: Place, lines: int) -> None:
        self._missing = lines
        self._further = _FURTHER
        self._first = end
        self._cut = dict.fromkeys(_STREAMS, end)
        self._open = dict.fromkeys(_STREAMS, False)
        self._seen = dict.fromkeys(_STREAMS, False)

    @property
    def full(self) -> bool:
        """Whether nothing further up is needed."""
        return self._missing <= 0 and (self._further <= 0 or not any(self._open.values()))

    def start(self) -> _Start:
        """Where the lines begin, among all that was added."""
        return _Start(self._first, self._cut)

    def add(self, number: int, offset: int, block: bytes, until: int | None) -> None:
        """The frames in front of those that were added before."""
        frames: list[logs.Frame] = []
        with suppress(logs.Damaged):  # what lies behind the damage is not readable
            frames.extend(logs.frames(block))
        for frame in reversed(frames):
            if self.full:
                return
            if until is None or frame.time <= until:
                self._add((number, offset + frame.start), frame.stream, block[frame.start:frame.stop])

    def _add(self, place: Place, stream: int, data: bytes) -> None:
        if self._missing <= 0:
            self._further -= len(data)
        if not self._seen[stream] and not data.endswith(b"\n"):
            self._ended(stream)
        self._seen[stream] = True
        newline = data.rfind(b"\n")
        while newline >= 0:
            if self._open[stream]:
                self._begins(stream, place, newline + 1)
                self._open[stream] = False
            if self._missing <= 0:
                return
            self._ended(stream)
            newline = data.rfind(b"\n", 0, newline)
        if self._open[stream]:
            self._begins(stream, place, 0)  # or further up

    def _ended(self, stream: int) -> None:
        """Here ends a line, going up."""
        if self._missing > 0:
            self._missing -= 1
            self._open[stream] = True

    def _begins(self, stream: int, place: Place, distance: int) -> None:
        self._cut[stream] = (place[0], place[1] + distance)
        self._first = (place[0], place[1] - logs.HEADER_SIZE)


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
