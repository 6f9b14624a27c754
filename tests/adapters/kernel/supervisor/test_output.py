"""From the pipe to the file: every byte is in one of them, whenever the warden is killed."""

import fcntl
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from adapters.kernel.supervisor.output import Output
from domain import failpoints, logs

Pipe = tuple[int, int]


class Killed(BaseException):
    """Stands for SIGKILL: nobody catches it."""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """(reading, writing), not blocking."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    yield reading, writing
    os.close(reading)
    os.close(writing)


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """No failpoint outlives its test."""
    yield
    failpoints.arm(None)


def content(directory: Path, number: int = 1) -> list[tuple[int, bytes]]:
    """(stream, data) of every frame; times must not decrease."""
    buffer = (directory / f"{number}.0.log").read_bytes()
    found = list(logs.frames(buffer))
    assert [frame.time for frame in found] == sorted(frame.time for frame in found)
    assert not any(frame.missing for frame in found)
    return [(frame.stream, buffer[frame.start:frame.stop]) for frame in found]


def test_bytes_travel_unchanged(tmp_path: Path, pipe: Pipe) -> None:
    """Binary, without an end of line, of both streams."""
    output = Output(str(tmp_path / "new"), 1)
    for stream, data in ((1, b"\0\xff\n"), (2, b"no end"), (1, b"x" * 60_000)):
        os.write(pipe[1], data)
        assert output.pump(pipe[0], stream) == len(data)
    assert output.pump(pipe[0], 1) == 0
    assert content(tmp_path / "new") == [(1, b"\0\xff\n"), (2, b"no end"), (1, b"x" * 60_000)]


def test_a_silent_container_has_no_file(tmp_path: Path, pipe: Pipe) -> None:
    """Most short runs say nothing."""
    output = Output(str(tmp_path), 1)
    output.pump(pipe[0], 1)
    output.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("point", ["warden.log-header", "warden.log-data"])
def test_a_warden_killed_in_between_loses_and_doubles_nothing(tmp_path: Path, pipe: Pipe, point: str) -> None:
    """The header first, then the bytes by splice: the next warden mends the header."""
    output = Output(str(tmp_path), 1)
    os.write(pipe[1], b"one\n")
    output.pump(pipe[0], 1)

    def die(name: str) -> None:
        if name == point:
            raise Killed

    failpoints.arm(die)
    os.write(pipe[1], b"two\n")
    with pytest.raises(Killed):
        output.pump(pipe[0], 1)
    failpoints.arm(None)
    os.write(pipe[1], b"three\n")
    again = Output(str(tmp_path), 1)
    while again.pump(pipe[0], 1):
        pass
    assert b"".join(data for _, data in content(tmp_path)) == b"one\ntwo\nthree\n"


@pytest.mark.parametrize("cut", range(1, 24))
def test_a_cut_frame_is_mended(tmp_path: Path, pipe: Pipe, cut: int) -> None:
    """At any byte: what is there stays, half a header goes."""
    output = Output(str(tmp_path), 1)
    for data in (b"first", b"second!!"):
        os.write(pipe[1], data)
        output.pump(pipe[0], 2)
    log = tmp_path / "1.0.log"
    os.truncate(log, log.stat().st_size - 24 + cut)
    again = Output(str(tmp_path), 1)
    os.write(pipe[1], b"third")
    again.pump(pipe[0], 1)
    kept = [(2, b"second!!"[:cut - 16])] if cut > 16 else []
    assert content(tmp_path) == [(2, b"first"), *kept, (1, b"third")]


def test_the_index_names_frames_about_64_kib_apart(tmp_path: Path, pipe: Pipe) -> None:
    """Also after a restart in the middle."""
    output = Output(str(tmp_path), 1)
    for number in range(200):
        os.write(pipe[1], b"%4d" % number * 1000)
        output.pump(pipe[0], 1)
        if number == 100:
            output.close()
            output = Output(str(tmp_path), 1)
    buffer, index = (tmp_path / "1.0.log").read_bytes(), (tmp_path / "1.0.idx").read_bytes()
    starts = {frame.start - logs.HEADER_SIZE: (number, frame.time) for number, frame in enumerate(logs.frames(buffer))}
    entries = [logs.decode_entry(index[n:n + logs.ENTRY_SIZE]) for n in range(0, len(index), logs.ENTRY_SIZE)]
    assert all(starts[entry.offset] == (entry.ahead // 4000, entry.time) for entry in entries)
    offsets = [0, *(entry.offset for entry in entries), len(buffer)]
    assert all(0 < later - earlier < 2 * logs.INDEX_SPACING for earlier, later in pairwise(offsets))


def test_an_index_that_was_lost_is_no_loss(tmp_path: Path, pipe: Pipe) -> None:
    """And one that promises more than there is, is cut."""
    output = Output(str(tmp_path), 1)
    for _ in range(40):
        os.write(pipe[1], b"x" * 8000)
        output.pump(pipe[0], 1)
    whole = content(tmp_path)
    for index in (b"", logs.entry(1, 1 << 40, 5), b"torn"):
        (tmp_path / "1.0.idx").write_bytes(index)
        Output(str(tmp_path), 1).close()
        assert content(tmp_path) == whole
        assert (tmp_path / "1.0.idx").read_bytes() in (b"",)


def test_somebody_else_may_read_from_the_pipe(tmp_path: Path, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container can open its own /dev/stdout for reading: the header must not promise what was taken away."""
    output = Output(str(tmp_path), 1)
    os.write(pipe[1], b"0123456789")
    splice = os.splice

    def late(*arguments: int, **options: int) -> int:
        os.read(pipe[0], 6)
        return splice(*arguments, **options)

    monkeypatch.setattr(os, "splice", late)
    assert output.pump(pipe[0], 1) == 4
    assert content(tmp_path) == [(1, b"6789")]


SMALL = logs.Limits(1000, 3)


def test_the_last_of_a_pipe_that_was_made_larger_is_stored(tmp_path: Path, pipe: Pipe) -> None:
    """A process may give its output a pipe of a megabyte (fcntl(2), F_SETPIPE_SZ), fill it and end."""
    size = fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 1 << 20)
    data = os.urandom(size)
    assert os.write(pipe[1], data) == size
    output = Output(str(tmp_path), 1)
    assert output.drain(pipe[0], 1) == size
    assert everything(tmp_path) == data


def test_draining_ends_though_somebody_goes_on_writing(tmp_path: Path, pipe: Pipe) -> None:
    """What the terminal still has comes along; a process that has got away must not keep its container from ending."""
    output = Output(str(tmp_path), 1)
    assert output.drain(pipe[0], 1, lambda: os.write(pipe[1], b"x" * 60_000)) >= 1 << 18


def segments(directory: Path) -> list[logs.Segment]:
    """Those that are there."""
    return logs.segments(os.listdir(directory), lambda name: (directory / name).stat().st_size)


def everything(directory: Path) -> bytes:
    """The data of all segments; each begins where the one before it ends."""
    data = b""
    for segment in segments(directory):
        assert not data or segment.base == segments(directory)[0].base + len(data)
        buffer = (directory / f"{segment.name}.log").read_bytes()
        data += b"".join(buffer[frame.start:frame.stop] for frame in logs.frames(buffer))
    return data


def waits(output: Output) -> bool:
    """Whether it is held up by somebody who reads."""
    return output.full


def write(output: Output, pipe: Pipe, data: bytes, **options: bool) -> int:
    """All at once, as far as it is taken."""
    os.write(pipe[1], data)
    moved = 0
    while count := output.pump(pipe[0], 1, **options):
        moved += count
    return moved


def test_a_full_segment_is_followed_by_another_and_the_oldest_goes(tmp_path: Path, pipe: Pipe) -> None:
    """No file is larger than it may be, there are not more than there may be, and what is gone was counted."""
    output = Output(str(tmp_path), 1, SMALL)
    written = b"".join(b"%03d" % number * 30 for number in range(100))
    for start in range(0, len(written), 90):
        assert write(output, pipe, written[start:start + 90]) == 90
    assert len(segments(tmp_path)) == 3
    assert all(path.stat().st_size <= 1000 for path in tmp_path.glob("*.log"))
    assert len([*tmp_path.iterdir()]) == 6
    kept = everything(tmp_path)
    assert written.endswith(kept)
    assert len(kept) > 1600
    assert output.dropped == len(written) - len(kept)
    assert output.position == len(written)


def test_the_next_run_goes_on_where_the_last_one_ended(tmp_path: Path, pipe: Pipe) -> None:
    """A container that dies at once again and again has one file, not thousands; each frame knows its run."""
    for attempt in range(1, 30):
        output = Output(str(tmp_path), attempt, SMALL)
        assert write(output, pipe, b"run %d\n" % attempt)
        output.close()
    assert [segment.base for segment in segments(tmp_path)] == [0]
    attempts = [frame.attempt for frame in logs.frames((tmp_path / "1.0.log").read_bytes())]
    assert attempts == [*range(1, 30)]
    assert everything(tmp_path) == b"".join(b"run %d\n" % attempt for attempt in range(1, 30))


def test_a_file_of_an_older_version_is_left_alone_and_gone_on_behind(tmp_path: Path, pipe: Pipe) -> None:
    """Its engine was upgraded while the container ran; its last frame is mended as ever."""
    old = logs.header(5, 1, 4) + b"old\n" + logs.header(6, 1, 9) + b"half"
    (tmp_path / "1.log").write_bytes(old)
    output = Output(str(tmp_path), 1, SMALL)
    write(output, pipe, b"new\n")
    assert [segment.name for segment in segments(tmp_path)] == ["1", f"1.{len(old)}"]
    assert (tmp_path / "1.log").read_bytes() == old[:20] + logs.header(6, 1, 4) + b"half"
    for _ in range(40):
        write(output, pipe, b"x" * 90)
    assert "1.log" not in os.listdir(tmp_path)


def test_what_somebody_wants_to_read_is_not_deleted_and_the_pipe_waits(tmp_path: Path, pipe: Pipe) -> None:
    """Back-pressure instead of loss; as soon as the reader has come further it goes on."""
    output = Output(str(tmp_path), 1, SMALL)
    output.floor = 0
    taken = 0
    while not waits(output):
        taken += write(output, pipe, b"x" * 90)
    assert everything(tmp_path)[:taken] == b"x" * taken
    assert len(segments(tmp_path)) == 3
    assert 2000 < taken < 3000
    output.floor = segments(tmp_path)[1].base - 1
    assert output.pump(pipe[0], 1) == 0
    output.floor += 1
    assert output.pump(pipe[0], 1) == 90
    assert not waits(output)
    output.floor = None
    for _ in range(100):
        assert write(output, pipe, b"y" * 90)


def test_one_file_holds_what_its_reader_has_not_taken(tmp_path: Path, pipe: Pipe) -> None:
    """max-file=1: the reader must have read all before it is begun anew."""
    output = Output(str(tmp_path), 1, logs.Limits(1000, 1))
    output.floor = 0
    while not waits(output):
        write(output, pipe, b"x" * 90)
    output.floor = output.position
    assert output.pump(pipe[0], 1) == 90
    assert len(segments(tmp_path)) == 1


def test_the_last_of_a_pipe_is_stored_whoever_reads(tmp_path: Path, pipe: Pipe) -> None:
    """A run that is over cannot wait; the excess goes as soon as nobody needs it."""
    output = Output(str(tmp_path), 1, SMALL)
    output.floor = 0
    written = 0
    while not waits(output):
        written += write(output, pipe, b"x" * 90)
    os.write(pipe[1], b"y" * 4000)
    while count := output.pump(pipe[0], 1, last=True):
        written += count
    assert len(everything(tmp_path)) == written
    assert len(segments(tmp_path)) > 3
    output.drop()
    assert len(everything(tmp_path)) == written
    output.floor = None
    output.drop()
    assert len(segments(tmp_path)) == 3


@pytest.mark.parametrize("point", ["warden.log-rotate", "warden.log-drop", "warden.log-header", "warden.log-data"])
@pytest.mark.parametrize("passing", range(1, 6))
def test_a_warden_killed_in_a_rotation_loses_and_doubles_nothing(tmp_path: Path, pipe: Pipe, point: str,
                                                                 passing: int) -> None:
    """At every place; the next one knows to the byte how much is gone."""
    left = passing

    def die(name: str) -> None:
        nonlocal left
        left -= name == point
        if name == point and not left:
            raise Killed

    failpoints.arm(die)
    written, output = b"", Output(str(tmp_path), 1, SMALL)
    for number in range(150):
        data = b"%04d" % number * 20
        written += data
        os.write(pipe[1], data)
        try:
            while output.pump(pipe[0], 1):
                pass
        except Killed:
            output = Output(str(tmp_path), 1, SMALL)
            while output.pump(pipe[0], 1):
                pass
    assert left <= 0
    kept = everything(tmp_path)
    assert written.endswith(kept)
    assert len(segments(tmp_path)) == 3
    assert (output.dropped, output.position) == (len(written) - len(kept), len(written))


def test_output_that_is_not_kept_leaves_nothing(tmp_path: Path, pipe: Pipe) -> None:
    """The spool of the driver `none`."""
    output = Output(str(tmp_path / "spool"), 1, SMALL)
    for _ in range(50):
        write(output, pipe, b"x" * 90)
    output.delete()
    assert not (tmp_path / "spool").exists()


def test_times_do_not_go_back_over_segments(tmp_path: Path, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers search by time; a clock that was set back must not hide what comes."""
    monkeypatch.setattr("time.time_ns", lambda: 10**18)
    write(Output(str(tmp_path), 1, SMALL), pipe, b"x" * 900)
    monkeypatch.setattr("time.time_ns", lambda: 10**17)
    write(Output(str(tmp_path), 2, SMALL), pipe, b"y" * 900)
    times = [frame.time for segment in segments(tmp_path)
             for frame in logs.frames((tmp_path / f"{segment.name}.log").read_bytes())]
    assert len(times) == 2
    assert times == sorted(times)
