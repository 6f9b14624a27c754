"""Reading container output: order, times, last lines, following; against files written by hand."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.files.logs import LogFiles
from domain import logs
from domain.errors import InvalidValue
from domain.ports.logs import LogFrame
from tests.examples import examples

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
        if int(path.stem.partition(".")[0]) < number:
            data = path.read_bytes()
            with suppress(logs.Damaged):
                position += sum(frame.stop - frame.start for frame in logs.frames(data))
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


@pytest.mark.parametrize("there", range(1, logs.HEADER_SIZE + 6))
@pytest.mark.parametrize("lines", [0, 1, 2])
async def test_a_tail_begins_well_while_a_frame_is_being_written(tmp_path: Path, lines: int, there: int) -> None:
    """Whatever part of a frame is in the file in the moment of the first look, neither a line of before nor one that
    comes is lost, and following does not begin in the middle of a frame."""
    write(tmp_path, 1, [(1, 1, b"one\n"), (2, 1, b"two\n")])
    log, frame = tmp_path / ID / "1.0.log", logs.header(3, 1, 6) + b"three\n"
    begun = log.read_bytes()
    log.write_bytes(begun + frame[:there])
    looks: list[int] = []

    async def more() -> bool:
        log.write_bytes(begun + frame)
        looks.append(1)
        return len(looks) < 3

    found = text(await read(tmp_path, tail=lines, follow=more))
    torn = there > logs.HEADER_SIZE  # then a part of the line was there, and is the last one
    before = [b"one\n", b"two\n"][2 - max(lines - torn, 0):]
    first = there - logs.HEADER_SIZE if torn and not lines else 0
    assert found == b"".join(before) + b"three\n"[first:]


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


@examples(100, unchecked=True)
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


async def test_files_of_older_versions_are_read_before_the_new_ones(tmp_path: Path) -> None:
    """By name, by time, from the end, by position; 10 comes after 9."""
    for number in (10, 9):
        write(tmp_path, number, [(number, 1, b"%d\n" % number)], base=-1)
    write(tmp_path, 11, [(11, 1, b"11\n")], base=37)
    assert text(await read(tmp_path)) == b"9\n10\n11\n"
    assert text(await read(tmp_path, since=10)) == b"10\n11\n"
    assert text(await read(tmp_path, tail=2)) == b"10\n11\n"
    assert text(await read(tmp_path, start=18)) == b"10\n11\n"
    assert await LogFiles(tmp_path).end(ID) == 40


async def test_a_long_file_of_an_older_version_is_searched_by_its_index(tmp_path: Path) -> None:
    """Its entries are shorter."""
    frames = [(time, 1, b"x" * 400 + b"%d\n" % time) for time in range(2_000)]
    write(tmp_path, 1, frames, base=-1)
    assert await read(tmp_path, tail=3) == frames[-3:]
    assert await read(tmp_path, since=1_990) == frames[-10:]


def rotated(root: Path, first: int = 30) -> list[Frame]:
    """Three segments of ten frames each, in front of which `first` bytes are gone."""
    frames = [(number, 1 + number % 2, b"%03d\n" % number) for number in range(30)]
    for start in (0, 10, 20):
        write(root, 1, frames[start:start + 10], base=first + 4 * start)
    return frames


def missed(frames: list[LogFrame]) -> list[tuple[int, bytes]]:
    """(bytes that are missing before it, data) where some are."""
    return [(frame.missed, frame.data) for frame in frames if frame.missed]


async def whole(root: Path, **options: object) -> list[LogFrame]:
    """All frames that a question gives, with all that they tell."""
    return [frame async for frame in LogFiles(root).frames(ID, **options)]  # type: ignore[arg-type]


async def test_positions_count_what_was_written(tmp_path: Path) -> None:
    """From the first byte the container ever wrote, however one comes to a frame."""
    frames = rotated(tmp_path)
    for options in ({}, {"since": 17}, {"tail": 4}, {"start": 95}):
        found = await whole(tmp_path, **options)
        assert [(frame.data, frame.position) for frame in found][-4:] == [
            (data, 30 + 4 * (time + 1)) for time, _, data in frames[-4:]]
    assert await LogFiles(tmp_path).end(ID) == 150


@pytest.mark.parametrize("options", [{}, {"since": 0}, {"tail": 31}, {"start": 0}])
async def test_who_asks_for_more_than_there_is_learns_how_much_is_gone(tmp_path: Path,
                                                                       options: dict[str, object]) -> None:
    """And gets the rest."""
    frames = rotated(tmp_path)
    found = await whole(tmp_path, **options)
    assert missed(found) == [(30, frames[0][2])]
    assert len(found) == 30


@pytest.mark.parametrize("options", [{"since": 1}, {"tail": 30}, {"tail": 0}, {"start": 30}, {"start": 75}])
async def test_who_gets_all_that_was_asked_for_is_not_bothered(tmp_path: Path, options: dict[str, object]) -> None:
    """Of what is gone nothing was asked for."""
    rotated(tmp_path)
    assert missed(await whole(tmp_path, **options)) == []


async def test_a_position_in_a_frame_gives_the_rest_of_it(tmp_path: Path) -> None:
    """Whoever has read half a frame goes on in its middle."""
    write(tmp_path, 1, [(1, 1, b"abc"), (2, 1, b"def"), (3, 2, b"ghi")])
    for start in range(10):
        assert text(await read(tmp_path, start=start)) == b"abcdefghi"[start:]


async def test_a_segment_that_is_deleted_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    """What was deleted unread behind it is counted."""
    frames = rotated(tmp_path, first=0)

    async def more() -> bool:
        return False

    found: list[LogFrame] = []
    async for frame in LogFiles(tmp_path).frames(ID, follow=more):
        if not found:
            for path in (tmp_path / ID).glob("1.*"):
                if path.name.split(".")[1] in ("0", "40"):
                    path.unlink()
        found.append(frame)
    assert [frame.data for frame in found] == [data for _, _, data in frames[:10] + frames[20:]]
    assert missed(found) == [(40, b"020\n")]


async def test_following_across_rotation_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """The follower is at the end of a segment when more is written to it and the next one is begun."""
    write(tmp_path, 1, [(1, 1, b"one\n")])
    looks = 0

    async def more() -> bool:
        nonlocal looks
        looks += 1
        write(tmp_path, 1, [(1, 1, b"one\n"), (2, 1, b"two\n")])
        write(tmp_path, 2, [(3, 1, b"three\n")], base=8)
        return looks < 2

    assert text(await read(tmp_path, follow=more)) == b"one\ntwo\nthree\n"


async def test_a_reader_who_was_overtaken_is_told_at_the_end_too(tmp_path: Path) -> None:
    """All that was asked for has gone while it was read: no frame is left that could tell."""
    rotated(tmp_path, first=0)
    found: list[LogFrame] = []
    async for frame in LogFiles(tmp_path).frames(ID):
        if not found:
            for path in (tmp_path / ID).iterdir():
                path.unlink()
            write(tmp_path, 2, [(99, 1, b"new\n")], base=500)
        found.append(frame)
    assert missed(found) == [(460, b"")]


async def test_one_line_over_many_frames_and_segments_is_one_line(tmp_path: Path) -> None:
    """However long: a tail of one line gives all of it."""
    for number in range(8):
        write(tmp_path, 1, [(number, 1, b"x" * 60_000) for _ in range(20)], base=number * 1_200_000 or None)
    write(tmp_path, 1, [(9, 1, b"end\n"), (9, 1, b"last\n")], base=9_600_000)
    assert text(await read(tmp_path, tail=2)) == b"x" * 9_600_000 + b"end\nlast\n"


async def test_the_path_is_where_the_driver_writes(tmp_path: Path) -> None:
    """As inspect shows it to log shippers."""
    files = LogFiles(tmp_path)
    assert files.path(ID, "local") == str(tmp_path / ID)
    assert files.path(ID, "json-file") == str(tmp_path / ID / f"{ID}-json.log")
    assert files.path(ID, "none") == ""
