"""Reading container output: order, times, last lines, following; against files written by hand."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.files.logs import LogFiles
from domain import logs
from domain.errors import InvalidValue
from domain.ports import LogFrame

ID = "ab" * 32
Frame = tuple[int, int, bytes]


def write(root: Path, number: int, frames: list[Frame], *, indexed: bool = True, base: int | None = None) -> None:
    """A segment as the warden writes it, or with `base` -1 the file of an older version."""
    directory = root / ID
    directory.mkdir(parents=True, exist_ok=True)
    log, index, last, ahead = bytearray(), b"", 0, 0
    for time, stream, data in frames:
        start = len(log)
        log += logs.header(time, stream, len(data)) + data
        if start - last >= logs.INDEX_SPACING:
            last = start
            index += logs.entry(time, start, ahead)[:16 if base == -1 else None]
        ahead += len(data)
    name = str(number) if base == -1 else f"{number}.{base or behind(directory, number)}"
    (directory / f"{name}.log").write_bytes(log)
    (directory / f"{name}.idx").write_bytes(index if indexed else b"")


def behind(directory: Path, number: int) -> int:
    """The position behind all that runs before this one have written."""
    position = 0
    for path in directory.glob("*.*.log"):
        attempt, base = map(int, path.stem.split("."))
        if attempt < number:
            data = path.read_bytes()
            with suppress(logs.Damaged):
                for frame in logs.frames(data):
                    position = max(position, base) + frame.stop - frame.start
    return position


async def read(root: Path, **options: object) -> list[Frame]:
    """All frames that a question gives."""
    frames = LogFiles(root).frames(ID, **options)  # type: ignore[arg-type]
    return [(frame.time, frame.stream, frame.data) async for frame in frames]


def text(frames: list[Frame], stream: int | None = None) -> bytes:
    """The bytes of a stream, or of both."""
    return b"".join(data for _, each, data in frames if stream in (None, each))


async def test_files_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """10 comes after 9: attempts, not names."""
    for number in (1, 9, 10):
        write(tmp_path, number, [(number, 1, b"%d\n" % number)])
    assert text(await read(tmp_path)) == b"1\n9\n10\n"


async def test_an_unknown_container_has_no_output(tmp_path: Path) -> None:
    """It may never have written anything."""
    assert await read(tmp_path) == []
    assert LogFiles(tmp_path).size(ID) == 0


async def test_an_id_is_never_a_path(tmp_path: Path) -> None:
    """The reader is asked by users."""
    with pytest.raises(InvalidValue):
        [frame async for frame in LogFiles(tmp_path).frames("../etc")]


async def test_since_and_until_are_both_inclusive(tmp_path: Path) -> None:
    """As time stamps in ns are shown and typed again."""
    write(tmp_path, 1, [(time, 1, b"%d\n" % time) for time in range(10)])
    write(tmp_path, 2, [(time, 1, b"%d\n" % time) for time in range(10, 20)])
    assert text(await read(tmp_path, since=8, until=11)) == b"8\n9\n10\n11\n"
    assert text(await read(tmp_path, since=19)) == b"19\n"
    assert await read(tmp_path, since=20) == []


@pytest.mark.parametrize("indexed", [True, False])
async def test_a_question_about_the_end_of_a_long_file_reads_little(tmp_path: Path, indexed: bool,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """4 MB; the last lines and the last moments cost a few blocks, also when the index was lost."""
    frames = [(time, 1, b"x" * 400 + b"%d\n" % time) for time in range(10_000)]
    write(tmp_path, 1, frames, indexed=indexed)
    amount = 0
    pread = os.pread

    def counting(fd: int, length: int, offset: int) -> bytes:
        nonlocal amount
        data = pread(fd, length, offset)
        amount += len(data)
        return data

    monkeypatch.setattr(os, "pread", counting)
    assert await read(tmp_path, tail=3) == frames[-3:]
    assert amount < 700_000
    if indexed:
        assert await read(tmp_path, since=9_998) == frames[-2:]
        assert amount < 1_000_000


async def test_a_tail_of_nothing_only_follows(tmp_path: Path) -> None:
    """`--tail 0 -f`: what comes from now on."""
    write(tmp_path, 1, [(1, 1, b"old\n")])
    assert await read(tmp_path, tail=0) == []

    async def more() -> bool:
        write(tmp_path, 1, [(1, 1, b"old\n"), (2, 1, b"new\n")])
        looks.append(1)
        return len(looks) < 3

    looks: list[int] = []
    assert text(await read(tmp_path, tail=0, follow=more)) == b"new\n"


async def test_an_unfinished_line_counts_as_a_line(tmp_path: Path) -> None:
    """The prompt of a shell, say."""
    write(tmp_path, 1, [(1, 1, b"one\ntwo\nthr"), (2, 1, b"ee")])
    assert text(await read(tmp_path, tail=1)) == b"three"
    assert text(await read(tmp_path, tail=2)) == b"two\nthree"


async def test_the_only_line_of_a_stream_is_a_last_line(tmp_path: Path) -> None:
    """The error at the end of much ordinary output; and much is not read just to learn that it was the only one."""
    write(tmp_path, 1, [*((n, 1, b"x" * 999 + b"\n") for n in range(3000)), (3000, 2, b"error\n")])
    assert text(await read(tmp_path, tail=1)) == b"error\n"
    assert [text(await read(tmp_path, tail=3), stream) for stream in (1, 2)] == [2 * (b"x" * 999 + b"\n"), b"error\n"]


async def test_a_tail_spans_files(tmp_path: Path) -> None:
    """A container that was started again has one output."""
    write(tmp_path, 1, [(1, 1, b"a\nb\n")])
    write(tmp_path, 2, [(2, 1, b"c\n")])
    assert text(await read(tmp_path, tail=2)) == b"b\nc\n"
    assert text(await read(tmp_path, tail=9)) == b"a\nb\nc\n"


PIECES = st.lists(st.sampled_from([b"a", b"\n", b"bc\n", b"d\ne"]), min_size=1)
LINES = st.lists(st.tuples(st.sampled_from([1, 2]), PIECES), max_size=12)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES, st.integers(0, 15))
async def test_a_tail_is_the_last_lines(tmp_path: Path, pieces: list[tuple[int, list[bytes]]], lines: int) -> None:
    """Of each stream a suffix that begins at a line; together exactly as many lines as were asked for, if there are."""
    frames = [(number, stream, b"".join(data)) for number, (stream, data) in enumerate(pieces)]
    write(tmp_path, 1, frames)
    found = await read(tmp_path, tail=lines)
    count = 0
    for stream in (1, 2):
        whole, part = text(frames, stream), text(found, stream)
        assert whole.endswith(part)
        assert not part or whole == part or whole[:-len(part)].endswith(b"\n")
        count += len(part.splitlines(keepends=True))
    total = sum(len(text(frames, stream).splitlines(keepends=True)) for stream in (1, 2))
    assert count == min(lines, total)


async def test_a_half_written_frame_is_completed_while_following(tmp_path: Path) -> None:
    """The pump writes the header first; a reader must not tear the frame, nor lose its end."""
    directory = tmp_path / ID
    directory.mkdir()
    log = directory / "1.0.log"
    log.write_bytes(logs.header(5, 1, 6) + b"abc")
    (directory / "1.0.idx").touch()
    steps: list[Callable[[], object]] = [
        lambda: log.write_bytes(logs.header(5, 1, 6) + b"abcdef" + logs.header(6, 2, 2) + b"x"), lambda: None]

    async def more() -> bool:
        steps.pop(0)()
        return bool(steps)

    assert await read(tmp_path, follow=more) == [(5, 1, b"abcdef"), (6, 2, b"x")]
    assert await read(tmp_path) == [(5, 1, b"abcdef"), (6, 2, b"x")]


async def test_following_goes_on_in_the_next_file(tmp_path: Path) -> None:
    """A restart opens a new one."""
    write(tmp_path, 1, [(1, 1, b"first\n")])
    looks = 0

    async def more() -> bool:
        nonlocal looks
        looks += 1
        write(tmp_path, 2, [(2, 1, b"second\n")])
        return looks < 2

    assert text(await read(tmp_path, follow=more)) == b"first\nsecond\n"


async def test_garbage_after_a_power_cut_ends_a_file_not_the_log(tmp_path: Path) -> None:
    """Its blocks may never have reached the disk."""
    write(tmp_path, 1, [(1, 1, b"good\n")])
    with (tmp_path / ID / "1.0.log").open("ab") as file:
        file.write(bytes(100))
    write(tmp_path, 2, [(2, 1, b"later\n")])
    assert text(await read(tmp_path)) == b"good\nlater\n"
    assert text(await read(tmp_path, tail=1)) == b"later\n"
    assert text(await read(tmp_path, tail=2)) == b"good\nlater\n"


async def test_a_reader_without_follow_stops_where_the_end_was(tmp_path: Path) -> None:
    """Else a container that writes faster than its reader would hold it for ever."""
    write(tmp_path, 1, [(1, 1, b"now\n")])
    found = []
    async with asyncio.timeout(5):
        async for frame in LogFiles(tmp_path).frames(ID):
            found.append(frame)
            write(tmp_path, 1, [(1, 1, b"now\n"), *((n, 1, b"later\n") for n in range(2, 5))])
    assert found == [LogFrame(1, 1, b"now\n")]
