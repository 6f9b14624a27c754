"""Compressed streams: sniffed, whole, and bounded."""

import bz2
import gzip
import lzma
import os

import pytest
import zstandard

from adapters.images.compression import PIECE, Compressor, inflated, sniffed
from domain.errors import Refused
from tests.adapters.images.tars import pieces

DATA = os.urandom(300_000) + b"x" * 3_000_000
SKIPPABLE = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
STREAMS = {
    "gzip": gzip.compress(DATA) + gzip.compress(b"more"),
    "bzip2": bz2.compress(DATA) + bz2.compress(b"more"),
    "xz": lzma.compress(DATA) + lzma.compress(b"more"),
    "zstd": SKIPPABLE + zstandard.compress(DATA) + SKIPPABLE + zstandard.compress(b"more") + SKIPPABLE,
}


def plain(data: bytes, size: int = 70_000) -> tuple[str, bytes]:
    """What comes out, piece by piece."""
    kind, all_pieces = sniffed(pieces(data, size))
    return kind, b"".join(inflated(kind, all_pieces, "it"))


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("size", [7, 70_000])
def test_several_members_are_one_stream(kind: str, size: int) -> None:
    """Decompressors of the libraries stop at the first."""
    assert plain(STREAMS[kind], size) == (kind, DATA + b"more")


def test_what_is_not_compressed_stays_as_it_is() -> None:
    """Also when it is short, or nothing."""
    for data in (b"", b"x", b"\x1f", DATA):
        assert plain(data) == ("plain", data)


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("cut", [1, 4, 12, 5000])
def test_a_stream_that_ends_early_is_damaged(kind: str, cut: int) -> None:
    """A shorter image is not an image."""
    stream = STREAMS[kind][: -len(SKIPPABLE)] if kind == "zstd" else STREAMS[kind]
    with pytest.raises(Refused, match=f"it is damaged: its {kind} data"):
        plain(stream[:-cut])


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_changed_bytes_are_damage(kind: str) -> None:
    """zstd has no checksum unless asked for: there the digests see it."""
    data = bytearray(STREAMS[kind])
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(Refused):
        plain(bytes(data))


def test_zeros_may_pad_a_gzip_stream_and_nothing_else() -> None:
    """As gzip(1) does for tapes."""
    assert plain(STREAMS["gzip"] + bytes(5000))[1] == DATA + b"more"
    with pytest.raises(Refused):
        plain(STREAMS["gzip"] + b"rubbish")


@pytest.mark.parametrize("kind", STREAMS)
def test_no_piece_is_larger_than_a_mebibyte(kind: str) -> None:
    """Whatever the ratio."""
    _, all_pieces = sniffed([STREAMS[kind]])
    assert max(map(len, inflated(kind, all_pieces, "it"))) <= PIECE


def test_a_window_that_needs_too_much_memory_is_refused() -> None:
    """Only a bomb asks for 128 MiB."""
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(Refused):
        plain(stream.compress(DATA) + stream.flush())


def test_what_we_compress_others_read() -> None:
    """And it is the same every time."""

    def packed() -> bytes:
        compressor = Compressor()
        return b"".join(map(compressor.add, pieces(DATA))) + compressor.finish()

    assert gzip.decompress(packed()) == DATA
    assert packed() == packed()
