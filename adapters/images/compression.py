"""Compressed streams by their first bytes: gzip, zstd, bzip2, xz, or plain. A media type beside them is not believed.

Everything goes piece by piece with a bounded output, so that a bomb costs no more memory than honest data. Several
members or frames in a row are one stream; one that ends in the middle is an error.
"""

import bz2
import lzma
import secrets
import zlib
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Protocol

import zstandard

from domain.errors import Refused

fast_zlib: ModuleType
try:
    from isal import isal_zlib as fast_zlib
except ImportError:  # no build for this machine: the same format, three times slower
    fast_zlib = zlib

PIECE = 1 << 20
_WINDOW = 1 << 26  # zstd -19 needs 8 MiB; --ultra -22 could ask for 128
_XZ_MEMORY = 96 << 20  # xz -9 needs 65
_SKIPPABLE = frozenset(bytes((0x50 + low, 0x2A, 0x4D, 0x18)) for low in range(16))

Pieces = Iterator[bytes]


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


def sniff(start: bytes) -> str:
    """The name of the compression that data beginning with `start` (6 bytes will do) has; `plain` for none."""
    if start.startswith(b"\x1f\x8b"):
        return "gzip"
    if start.startswith(b"\x28\xb5\x2f\xfd") or start[:4] in _SKIPPABLE:
        return "zstd"
    if start.startswith(b"BZh"):
        return "bzip2"
    return "xz" if start.startswith(b"\xfd7zXZ\x00") else "plain"


def sniffed(pieces: Iterable[bytes]) -> tuple[str, Pieces]:
    """The kind of compression, and all the pieces."""
    iterator = iter(pieces)
    start = b""
    for piece in iterator:
        start += piece
        if len(start) >= 6:
            break
    return sniff(start), _chained(start, iterator)


def inflated(kind: str, pieces: Pieces, what: str) -> Pieces:
    """The plain bytes. Raises (while iterating): Refused, naming `what`."""
    try:
        yield from _READERS[kind](pieces)
    except _ERRORS as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the disk's; bz2 raises one without a number
        raise Refused(f"{what} is damaged: its {kind} data cannot be decompressed") from error


class Compressor:
    """gzip at igzip's level 1: 12 % larger than zlib's level 6 for a fifteenth of the time."""

    def __init__(self) -> None:
        self._deflate = fast_zlib.compressobj(1, fast_zlib.DEFLATED, 31)

    def add(self, data: bytes) -> bytes:
        """Compressed bytes, as many as are ready."""
        return bytes(self._deflate.compress(data))

    def finish(self) -> bytes:
        """The rest."""
        return bytes(self._deflate.flush())


def _chained(start: bytes, rest: Pieces) -> Pieces:
    if start:
        yield start
    yield from rest


def _gunzip(pieces: Pieces) -> Pieces:
    yield from _members(pieces, lambda: fast_zlib.decompressobj(31), tail=lambda inflater: inflater.unconsumed_tail)


def _bunzip2(pieces: Pieces) -> Pieces:
    yield from _members(pieces, bz2.BZ2Decompressor, tail=lambda inflater: b"")


def _unxz(pieces: Pieces) -> Pieces:
    yield from _members(pieces, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY), tail=lambda inflater: b"")


def _members(pieces: Pieces, new: Callable[[], "_Inflater"], tail: "Callable[..., bytes]") -> Pieces:
    """Member after member. `tail` gives the input that a full output buffer left over; bz2 and lzma keep it."""
    inflater = new()
    for data in pieces:
        while True:
            if inflater.eof:
                if not data.strip(b"\0"):
                    break  # zeros may pad the end
                inflater = new()
            out = inflater.decompress(data, PIECE)
            if out:
                yield out
            data = inflater.unused_data if inflater.eof else tail(inflater)
            if not data and (inflater.eof or len(out) < PIECE):
                break
    if not inflater.eof:
        raise EOFError


class _File:
    """What zstandard reads from: the pieces, then a small frame that proves that the last real frame was complete."""

    def __init__(self, pieces: Pieces, last: bytes) -> None:
        self._pieces, self._last, self._buffer = pieces, last, b""

    def read(self, count: int) -> bytes:
        """Up to `count` bytes; none at the end."""
        while not self._buffer:
            piece = next(self._pieces, None)
            if piece is None:
                self._buffer, self._last = self._last, b""
                break
            self._buffer = piece
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken


def _unzstd(pieces: Pieces) -> Pieces:
    """zstandard's reader ends silently inside a frame: then a frame of our own behind the data comes out mangled."""
    seal = secrets.token_bytes(16)
    frame = zstandard.ZstdCompressor(write_checksum=True).compress(seal)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    held = b""
    with decompressor.stream_reader(_File(pieces, frame), read_across_frames=True) as reader:  # type: ignore[arg-type]
        while out := reader.read(PIECE):
            held += out
            if len(held) > len(seal):
                yield held[: -len(seal)]
                held = held[-len(seal) :]
    if held != seal:
        raise EOFError


def _plain(pieces: Pieces) -> Pieces:
    return pieces


_ERRORS: tuple[type[Exception], ...] = (
    zlib.error,
    fast_zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
    OSError,
    EOFError,
    ValueError,
)
_READERS = {"gzip": _gunzip, "zstd": _unzstd, "bzip2": _bunzip2, "xz": _unxz, "plain": _plain}
