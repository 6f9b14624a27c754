"""The format of container output on disk: frames, their index, segments. Pure; standard library only (the warden's).

`logs/<id>/<attempt>.<base>.log` is a segment: frames, each a header of 16 bytes and the bytes as read:

    time ns since the epoch  u64 LE | stream 1 stdout, 2 stderr  u8 | attempt  u24 LE | length  u32 LE | data

    b"\\x00\\x10\\x5e\\x5f\\x9b\\x00\\x00\\x00" b"\\x01" b"\\x01\\0\\0" b"\\x03\\0\\0\\0" b"hi\\n"

`base` is the position at which it begins: how many bytes the container had written before, in all its runs and on both
streams together (`attempt` is the run that began it; later runs go on in it). A full segment is left alone and a new
one is begun; the oldest are deleted, so the base of the first says how much is gone. Nothing is ever renamed. Positions
only grow, so a reader that remembers one knows where to go on, and how much it has missed.

`logs/<id>/<attempt>.<base>.idx` holds an entry for about every 64 KiB: (time, offset of a frame in the segment, bytes
of output before that frame in the segment), u64 LE each. It only saves reading: whatever it does not name is found by
walking the frames. Times never decrease.

A frame at the end may be shorter than its header says while it is being written, or after its writer was killed.

Older data roots also have `<attempt>.log`, one file for each run, with headers whose attempt is 0 and index entries
without the third number; their positions count the headers as well.
"""

from collections.abc import Callable, Iterable, Iterator
from struct import Struct
from typing import NamedTuple

STDOUT, STDERR = 1, 2
MAX_DATA = 1 << 16
"""The longest frame a writer makes."""
INDEX_SPACING = 1 << 16
"""Distance in the log from one indexed frame to the next."""

_HEADER = Struct("<QII")
_ENTRY = Struct("<QQQ")
_OLD_ENTRY = Struct("<QQ")
_ATTEMPTS = (1 << 24) - 1
HEADER_SIZE = _HEADER.size
ENTRY_SIZE = _ENTRY.size
LOG, INDEX = ".log", ".idx"


class Limits(NamedTuple):
    """How much of the output of one container is kept: `files` segments of `size` bytes."""

    size: int = 20 << 20
    files: int = 5

    @property
    def longest(self) -> int:
        """The longest frame: one that does not fit would make a segment too large."""
        return min(MAX_DATA, max(self.size - HEADER_SIZE, MAX_DATA >> 8))


DEFAULT = Limits()


class Keeping(NamedTuple):
    """What is done with the output of a container: `driver` is `local`, `json-file` or `none`."""

    driver: str = "local"
    limits: Limits = DEFAULT


LOCAL = Keeping()


class Frame(NamedTuple):
    """One frame as it lies in a buffer: data is `buffer[start:stop]`; `missing` bytes are not there (yet)."""

    time: int
    stream: int
    start: int
    stop: int
    missing: int
    attempt: int = 0


class Header(NamedTuple):
    """What stands before the data of a frame."""

    time: int
    stream: int
    length: int
    attempt: int


class Entry(NamedTuple):
    """A line of an index: the frame at `offset` was written at `time`, behind `ahead` bytes of output."""

    time: int
    offset: int
    ahead: int


class Segment(NamedTuple):
    """A file of frames; they compare in the order of the output. `name` is without its ending."""

    base: int
    attempt: int
    name: str

    @property
    def old(self) -> bool:
        """Whether it is one of the files that older versions wrote."""
        return "." not in self.name

    @property
    def entry_size(self) -> int:
        """Bytes of an entry of its index."""
        return _OLD_ENTRY.size if self.old else _ENTRY.size

    def data(self, length: int) -> int:
        """By how much a frame with that many bytes moves the position."""
        return length + HEADER_SIZE if self.old else length


class Damaged(ValueError):
    """At `offset` there is no frame, and so nothing readable behind it either."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"no log frame at offset {offset}")
        self.offset = offset


def header(time: int, stream: int, length: int, attempt: int = 0) -> bytes:
    """What stands before `length` bytes of `stream`."""
    return _HEADER.pack(time, stream | (attempt & _ATTEMPTS) << 8, length)


def parse_header(buffer: bytes | memoryview, offset: int = 0) -> Header:
    """The header that begins at `offset`. Raises: Damaged."""
    time, kind, length = _HEADER.unpack_from(buffer, offset)
    stream = kind & 0xFF
    if stream not in (STDOUT, STDERR) or not 0 < length <= MAX_DATA:
        raise Damaged(offset)
    return Header(time, stream, length, kind >> 8)


def entry(time: int, offset: int, ahead: int) -> bytes:
    """One index entry."""
    return _ENTRY.pack(time, offset, ahead)


def decode_entry(data: bytes) -> Entry:
    """An index entry, also one of an older version."""
    if len(data) == _OLD_ENTRY.size:
        time, offset = _OLD_ENTRY.unpack(data)
        return Entry(time, offset, offset)
    return Entry(*_ENTRY.unpack(data))


def frames(buffer: bytes | memoryview, offset: int = 0) -> Iterator[Frame]:
    """The frames from `offset` on; the last one may miss bytes, half a header is left alone.

    Raises: Damaged.
    """
    end = len(buffer)
    while offset + HEADER_SIZE <= end:
        time, stream, length, attempt = parse_header(buffer, offset)
        start = offset + HEADER_SIZE
        stop = min(start + length, end)
        yield Frame(time, stream, start, stop, start + length - stop, attempt)
        offset = start + length


def last_entry(count: int, read: Callable[[int], bytes], before: Callable[[Entry], bool]) -> Entry:
    """The last of `count` entries for which `before` holds (it holds for the first ones, then for none), by binary
    search; zeros if it holds for none. `read(n)` gives entry `n`."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if before(decode_entry(read(middle))):
            low = middle + 1
        else:
            high = middle
    return decode_entry(read(low - 1)) if low else Entry(0, 0, 0)


def json_name(id: str, number: int = 0) -> str:
    """The file for log shippers that the driver `json-file` writes, or the one rotated `number` times."""
    return f"{id}-json.log" + (f".{number}" if number else "")


def segment(attempt: int, base: int) -> Segment:
    """A new segment."""
    return Segment(base, attempt, f"{attempt}.{base}")


def segments(names: Iterable[str], size: Callable[[str], int]) -> list[Segment]:
    """Those among the names of files in a directory, in the order of the output.

    `size` gives the size of a file; it is asked only about files of older versions, which do not tell where they begin.
    """
    found: list[Segment] = []
    old: list[int] = []
    for name in names:
        stem, ending = name[:-len(LOG)], name[-len(LOG):]
        attempt, dot, base = stem.partition(".")
        if ending != LOG or not attempt.isdecimal() or (dot and not base.isdecimal()):
            continue
        if dot:
            found.append(Segment(int(base), int(attempt), stem))
        else:
            old.append(int(attempt))
    found.sort()
    return [*_placed(sorted(old), found, size), *found] if old else found


def _placed(old: list[int], new: list[Segment], size: Callable[[str], int]) -> list[Segment]:
    """One behind the other, the last one right before the first that knows where it begins."""
    sizes = [size(f"{attempt}{LOG}") for attempt in old]
    base = max(new[0].base - sum(sizes), 0) if new else 0
    placed = []
    for attempt, length in zip(old, sizes, strict=True):
        placed.append(Segment(base, attempt, str(attempt)))
        base += length
    return placed
