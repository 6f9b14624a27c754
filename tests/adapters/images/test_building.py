"""The files of builds: contexts in their archive, archives that are added, and layers made of placed things."""

import gzip
import io
import os
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.images import placed, unpacked
from adapters.images.building import BuildFiles
from adapters.images.context import Context
from adapters.images.merged import Merged
from adapters.images.store import LocalImageStore
from adapters.tar.reader import Damaged
from domain.build.ignore import Rules
from domain.build.placing import Node, Owner, Placed, follow, parse_mode
from domain.errors import Refused
from tests.adapters.images import tars

Entry = tuple[str, bytes, str]
"""Name, type, and content or where a link leads."""


def archive(*entries: Entry) -> bytes:
    """A tar of these."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, text in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.uid, entry.mtime = kind, 0o640, 1234, 99
            if kind == tarfile.REGTYPE:
                entry.size = len(text)
                tar.addfile(entry, io.BytesIO(text.encode()))
            else:
                entry.linkname = text
                tar.addfile(entry)
    return out.getvalue()


def file(name: str, text: str = "x") -> Entry:
    """A regular one."""
    return name, tarfile.REGTYPE, text


@pytest.fixture
def spooled(tmp_path: Path) -> Iterator[list[int]]:
    """Descriptors that are closed at the end."""
    fds: list[int] = []
    yield fds
    for fd in fds:
        os.close(fd)


def context(fds: list[int], folder: Path, data: bytes) -> Context:
    """The context in these bytes."""
    (folder / "context.tar").write_bytes(data)
    fds.append(os.open(folder / "context.tar", os.O_RDONLY | os.O_CLOEXEC))
    return Context(fds[-1])


def test_a_context_is_read_where_it_lies(spooled: list[int], tmp_path: Path) -> None:
    """Its files, links and directories, also those that are only mentioned on the way."""
    found = context(
        spooled,
        tmp_path,
        archive(file("./a/b/c", "hello"), ("l", tarfile.SYMTYPE, "/a"), file("big", "y" * 3_000_000), file("a/d", "")),
    )
    assert list(found.names("")) == ["a", "big", "l"]
    assert list(found.names("a")) == ["b", "d"]
    node = found.look("a/b/c")
    assert node is not None
    assert (node.kind, node.mode, node.uid, node.size) == ("file", 0o640, 1234, 5)
    assert b"".join(found.data(node)) == b"hello"
    big = found.look("big")
    assert big is not None
    assert sum(map(len, found.data(big))) == 3_000_000
    assert follow(found, "l/b") == "a/b"
    assert found.read("big", 10) == b"y" * 10
    assert found.read("a", 10) is None


def test_what_comes_twice_counts_as_it_comes_last(spooled: list[int], tmp_path: Path) -> None:
    """A file in the place of a directory takes along what was in it."""
    found = context(spooled, tmp_path, archive(file("a/b", "old"), file("x", "1"), file("x", "22"), file("a", "new")))
    assert found.look("a/b") is None
    assert found.read("x", 9) == b"22"
    assert found.read("a", 9) == b"new"
    again = context(spooled, tmp_path, archive(file("a", "new"), file("a/b", "old")))
    assert again.read("a/b", 9) == b"old"


@given(st.lists(st.tuples(
    st.lists(st.sampled_from(["a", "b", "", "."]), min_size=1, max_size=4).map("/".join), st.booleans(),
), max_size=12))
def test_names_mean_the_same_however_they_are_written(entries: list[tuple[str, bool]]) -> None:
    """With more slashes, with dots, after others of the same directory or after what has replaced it: a file takes away
    what was below its name, and what is above a name is a directory."""
    expected: dict[str, str] = {}
    blocks = b""
    for name, is_directory in entries:
        blocks += tars.header(name.encode(), b"5" if is_directory else b"0")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        for depth in range(1, len(parts)):
            expected["/".join(parts[:depth])] = "directory"
        if parts:
            path = "/".join(parts)
            expected[path] = "directory" if is_directory or name.endswith("/") else "file"
            if expected[path] == "file":
                expected = {one: kind for one, kind in expected.items() if not one.startswith(f"{path}/")}
    with tempfile.TemporaryFile() as file:
        file.write(blocks + bytes(1024))
        file.flush()
        found = Context(file.fileno())
    assert {node.path: node.kind for node in everything(found)} == expected


def everything(context: Context, directory: str = "") -> Iterator[Node]:
    """All that is in it."""
    for name in context.names(directory):
        node = context.look(f"{directory}/{name}".lstrip("/"))
        assert node is not None
        yield node
        yield from everything(context, node.path)


def test_hard_links_are_names_of_one_file(spooled: list[int], tmp_path: Path) -> None:
    """And stay that in a layer."""
    found = context(spooled, tmp_path, archive(file("a", "one"), ("b", tarfile.LNKTYPE, "a")))
    first, second = found.look("a"), found.look("b")
    assert first is not None
    assert second is not None
    assert first.identity == second.identity == "a"
    assert found.digest(first) == found.digest(second)
    things = [Placed(n.path, n.kind, n.mode, 0, 0, node=n) for n in (first, second)]
    with tarfile.open(fileobj=io.BytesIO(b"".join(placed.layer(things, found, 5)))) as tar:
        assert [(m.name, m.type, m.linkname) for m in tar] == [("a", tarfile.REGTYPE, ""), ("b", tarfile.LNKTYPE, "a")]


def test_files_of_the_same_beginning_are_not_mistaken(spooled: list[int], tmp_path: Path) -> None:
    """Digests are remembered by place; empty files have none."""
    found = context(spooled, tmp_path, archive(file("a", ""), file("b", "1"), file("c", "2"), file("d", "")))
    digests = [found.digest(node) for name in "abcd" if (node := found.look(name)) is not None]
    assert digests[0] == digests[3]
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (file("../x"), "cannot be one"),
        (file("a/../../x"), "cannot be one"),
        (file("n" * 256), "too long"),
        (("l", tarfile.LNKTYPE, "nothing"), "hard link to nothing"),
        (("l", tarfile.LNKTYPE, "../../etc/passwd"), "hard link to nothing"),
    ],
)
def test_a_name_that_leads_out_is_refused(spooled: list[int], tmp_path: Path, entry: Entry, says: str) -> None:
    """Before anything is used.

    GHSA-g2h8-426c-7976, GHSA-w26x-xg27-7qjc.
    """
    with pytest.raises(Refused, match=says):
        context(spooled, tmp_path, archive(entry))


@given(st.binary(max_size=2000), st.integers(0, 3000), st.integers(0, 2000))
def test_a_damaged_context_is_refused_or_read(data: bytes, cut: int, at: int) -> None:
    """Never anything else."""
    whole = bytearray(archive(file("a/b", "hello"), ("l", tarfile.SYMTYPE, "/a")))
    whole[at : at + len(data)] = data
    fd = os.memfd_create("context")
    try:
        os.write(fd, bytes(whole[:cut]) if cut % 2 else bytes(whole))
        Context(fd)
    except Refused:
        return
    finally:
        os.close(fd)


def test_what_is_ignored_is_not_there(spooled: list[int], tmp_path: Path) -> None:
    """The directories on the way to what is taken back are."""
    found = context(spooled, tmp_path, archive(file("a/b/c"), file("a/x"), file("d/e"), file("f")))
    found.hide(Rules("*\n!a/b"))
    assert list(found.names("")) == ["a"]
    assert list(found.names("a")) == ["b"]
    assert found.look("a/b/c") is not None
    assert found.look("d/e") is None


def unpack(data: bytes, directory: str = "d", owner: Owner | None = None, mode: str = "") -> dict[str, tarfile.TarInfo]:
    """The layer that an added archive gives."""
    pieces = unpacked.layer([data[:700], data[700:]], directory, "ADD x", owner, parse_mode(mode, "ADD"))
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        return {member.name: member for member in tar}


def test_an_added_archive_lands_below_its_directory() -> None:
    """With its owners unless others are named; links stay as they are, hard links follow."""
    data = archive(file("./a/b", "hello"), ("s", tarfile.SYMTYPE, "../../etc"), ("h", tarfile.LNKTYPE, "a/b"))
    for packed in (data, gzip.compress(data)):
        found = unpack(packed)
        assert list(found) == ["d/a/b", "d/s", "d/h"]
        assert (found["d/a/b"].uid, found["d/a/b"].mode, found["d/a/b"].mtime) == (1234, 0o640, 99)
        assert (found["d/s"].linkname, found["d/h"].linkname) == ("../../etc", "d/a/b")
    assert unpack(data, "")["a/b"].size == 5
    other = unpack(data, owner=Owner(5, 6), mode="700")["d/a/b"]
    assert (other.uid, other.gid, other.mode) == (5, 6, 0o700)


@pytest.mark.parametrize(
    "entry",
    [
        file("../x"),
        file("a/.wh.b"),
        file(".wh..wh..opq"),
        ("c", tarfile.CHRTYPE, ""),
        ("h", tarfile.LNKTYPE, "../../x"),
    ],
)
def test_an_added_archive_cannot_reach_out_or_remove(entry: Entry) -> None:
    """Marks of layers would take files of the image away.

    CVE-2020-10696.
    """
    with pytest.raises(Refused, match="ADD x holds"):
        unpack(archive(entry))


def test_only_archives_are_taken_for_archives() -> None:
    """A text is none, packed or not, and neither is half of one."""
    data = archive(file("a"))
    assert unpacked.is_archive(data[:512])
    assert unpacked.is_archive(unpacked.head_of([gzip.compress(data)], "x"))
    assert not unpacked.is_archive(b"hello" * 200)
    assert not unpacked.is_archive(unpacked.head_of([gzip.compress(b"text" * 999)], "x"))
    assert not unpacked.is_archive(unpacked.head_of([b"\x1f\x8bbroken"], "x"))
    assert not unpacked.is_archive(b"")


def test_a_file_that_changes_while_it_is_read_is_refused(spooled: list[int], tmp_path: Path) -> None:
    """A layer must hold what its key says."""
    found = context(spooled, tmp_path, archive(file("a", "y" * 600_000)))
    node = found.look("a")
    assert node is not None
    os.truncate(tmp_path / "context.tar", 1024)
    with pytest.raises(Refused, match="shorter"):
        b"".join(placed.layer([Placed("a", "file", 0o644, 0, 0, node=node)], found, 0))


def layered(folder: Path, *layers: Mapping[str, object]) -> Merged:
    """Layers on the disk: content, `->target`, None for a mark of removal."""
    places = []
    for number, files in enumerate(layers):
        place = folder / str(number)
        place.mkdir()
        for name, what in files.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(what, str) and what.startswith("->"):
                path.symlink_to(what[2:])
            elif what is not None:
                path.write_text(str(what))
        places.append(place)
    return Merged(places)


def test_an_image_s_tree_is_that_of_all_its_layers(tmp_path: Path) -> None:
    """The uppermost one that has something counts; links are followed inside, and lead nowhere else."""
    tree = layered(
        tmp_path,
        {"etc/passwd": "low", "etc/only": "1", "l": "->etc"},
        {"etc/passwd": "high", "out": "->/../../etc/only", "host": "->/proc/self/exe"},
    )
    try:
        assert tree.names("etc") == ["only", "passwd"]
        assert tree.read("etc/passwd", 9) == b"high"
        assert tree.read("l/only", 9) == b"1"
        assert tree.read("out", 9) == b"1"
        assert tree.read("host", 9) is None
        assert tree.look("l/only") is None
        node = tree.look("etc/only")
        assert node is not None
        assert b"".join(tree.data(node)) == b"1"
    finally:
        tree.close()


def test_a_pipe_in_an_image_is_nothing_to_be_read(tmp_path: Path) -> None:
    """Opening it would wait for ever."""
    (tmp_path / "layer" / "etc").mkdir(parents=True)
    os.mkfifo(tmp_path / "layer" / "etc" / "passwd")
    tree = Merged([tmp_path / "layer"])
    try:
        assert tree.read("etc/passwd", 9) is None
    finally:
        tree.close()


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    """A stream."""
    for part in parts:
        yield part


async def test_a_context_leaves_no_file(tmp_path: Path) -> None:
    """It has no name while it is used, so a crash leaves nothing; packed ones are unpacked as a stream."""
    store = LocalImageStore(tmp_path / "store")
    files = BuildFiles(store, tmp_path, tmp_path)
    data = gzip.compress(archive(file("a", "hello")))
    try:
        async with files.context(pieces(data[:50], data[50:])) as found:
            assert found.read("a", 9) == b"hello"
            assert [path.name for path in tmp_path.iterdir()] == ["store"]
        with pytest.raises(Refused, match="damaged"):
            async with files.context(pieces(b"no archive" * 100)):
                pass
    finally:
        store.close()


def test_places_for_mounts_are_taken_out_of_a_layer_if_they_are_empty(tmp_path: Path) -> None:
    """And only those that the image did not have; a link that a step has put in their place is not followed: elsewhere
    a file of the host was deleted (CVE-2024-23652)."""
    outside = tmp_path / "outside"
    (outside / "b").mkdir(parents=True)
    upper = tmp_path / "upper"
    for name in ("run/secrets", "cache/full", "a"):
        (upper / name).mkdir(parents=True)
    (upper / "run/secrets/t").touch()
    (upper / "cache/full/x").write_text("x")
    (upper / "a" / "b").symlink_to(outside)
    store = LocalImageStore(tmp_path / "store")
    try:
        BuildFiles(store, tmp_path, tmp_path).take_out(upper, ("/run/secrets/t", "/cache/full", "/a/b/b", "/none"), ())
    finally:
        store.close()
    assert sorted(path.name for path in upper.iterdir()) == ["a", "cache"]
    assert (upper / "cache/full/x").exists()
    assert (outside / "b").exists()


def test_what_a_crash_has_left_is_deleted(tmp_path: Path) -> None:
    """Scripts, secrets and copies of files; nothing else."""
    (tmp_path / "build-abc").mkdir()
    (tmp_path / "build-abc" / "x").touch()
    (tmp_path / "build-secret").write_text("hunter2")
    (tmp_path / "other").touch()
    store = LocalImageStore(tmp_path / "store")
    try:
        BuildFiles(store, tmp_path, tmp_path).clear()
    finally:
        store.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "store"]


def test_damage_is_not_an_archive() -> None:
    """`is_archive` may be asked about anything."""
    for data in (b"\0" * 512, b"\xff" * 512, b"x"):
        try:
            assert not unpacked.is_archive(data)
        except Damaged:
            pytest.fail("it must answer")
