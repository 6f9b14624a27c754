"""From the pipe to the file: every byte is in one of them, whenever the warden is killed."""

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
