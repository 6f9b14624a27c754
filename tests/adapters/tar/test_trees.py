"""A tree that is packed and spread again is the same tree, whatever is in it."""

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.tar.pack import CLOSED, HIDDEN, KEPT, Packer, PipeSink, Sink, Unreadable
from adapters.tar.reader import Reader, Source
from adapters.tar.spread import Rules, Spreader
from tests.adapters.tar.packing import packed
from tests.examples import examples

Tree = dict[str, tuple[object, ...]]


class Given(Source):
    """Bytes in small pieces."""

    def __init__(self, data: bytes) -> None:
        super().__init__(-1)
        self._pieces: Iterator[bytes] = iter([data[at : at + 700] for at in range(0, len(data), 700)])

    def more(self) -> bytes:
        """See Source."""
        return next(self._pieces, b"")


def spread(data: bytes, target: Path, rules: Rules | None = None) -> Spreader:
    """Make the files below `target`."""
    fd = os.open(target, os.O_PATH)
    try:
        spreader = Spreader(fd, rules or Rules())
        spreader.spread(Reader(Given(data)))
    finally:
        os.close(fd)
    return spreader


def tree(root: Path) -> Tree:
    """What is below, with everything that should survive."""
    found: Tree = {}
    links: dict[int, str] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        name = str(path.relative_to(root))
        first = links.setdefault(status.st_ino, name)
        if path.is_symlink():
            content: object = os.readlink(path)
        else:
            content = path.read_bytes() if path.is_file() else ""
        when = status.st_mtime_ns // 10**9
        found[name] = stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode), when, content, first
    return found


def test_a_tree_survives_the_journey(tmp_path: Path) -> None:
    """Modes, times, links, hard links, empty directories, names that are no text."""
    source, target = tmp_path / "s", tmp_path / "t"
    (source / "a" / "deep").mkdir(parents=True)
    target.mkdir()
    (source / "a" / "file").write_bytes(b"x" * 5000)
    (source / "a" / "script").write_text("#!")
    (source / "a" / "script").chmod(0o750)
    os.link(source / "a" / "file", source / "a" / "zz")
    os.symlink("../nowhere", source / "a" / "link")
    os.mkfifo(source / "a" / "fifo")
    (Path(os.fsdecode(os.fsencode(source) + b"/\xff\xfe"))).write_text("raw")
    (source / "locked").mkdir()
    (source / "locked" / "in").write_text("in")
    (source / "locked").chmod(0o500)
    for path in sorted(source.rglob("*"), reverse=True):
        os.utime(path, (1_000_000_000, 1_000_000_000), follow_symlinks=False)
    spread(packed(tmp_path, "s", "."), target)
    assert tree(target) == tree(source)


NAMES = st.sampled_from(["a", "b", "c", "longer name", "\udcfe"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@given(st.dictionaries(PATHS, st.one_of(st.none(), st.binary(max_size=1500), st.text("x/.", min_size=1, max_size=20))))
@examples(60)
def test_any_tree_survives_the_journey(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, bytes | str | None]
) -> None:
    """Directories, files and links in any shape."""
    place = tmp_path_factory.mktemp("any")
    source, target = place / "s", place / "t"
    source.mkdir()
    target.mkdir()
    for path, content in entries.items():
        try:
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                (source / path).mkdir(exist_ok=True)
            elif isinstance(content, bytes):
                (source / path).write_bytes(content)
            else:
                os.symlink(content, source / path)
        except OSError:
            continue  # two of these names cannot be together
    spread(packed(place, "s", "."), target)
    assert tree(target) == tree(source)


def test_holes_stay_holes_and_data_stays_where_it_was(tmp_path: Path) -> None:
    """A file of 64 MiB with 9 bytes in it costs neither the archive nor the disk 64 MiB."""
    size = 64 << 20
    with (tmp_path / "s").open("wb") as file:
        for at in (0, 5 << 20, size - 3):
            file.seek(at)
            file.write(b"abc")
    data = packed(tmp_path, "s", "copy")
    assert len(data) < 100_000
    spread(data, tmp_path)
    copy = tmp_path / "copy"
    assert copy.stat().st_size == size
    assert copy.stat().st_blocks * 512 < 1 << 20
    with (tmp_path / "s").open("rb") as one, copy.open("rb") as other:
        while piece := one.read(1 << 20):
            assert other.read(1 << 20) == piece


@pytest.mark.parametrize("size", [1 << 20, 3 << 20])
def test_a_file_of_one_hole_is_whole(tmp_path: Path, size: int) -> None:
    """No byte of it is stored."""
    with (tmp_path / "s").open("wb") as file:
        file.truncate(size)
    spread(packed(tmp_path, "s", "copy"), tmp_path)
    assert (tmp_path / "copy").read_bytes() == bytes(size)


def test_times_keep_their_digits_when_they_are_wanted(tmp_path: Path) -> None:
    """Also before 1970."""
    for moment in (1_700_000_000_123_456_789, -1_500_000_000, 5):
        (tmp_path / "s").write_text("x")
        os.utime(tmp_path / "s", ns=(moment, moment))
        spread(packed(tmp_path, "s", "copy", fine=True), tmp_path)
        assert (tmp_path / "copy").stat().st_mtime_ns == moment


def test_user_attributes_survive(tmp_path: Path) -> None:
    """Where the file system has them."""
    (tmp_path / "s").write_text("x")
    try:
        os.setxattr(tmp_path / "s", "user.note", b"kept")
    except OSError:
        pytest.skip("no extended attributes here")
    spread(packed(tmp_path, "s", "copy"), tmp_path)
    assert os.getxattr(tmp_path / "copy", "user.note") == b"kept"


def test_a_file_that_shrinks_is_filled_up_and_told(tmp_path: Path) -> None:
    """The archive stays one, whoever truncates meanwhile."""
    path = tmp_path / "s"
    path.write_bytes(b"x" * (1 << 20))

    class Truncating(Sink):
        def copy(self, fd: int, count: int) -> int:
            os.truncate(path, 1000)
            return super().copy(fd, count)

    pieces: list[bytes] = []
    fd = os.open(tmp_path, os.O_PATH)
    packer = Packer(Truncating(pieces.append))
    packer.add(fd, b"s", b"copy")
    packer.end()
    os.close(fd)
    assert packer.shrunk == [b"copy"]
    spread(b"".join(pieces), tmp_path)
    assert (tmp_path / "copy").read_bytes() == b"x" * 1000 + bytes((1 << 20) - 1000)


def test_what_vanishes_is_left_out_and_what_is_missing_is_told(tmp_path: Path) -> None:
    """A tree may change while it is read; a name that was asked for must be there."""
    (tmp_path / "s").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "s" / name).write_text(name)

    class Removing(Sink):
        def write(self, data: bytes) -> None:
            (tmp_path / "s" / "b").unlink(missing_ok=True)
            super().write(data)

    pieces: list[bytes] = []
    fd = os.open(tmp_path, os.O_PATH)
    packer = Packer(Removing(pieces.append))
    packer.add(fd, b"s", b"copy")
    packer.end()
    with pytest.raises(FileNotFoundError):
        packer.add(fd, b"nothing", b"x")
    os.close(fd)
    spread(b"".join(pieces), tmp_path)
    assert sorted(os.listdir(tmp_path / "copy")) == ["a", "c"]


def test_a_name_that_is_too_long_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    """A tree of any depth can be made with relative names; its names in an archive would grow with the square."""
    here = os.open(tmp_path, os.O_PATH)
    try:
        for _ in range(25):
            os.mkdir("d" * 200, dir_fd=here)
            here, above = os.open("d" * 200, os.O_PATH, dir_fd=here), here
            os.close(above)
    finally:
        os.close(here)
    with pytest.raises(Unreadable, match="too long"):
        packed(tmp_path, "d" * 200, "x")


def test_large_files_go_into_a_pipe_without_being_held(tmp_path: Path) -> None:
    """The sink of the small process passes them by."""
    (tmp_path / "s").write_bytes(os.urandom(300_000))
    reader, writer = os.pipe()
    fd = os.open(tmp_path, os.O_PATH)
    pid = os.fork()
    if not pid:
        try:
            packer = Packer(PipeSink(writer))
            packer.add(fd, b"s", b"copy")
            packer.end()
        finally:
            os._exit(0)
    os.close(writer)
    os.close(fd)
    target = os.open(tmp_path, os.O_PATH)
    Spreader(target, Rules()).spread(Reader(Source(reader)))
    os.close(target)
    os.close(reader)
    assert os.waitpid(pid, 0)[1] == 0
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "s").read_bytes()


def test_what_is_judged_not_to_belong_is_left_out(tmp_path: Path) -> None:
    """A directory that is hidden is written when something in it is not, before that, and once."""
    for name in ("a/keep", "a/drop", "b/c/keep", "b/d/drop", "e/drop", "f"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    asked: list[bytes] = []

    def judge(name: bytes) -> int:
        asked.append(name)
        if name == b"e":
            return CLOSED
        return KEPT if name.endswith((b"keep", b"f")) else HIDDEN

    with tarfile.open(fileobj=io.BytesIO(packed(tmp_path, judge=judge))) as tar:
        assert tar.getnames() == [".", "a", "a/keep", "b", "b/c", "b/c/keep", "f"]
    assert b"e/drop" not in asked
