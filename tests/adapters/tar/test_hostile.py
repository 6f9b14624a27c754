"""Nothing that an archive says makes, changes or links anything outside of the directory it is spread in."""

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.tar.pack import Packer, Sink
from adapters.tar.reader import Damaged, Reader
from adapters.tar.spread import Impossible, Rules, Spreader
from tests.adapters.images.tars import Member, archive, device, directory, fifo, file, hardlink, symlink
from tests.adapters.tar.test_trees import Given, spread
from tests.examples import examples


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory beside the target that must not change."""
    place = tmp_path / "outside"
    place.mkdir()
    (place / "secret").write_text("secret")
    before = _state(place)
    yield place
    assert _state(place) == before


def _state(place: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in (place, *place.rglob("*")):
        status = path.lstat()
        found[path.name] = status.st_mode, status.st_nlink, status.st_size, status.st_mtime_ns
    return found


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where the archive is to be spread."""
    place = tmp_path / "target"
    place.mkdir()
    return place


OUT = "../outside"


@pytest.mark.parametrize(
    "members",
    [
        [file(f"{OUT}/new")],
        [file(f"a/../{OUT}/new")],
        [file("a/../../outside/secret")],
        [directory(f"{OUT}/new")],
        [symlink("l", OUT), file("l/new")],
        [symlink("l", OUT), file("l/secret")],
        [symlink("l", OUT), directory("l/new")],
        [symlink("l", OUT), directory("l", mode=0o777)],
        [symlink("l", f"{OUT}/secret"), file("l/x")],
        [symlink("l", OUT), symlink("l/new", "x")],
        [symlink("l", OUT), fifo("l/new")],
        [directory("d"), symlink("d/l", "../../outside"), file("d/l/new")],
        [hardlink("h", f"{OUT}/secret")],
        [symlink("l", OUT), hardlink("h", "l/secret")],
        [symlink("l", OUT), file("f"), hardlink("l/h", "f")],
        [hardlink("h", "")],
        [hardlink("h", "nothing")],
        [file("f"), hardlink("f/x", "f")],
        [file("f"), file("f/x")],
    ],
)
def test_an_entry_that_would_lead_out_ends_it(target: Path, outside: Path, members: list[Member]) -> None:
    """Through `..`, through a link of the archive, through a hard link: each is refused before anything is done."""
    with pytest.raises(Impossible):
        spread(archive(*members), target)


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_links_that_were_there_before_are_not_followed_either(target: Path, outside: Path, kind: str) -> None:
    """Who unpacks into a directory that a former copy has filled is as safe."""
    os.symlink(OUT, target / "l")
    with pytest.raises(Impossible):
        spread(archive(file("l/new") if kind == "file" else directory("l")), target)


def test_a_link_is_replaced_and_not_written_through(target: Path, outside: Path) -> None:
    """A file under the name of a link takes its place."""
    os.symlink(f"{OUT}/secret", target / "l")
    spread(archive(file("l", b"mine"), symlink("m", f"{OUT}/secret"), file("m", b"mine")), target)
    for name in ("l", "m"):
        assert not (target / name).is_symlink()
        assert (target / name).read_bytes() == b"mine"


def test_a_hard_link_to_a_link_is_one_to_the_link(target: Path, outside: Path) -> None:
    """linkat(2) does not follow it."""
    spread(archive(symlink("l", f"{OUT}/secret"), hardlink("h", "l")), target)
    assert os.readlink(target / "h") == f"{OUT}/secret"


def test_absolute_names_begin_at_the_target(target: Path, outside: Path) -> None:
    """As every tar has it."""
    spread(archive(file("/etc/passwd", b"x"), directory("/"), directory("./")), target)
    assert (target / "etc/passwd").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("there", "entry", "text"),
    [
        ("file", directory("x"), 'cannot overwrite non-directory "x" with a directory'),
        ("link", directory("x"), 'cannot overwrite non-directory "x" with a directory'),
        ("directory", file("x"), 'cannot overwrite directory "x" with a non-directory'),
        ("directory", symlink("x", "y"), 'cannot overwrite directory "x" with a non-directory'),
        ("directory", fifo("x"), 'cannot overwrite directory "x" with a non-directory'),
    ],
)
def test_a_directory_and_anything_else_never_replace_one_another(
    target: Path, there: str, entry: Member, text: str
) -> None:
    """A copy that goes wrong does not delete a tree."""
    (target / "keep").mkdir()
    if there == "file":
        (target / "x").write_text("x")
    elif there == "link":
        os.symlink("keep", target / "x")
    else:
        (target / "x" / "in").mkdir(parents=True)
    with pytest.raises(Impossible) as refused:
        spread(archive(entry), target)
    assert str(refused.value) == text
    assert (target / "x").is_symlink() is (there == "link")


def test_nothing_that_gives_rights_survives_without_being_asked_for(target: Path) -> None:
    """A program of root with the set-user-ID bit, from a container, would be a way to root for everybody here."""
    spread(archive(file("su", mode=0o6755), directory("d", mode=0o3777)), target)
    assert stat.S_IMODE((target / "su").stat().st_mode) == 0o755
    assert stat.S_IMODE((target / "d").stat().st_mode) == 0o1777


@pytest.mark.kernel
def test_owners_and_bits_survive_when_they_are_asked_for(target: Path) -> None:
    """Which takes root."""
    members = [file("su", mode=0o4755, uid=7, gid=8), symlink("l", "su", uid=9), directory("d", mode=0o2750, uid=3)]
    spread(archive(*members), target, Rules(owners=True))
    su = (target / "su").stat()
    assert (stat.S_IMODE(su.st_mode), su.st_uid, su.st_gid) == (0o4755, 7, 8)
    assert (target / "l").lstat().st_uid == 9
    assert stat.S_IMODE((target / "d").stat().st_mode) == 0o2750


def test_devices_are_left_out_and_counted(target: Path) -> None:
    """The disk of the host under a name that everybody may open is not a file to be copied."""
    spreader = spread(archive(device("null", 1, 3), device("b/disk", 8, 0, mode=0o666), file("f")), target)
    assert spreader.left_out == 2
    assert not (target / "null").exists()
    assert (target / "f").exists()


@pytest.mark.parametrize("owner", [-1, 1 << 32, 1 << 40])
def test_an_owner_that_cannot_be_is_refused_where_owners_count(target: Path, owner: int) -> None:
    """-1 would mean "leave it" to the kernel."""
    with pytest.raises((Impossible, Damaged)):
        spread(archive(file("f", uid=owner)), target, Rules(owners=True))


def test_an_archive_that_breaks_off_is_damaged(target: Path) -> None:
    """And what came before is there."""
    data = archive(file("a"), file("b", b"x" * 5000))
    with pytest.raises(Damaged):
        spread(data[:3000], target)
    assert (target / "a").exists()


NAMES = st.sampled_from(["a", "b", "l", "..", ".", "", "outside", "secret"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
TARGETS = st.sampled_from(["..", "../outside", "../outside/secret", "a", "/", ".", "a/../..", "l"])
MEMBERS = st.one_of(
    PATHS.map(file), PATHS.map(directory), PATHS.map(fifo),
    st.tuples(PATHS, TARGETS).map(lambda pair: symlink(*pair)),
    st.tuples(PATHS, st.one_of(PATHS, TARGETS)).map(lambda pair: hardlink(*pair)),
)  # fmt: skip


@given(st.lists(MEMBERS, max_size=12))
@examples(300)
def test_no_archive_at_all_touches_anything_outside(
    tmp_path_factory: pytest.TempPathFactory, members: list[Member]
) -> None:
    """Whatever is in it, in whatever order."""
    place = tmp_path_factory.mktemp("fuzz")
    (place / "outside").mkdir()
    (place / "outside" / "secret").write_text("secret")
    (place / "target").mkdir()
    before = _state(place / "outside")
    fd = os.open(place / "target", os.O_PATH)
    for member in members:
        try:
            Spreader(fd, Rules()).spread(Reader(Given(archive(member))))
        except (Impossible, Damaged):
            continue
    os.close(fd)
    assert _state(place / "outside") == before
    assert sorted(os.listdir(place)) == ["outside", "target"]


@pytest.mark.slow
def test_who_swaps_a_directory_for_a_link_gets_nothing_of_what_is_behind_it(tmp_path: Path, outside: Path) -> None:
    """Packed again and again while somebody else exchanges the two in a loop."""
    tree = tmp_path / "tree"
    (tree / "real").mkdir(parents=True)
    (tree / "real" / "secret").write_text("harmless")
    os.symlink("../outside", tree / "link")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(tree / "real", tree / "x")
            os.rename(tree / "link", tree / "real")
            os.rename(tree / "real", tree / "link")
            os.rename(tree / "x", tree / "real")

    thread = threading.Thread(target=swap)
    thread.start()
    fd = os.open(tmp_path, os.O_PATH)
    try:
        for _ in range(500):
            pieces: list[bytes] = []
            packer = Packer(Sink(pieces.append))
            packer.add(fd, b"tree", b"t")
            packer.end()
            data = b"".join(pieces)
            for entry in (reader := Reader(Given(data))):
                if entry.name.endswith(b"secret"):
                    assert b"".join(reader.data()) == b"harmless"
    finally:
        stop.set()
        thread.join()
        os.close(fd)
