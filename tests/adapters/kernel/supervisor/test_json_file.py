"""The file for log shippers: the industry's lines, rotated, each of them once, whoever is killed and when."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kernel.supervisor import json_file, json_lines
from adapters.kernel.supervisor.json_file import JsonFile
from domain import failpoints, logs
from tests.examples import examples

ID = "ab" * 32
Record = dict[str, object]
NOON = 1_764_072_000_000_000_007
POINTS = ("scribe.before-write", "scribe.after-write", "scribe.rotating", "scribe.renamed", "scribe.rotated")


class Killed(BaseException):
    """Stands for SIGKILL: nobody catches it."""


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """No failpoint outlives its test."""
    yield
    failpoints.arm(None)


class Store:
    """Frames as the warden writes them, in one segment for each call of `write`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.position = 0
        self.frames: list[tuple[int, int, bytes]] = []
        directory.mkdir(exist_ok=True)

    def write(self, *frames: tuple[int, bytes], attempt: int = 1) -> None:
        """(stream, data) of each."""
        log = b""
        name = f"{attempt}.{self.position}"
        for stream, data in frames:
            log += logs.header(NOON + len(self.frames), stream, len(data), attempt) + data
            self.frames.append((attempt, stream, data))
            self.position += len(data)
        (self.directory / f"{name}.log").write_bytes(log)
        (self.directory / f"{name}.idx").touch()


def copy(store: Store, limits: logs.Limits = logs.DEFAULT, *, finish: bool = True) -> None:
    """All that there is, by one scribe."""
    json_file.mark(str(store.directory), limits)
    file = JsonFile(str(store.directory), ID, limits)
    try:
        while file.turn():
            pass
        if finish:
            file.finish()
    finally:
        file.close()


def raw(directory: Path) -> bytes:
    """All files, the oldest first."""
    paths = sorted(directory.glob(f"{ID}-json.log*"), key=lambda path: -int(path.suffix[1:].replace("log", "0")))
    return b"".join(path.read_bytes() for path in paths)


def records(directory: Path) -> list[Record]:
    """All lines of all files."""
    return [json.loads(line) for line in raw(directory).splitlines()]


def test_a_line_is_an_object_with_log_stream_and_time(tmp_path: Path) -> None:
    """As every log shipper reads it; to the byte."""
    store = Store(tmp_path)
    store.write((1, b'say "hi"\\\t\n'), (2, b"oops\n"))
    copy(store)
    assert raw(tmp_path) == (
        b'{"log":"say \\"hi\\"\\\\\\t\\n","stream":"stdout","time":"2025-11-25T12:00:00.000000007Z"}\n'
        b'{"log":"oops\\n","stream":"stderr","time":"2025-11-25T12:00:00.000000008Z"}\n')


def test_what_is_not_utf_8_becomes_a_replacement_character(tmp_path: Path) -> None:
    """A character that came in two pieces stays whole."""
    store = Store(tmp_path)
    store.write((1, b"a\xffb\xe2\x82"), (2, b"between\n"), (1, b"\xac\n"))
    copy(store)
    assert [record["log"] for record in records(tmp_path)] == ["between\n", "a\ufffdb\u20ac\n"]


def test_a_line_without_an_end_is_written_at_the_end_of_its_run(tmp_path: Path) -> None:
    """Not before; and not glued to what the next run writes."""
    store = Store(tmp_path)
    store.write((1, b"password: "))
    copy(store, finish=False)
    assert records(tmp_path) == []
    store.write((1, b"again\n"), attempt=2)
    copy(store)
    assert [record["log"] for record in records(tmp_path)] == ["password: ", "again\n"]
    assert json_file.marked(str(tmp_path)) is None


def test_a_long_line_comes_in_pieces_of_16_kib(tmp_path: Path) -> None:
    """As usual: only the last one ends with a newline, and no character is torn."""
    store = Store(tmp_path)
    text = "ü" * 30_000
    data = text.encode() + b"\nshort\n"
    store.write(*((1, data[start:start + 5_001]) for start in range(0, len(data), 5_001)))
    copy(store)
    *pieces, last = [str(record["log"]) for record in records(tmp_path)]
    assert last == "short\n"
    assert "".join(pieces) == text + "\n"
    assert all(len(piece.encode()) <= 16_384 for piece in pieces)
    assert {record["time"] for record in records(tmp_path)[:-1]} == {records(tmp_path)[0]["time"]}


def test_a_line_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """A prompt on one stream must not be older than a MiB of the other."""
    store = Store(tmp_path)
    store.write((2, b"prompt> "), *((1, b"x" * 999 + b"\n") for _ in range(1100)))
    copy(store, finish=False)
    assert {record["log"] for record in records(tmp_path) if record["stream"] == "stderr"} == {"prompt> "}


def test_files_are_rotated_between_lines(tmp_path: Path) -> None:
    """No file is larger than it may be, there are not more than there may be; the newest has the end."""
    store = Store(tmp_path)
    store.write(*((1, b"line %d\n" % number) for number in range(100)))
    copy(store, logs.Limits(1000, 3))
    files = sorted(path.name for path in tmp_path.glob("*-json.log*"))
    assert files == [f"{ID}-json.log{ending}" for ending in ("", ".1", ".2")]
    assert all(0 < (tmp_path / name).stat().st_size <= 1000 for name in files)
    numbers = [int(str(record["log"]).split()[1]) for record in records(tmp_path)]
    assert numbers == [*range(numbers[0], 100)]
    assert len(numbers) > 20


def test_one_file_is_begun_anew_when_it_is_full(tmp_path: Path) -> None:
    """max-file=1."""
    store = Store(tmp_path)
    store.write(*((1, b"line %d\n" % number) for number in range(100)))
    copy(store, logs.Limits(1000, 1))
    assert [path.name for path in tmp_path.glob("*-json.log*")] == [f"{ID}-json.log"]
    assert records(tmp_path)[-1]["log"] == "line 99\n"


def test_what_was_deleted_before_it_was_read_is_counted(tmp_path: Path) -> None:
    """The scribe never holds up a container: one that floods may be faster. Shippers see how much is missing."""
    store = Store(tmp_path)
    store.write((1, b"one\ntw"))
    file = JsonFile(str(tmp_path), ID, logs.DEFAULT)
    assert file.turn()
    store.write((1, b"o\nthree\n"))
    store.write((1, b"four\n"))
    for path in tmp_path.glob("1.[06].*"):
        path.unlink()
    assert file.turn()
    file.close()
    assert [(record["log"], record.get("dropped")) for record in records(tmp_path)] == [
        ("one\n", None), ("tw", None), ("", 8), ("four\n", None)]


def test_what_a_dead_scribe_has_seen_and_not_written_may_be_gone_as_well(tmp_path: Path) -> None:
    """The beginning of a line; it is counted, and half a record does not stay."""
    store = Store(tmp_path)
    store.write((1, b"one\ntw"))
    copy(store, finish=False)
    with (tmp_path / f"{ID}-json.log").open("ab") as file:
        file.write(b'{"log":"tw')
    store.write((1, b"o\n"))
    store.write((1, b"four\n"))
    for path in tmp_path.glob("1.[06].*"):
        path.unlink()
    copy(store)
    assert [(record["log"], record.get("dropped")) for record in records(tmp_path)] == [
        ("one\n", None), ("", 4), ("four\n", None)]


PIECES = st.lists(
    st.tuples(st.sampled_from([1, 2]), st.sampled_from([b"a", b"\n", b"bc\n", b"d\ne", b"\xff", b"x" * 700 + b"\n"])),
    min_size=1, max_size=12)


@examples(150, unchecked=True)
@given(st.lists(PIECES, min_size=1, max_size=4), st.integers(1, 3), st.integers(40, 900),
       st.lists(st.tuples(st.sampled_from(POINTS), st.integers(1, 4)), max_size=6), st.integers(0, 200))
def test_whoever_is_killed_nothing_is_lost_or_written_twice(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[tuple[int, bytes]]], files: int, size: int,
    deaths: list[tuple[str, int]], torn: int) -> None:
    """At every named place, again and again, and in the middle of a write: the files are those of a calm scribe."""
    limits = logs.Limits(size, files)
    undisturbed, store = (Store(tmp_path_factory.mktemp(name)) for name in ("one", "two"))
    for attempt, frames in enumerate(runs, 1):
        for each in (undisturbed, store):
            each.write(*frames, attempt=attempt)
        if deaths:
            _die(store, limits, *deaths.pop(), torn)
    copy(undisturbed, limits)
    while deaths:
        _die(store, limits, *deaths.pop(), torn)
    copy(store, limits)
    assert raw(store.directory) == raw(undisturbed.directory)


def _die(store: Store, limits: logs.Limits, point: str, passing: int, torn: int) -> None:
    """A scribe that is killed when it passes a place for the so-manyth time; or in the write before it."""
    left = passing

    def die(name: str) -> None:
        nonlocal left
        left -= name == point
        if not left:
            raise Killed

    write = os.write

    def half(fd: int, data: bytes) -> int:
        if point == "scribe.after-write" and left == 1 and len(data) > torn:
            write(fd, data[:torn])
            raise Killed
        return write(fd, data)

    failpoints.arm(die)
    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        patch.setattr(os, "write", half)
        copy(store, limits, finish=False)
    failpoints.arm(None)


def test_a_file_that_somebody_has_emptied_is_written_on(tmp_path: Path) -> None:
    """By hand, or by a logrotate that copies and truncates."""
    store = Store(tmp_path)
    store.write((1, b"one\n"))
    copy(store, finish=False)
    os.truncate(tmp_path / f"{ID}-json.log", 0)
    store.write((1, b"two\n"))
    copy(store)
    assert [record["log"] for record in records(tmp_path)] == ["two\n"]


@pytest.mark.parametrize("damage", [b"", b"\xff" * 200, b"short"])
def test_a_state_that_was_lost_costs_the_file_not_the_scribe(tmp_path: Path, damage: bytes) -> None:
    """Then it begins again in a new file."""
    store = Store(tmp_path)
    store.write((1, b"one\n"))
    copy(store)
    (tmp_path / json_file.STATE).write_bytes(damage)
    copy(store)
    assert [record["log"] for record in records(tmp_path)] == ["one\n", "one\n"]


def test_times_are_told_to_the_nanosecond() -> None:
    """RFC 3339, in UTC."""
    assert json_lines.rfc3339(NOON) == "2025-11-25T12:00:00.000000007Z"
