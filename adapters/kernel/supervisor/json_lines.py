r"""From frames of output to the industry's JSON lines; pure.

    {"log":"hello\n","stream":"stdout","time":"2026-11-25T16:16:03.172544033Z"}

Each line of output is one record with the time of its beginning. What has no end of line (yet) waits for it; it is
written without one when the run ends, when it is longer than `_LONGEST` bytes, or when `_PATIENCE` bytes of other
output have come since. Bytes that are not UTF-8 become U+FFFD. What had to be left out stands in a record of its own:

    {"log":"","stream":"stderr","time":"2026-11-25T16:16:03.172544033Z","dropped":12345}

The result depends on the frames alone, not on how many are given at a time: whoever was killed while he wrote begins
again at the positions that he has noted down, and gets the same bytes again.
"""

import time
from json.encoder import encode_basestring
from typing import NamedTuple

from domain.logs import STDERR, STDOUT, Header

_LONGEST = 1 << 14
_PATIENCE = 1 << 20
_NAMES = {STDOUT: "stdout", STDERR: "stderr"}
_END = "\ud800"  # no text that was decoded holds it, and the encoder leaves it alone


class _Open(NamedTuple):
    """A line that has no end yet; `places` are the positions of its pieces, with their lengths."""

    data: bytes
    time: int
    attempt: int
    places: list[tuple[int, int]]


class Lines:
    """`next` is the position behind all frames that were taken; of each stream everything before its entry in `starts`
    was given as records."""

    def __init__(self, next: int = 0, starts: tuple[int, int] = (0, 0)) -> None:
        self.next = next
        self._starts = dict(zip(_NAMES, starts, strict=True))
        self._open: dict[int, _Open] = {}

    @property
    def starts(self) -> tuple[int, int]:
        """Of stdout and stderr."""
        first, second = (self._starts[stream] if stream in self._open else self.next for stream in _NAMES)
        return first, second

    def take(self, header: Header, data: bytes, position: int) -> bytes:
        """The records that a frame makes complete; its data begins at `position`."""
        records = []
        if any(line.attempt != header.attempt for line in self._open.values()):
            records.append(self.flush())
        end = position + len(data)
        stream = header.stream
        fresh = data[max(self._starts[stream] - position, 0):]
        if fresh:
            records.append(self._add(header, fresh, end - len(fresh)))
        self.next = max(self.next, end)
        records += [self._give_up(other) for other in _NAMES if self._is_late(other, end)]
        return b"".join(records)

    def flush(self) -> bytes:
        """Lines that nothing more will be added to."""
        return b"".join(self._give_up(stream) for stream in _NAMES)

    def dropped(self, amount: int, position: int, now: int) -> bytes:
        """What to write instead of so many bytes that are gone; the output goes on at `position`."""
        record = f'{{"log":"","stream":"stderr","time":"{rfc3339(now)}","dropped":{amount}}}\n'
        records = self.flush() + record.encode()
        self.next = position
        self._starts = dict.fromkeys(_NAMES, position)
        return records

    def _add(self, header: Header, data: bytes, position: int) -> bytes:
        stream = header.stream
        nothing = _Open(b"", header.time, header.attempt, [])
        before = self._open.pop(stream, nothing)
        stop = data.rfind(b"\n") + 1
        records = []
        if stop:
            first = data.index(b"\n") + 1 if before.data else 0
            records.append(_records(stream, before.data + data[:first], before.time))
            records.append(_records(stream, data[first:stop], header.time))
            before = nothing
        rest = before.data + data[stop:]
        places = [*before.places, (position + stop, len(data) - stop)]
        while len(rest) > _LONGEST:
            cut = _cut(rest)
            records.append(_records(stream, rest[:cut], before.time))
            rest, places = rest[cut:], _without(places, cut)
        self._starts[stream] = places[0][0]
        if rest:
            self._open[stream] = _Open(rest, before.time, header.attempt, places)
        return b"".join(records)

    def _is_late(self, stream: int, end: int) -> bool:
        return stream in self._open and end - self._starts[stream] > _PATIENCE

    def _give_up(self, stream: int) -> bytes:
        line = self._open.pop(stream, None)
        if line is None:
            return b""
        self._starts[stream] = self.next
        return _records(stream, line.data, line.time)


def _without(places: list[tuple[int, int]], amount: int) -> list[tuple[int, int]]:
    """The places of what is left when so many bytes, but not all, are taken away from the front."""
    for number, (position, length) in enumerate(places):
        if amount < length:
            return [(position + amount, length - amount), *places[number + 1:]]
        amount -= length
    raise AssertionError("something is left")


def _records(stream: int, data: bytes, moment: int) -> bytes:
    """One for each line; the last may lack its end."""
    if not data:
        return b""
    if len(data) > _LONGEST and max(map(len, data.split(b"\n"))) >= _LONGEST:
        return b"".join(_records(stream, piece, moment) for piece in _pieces(data))
    tail = f',"stream":"{_NAMES[stream]}","time":"{rfc3339(moment)}"}}\n'
    ended = data.endswith(b"\n")
    text = (data[:-1] if ended else data).decode("utf-8", "replace").replace("\n", _END)
    lines = encode_basestring(text).replace(_END, f'\\n"{tail}{{"log":"')
    end = "\\n" if ended else ""
    return f'{{"log":{lines[:-1]}{end}"{tail}'.encode()


def _pieces(data: bytes) -> list[bytes]:
    """Lines, the long ones in several pieces."""
    pieces = []
    for line in _lines(data):
        while len(line) > _LONGEST:
            cut = _cut(line)
            pieces.append(line[:cut])
            line = line[cut:]
        pieces.append(line)
    return pieces


def _lines(data: bytes) -> list[bytes]:
    *ended, last = data.split(b"\n")
    return [*(line + b"\n" for line in ended), *([last] if last else [])]


def _cut(data: bytes) -> int:
    """Where to cut a long line, not inside of a character if that can be told."""
    for cut in range(_LONGEST, _LONGEST - 4, -1):
        if data[cut] & 0xC0 != 0x80:
            return cut
    return _LONGEST


def rfc3339(moment: int) -> str:
    """A time in ns since the epoch."""
    seconds, fraction = divmod(moment, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09d}Z"
