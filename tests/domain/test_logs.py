"""The laws of the log format."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import logs

DATA = st.binary(min_size=1, max_size=200)
FRAMES = st.lists(st.tuples(st.integers(0, 2**63), st.sampled_from([1, 2]), DATA), max_size=20)


def packed(frames: list[tuple[int, int, bytes]]) -> bytes:
    """As they lie in a file."""
    return b"".join(logs.header(time, stream, len(data)) + data for time, stream, data in frames)


@given(FRAMES)
def test_what_was_written_is_read(frames: list[tuple[int, int, bytes]]) -> None:
    """Byte for byte, also what looks like a header."""
    buffer = packed(frames)
    found = [(frame.time, frame.stream, buffer[frame.start:frame.stop]) for frame in logs.frames(buffer)]
    assert found == frames


@given(FRAMES, st.integers(0, 10**6))
def test_a_cut_file_gives_a_prefix_of_what_was_written(frames: list[tuple[int, int, bytes]], cut: int) -> None:
    """A writer may be killed at any byte; only the last frame is short, and says by how much."""
    whole = packed(frames)
    buffer = whole[:cut % (len(whole) + 1)]
    found = list(logs.frames(buffer))
    data = b"".join(buffer[frame.start:frame.stop] for frame in found)
    assert b"".join(data for _, _, data in frames).startswith(data)
    assert all(frame.missing == 0 for frame in found[:-1])
    for frame, (_, _, written) in zip(found, frames, strict=False):
        assert frame.stop - frame.start + frame.missing == len(written)


@pytest.mark.parametrize("header", [b"\0" * 16, logs.header(1, 3, 5), logs.header(1, 1, 0), logs.header(1, 1, 1 << 20)])
def test_what_is_no_frame_is_called_damage(header: bytes) -> None:
    """Zeros after a power cut, or another file: nothing behind it can be told apart."""
    good = logs.header(1, 1, 2) + b"ok"
    frames = logs.frames(good + header)
    assert next(frames).stream == 1
    with pytest.raises(logs.Damaged) as caught:
        next(frames)
    assert caught.value.offset == len(good)


@given(st.lists(st.integers(0, 50), max_size=30).map(sorted), st.integers(0, 51))
def test_the_index_finds_the_last_entry_before_a_time(times: list[int], time: int) -> None:
    """Frames of that very time may begin before an entry of that time: so strictly before."""
    entries = [logs.entry(when, 100 * number, 84 * number) for number, when in enumerate(times)]
    expected = max(((when, 100 * number, 84 * number) for number, when in enumerate(times) if when < time),
                   default=(0, 0, 0))
    assert logs.last_entry(len(entries), lambda n: entries[n], lambda entry: entry.time < time) == expected


def test_an_entry_of_an_older_version_is_read() -> None:
    """It has no third number: positions in such a file count the headers."""
    assert logs.decode_entry((7).to_bytes(8, "little") + (70_000).to_bytes(8, "little")) == (7, 70_000, 70_000)


@given(st.integers(0, 2**24 - 1))
def test_a_frame_knows_its_run(attempt: int) -> None:
    """Several runs share a file; beyond sixteen million of them the number begins anew."""
    assert logs.parse_header(logs.header(1, 2, 3, attempt)) == (1, 2, 3, attempt)
    assert logs.parse_header(logs.header(1, 2, 3, attempt + (1 << 24))).attempt == attempt


def test_segments_are_in_the_order_in_which_they_were_written() -> None:
    """By position, which has as many digits as it needs; other files are left alone."""
    names = ["3.1000.log", "1.0.log", "1.0.idx", "2.999.log", "2.999.idx", "x.log", "1.x.log", f"{'a' * 64}-json.log"]
    sizes: dict[str, int] = {}
    assert logs.segments(names, sizes.__getitem__) == [(0, 1, "1.0"), (999, 2, "2.999"), (1000, 3, "3.1000")]


def test_files_of_older_versions_come_first() -> None:
    """10 comes after 9: attempts, not names. Where they begin follows from their sizes."""
    sizes = {"9.log": 5, "10.log": 7}
    assert logs.segments(["10.log", "9.log"], sizes.__getitem__) == [(0, 9, "9"), (5, 10, "10")]
    assert logs.segments(["10.log", "11.100.log"], sizes.__getitem__) == [(93, 10, "10"), (100, 11, "11.100")]


@given(st.integers(1, 1 << 30))
def test_a_frame_fits_into_a_segment(size: int) -> None:
    """But for absurdly small ones, which hold one frame each."""
    longest = logs.Limits(size, 2).longest
    assert 0 < longest <= logs.MAX_DATA
    assert longest + logs.HEADER_SIZE <= max(size, 300)
