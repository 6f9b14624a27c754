"""The format of container output on disk: frames and their index. Pure; standard library only, for the warden uses it.

`logs/<id>/<n>.log` holds the output of attempt `n` as frames, each a header of 16 bytes and the bytes as read:

    time ns since the epoch  u64 LE | stream 1 stdout, 2 stderr  u8 | 3 zero bytes | length  u32 LE | data

    b"\\x00\\x10\\x5e\\x5f\\x9b\\x00\\x00\\x00" b"\\x01\\0\\0\\0" b"\\x03\\0\\0\\0" b"hi\\n"

`logs/<id>/<n>.idx` holds pairs (time, offset of a frame in the log), u64 LE each, one for about every 64 KiB. It only
saves reading: whatever it does not name is found by walking the frames. Times never decrease within one file.

A frame at the end may be shorter than its header says while it is being written, or after its writer was killed.
"""

from collections.abc import Callable, Iterator
from struct import Struct
from typing import NamedTuple

STDOUT, STDERR = 1, 2
MAX_DATA = 1 << 16
"""The longest frame a writer makes."""
INDEX_SPACING = 1 << 16
"""Distance in the log from one indexed frame to the next."""

_HEADER = Struct("<QBxxxI")
_ENTRY = Struct("<QQ")
HEADER_SIZE = _HEADER.size
ENTRY_SIZE = _ENTRY.size


class Frame(NamedTuple):
    """One frame as it lies in a buffer: data is `buffer[start:stop]`; `missing` bytes are not there (yet)."""

    time: int
    stream: int
    start: int
    stop: int
    missing: int


class Damaged(ValueError):
    """At `offset` there is no frame, and so nothing readable behind it either."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"no log frame at offset {offset}")
        self.offset = offset


def header(time: int, stream: int, length: int) -> bytes:
    """What stands before `length` bytes of `stream`."""
    return _HEADER.pack(time, stream, length)


def parse_header(buffer: bytes | memoryview, offset: int = 0) -> tuple[int, int, int]:
    """(time, stream, length) of the frame whose header begins at `offset`. Raises: Damaged."""
    time, stream, length = _HEADER.unpack_from(buffer, offset)
    if stream not in (STDOUT, STDERR) or not 0 < length <= MAX_DATA:
        raise Damaged(offset)
    return time, stream, length


def entry(time: int, offset: int) -> bytes:
    """One index entry: the frame at `offset` was written at `time`."""
    return _ENTRY.pack(time, offset)


def frames(buffer: bytes | memoryview, offset: int = 0) -> Iterator[Frame]:
    """The frames from `offset` on; the last one may miss bytes, half a header is left alone.

    Raises: Damaged.
    """
    end = len(buffer)
    while offset + HEADER_SIZE <= end:
        time, stream, length = parse_header(buffer, offset)
        start = offset + HEADER_SIZE
        stop = min(start + length, end)
        yield Frame(time, stream, start, stop, start + length - stop)
        offset = start + length


def entry_before(time: int, count: int, read: Callable[[int], bytes]) -> tuple[int, int]:
    """(time, offset) of the last of `count` entries that is older than `time`, by binary search; (0, 0) if none is.

    `read(n)` gives entry `n`.
    """
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if _ENTRY.unpack(read(middle))[0] < time:
            low = middle + 1
        else:
            high = middle
    return decode_entry(read(low - 1)) if low else (0, 0)


def decode_entry(data: bytes) -> tuple[int, int]:
    """(time, offset) of an index entry."""
    time, offset = _ENTRY.unpack(data)
    return time, offset
