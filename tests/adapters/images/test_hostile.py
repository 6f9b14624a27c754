"""Archives that want out: every trick is contained or refused, and the host stays exactly as it was."""

import gzip
import os
import resource
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import pytest
import zstandard

from adapters.images.trees import delete_path
from domain.errors import LadingError, Refused
from tests.adapters.images.conftest import Layers
from tests.adapters.images.tars import (
    END,
    Member,
    archive,
    device,
    directory,
    fifo,
    file,
    hardlink,
    header,
    padded,
    symlink,
)

pytestmark = pytest.mark.kernel  # changing the root needs root


def inside(fs: Path) -> set[str]:
    """All names in the layer."""
    return {
        os.path.relpath(os.path.join(where, name), fs) for where, dirs, files in os.walk(fs) for name in dirs + files
    }


def escapes(outside: Path) -> dict[str, list[Member]]:
    """Ways to reach `outside`, each with the names it uses for it."""
    path, up = str(outside), "../" * 40 + str(outside).lstrip("/")
    return {
        "absolute name": [file(f"{path}/new"), file(f"/{path}/file", b"evil")],
        "dots": [file(f"{up}/new"), file(f"a/{up}/file", b"evil")],
        "dots in directories": [directory(f"{up}/directory", mode=0o777, uid=7)],
        "absolute link": [symlink("l", path), file("l/new"), file("l/file", b"evil")],
        "relative link": [symlink("l", up), file("l/new"), directory("l/directory", mode=0o777)],
        "link to a file": [symlink("l", f"{path}/file"), file("l", b"evil")],
        "link chain": [symlink("a", "b"), symlink("b", path), file("a/new"), file("a/directory/inner", b"evil")],
        "link through proc": [
            symlink("l", f"/proc/self/root{path}"),
            file("l/new"),
            symlink("m", "/proc/self/cwd/.."),
            file("m/new"),
        ],
        "hard link out": [hardlink("h", f"{path}/file")],
        "hard link by dots": [hardlink("h", f"{up}/file")],
        "hard link through a link": [symlink("l", path), hardlink("h", "l/file"), file("h", b"evil")],
        "hard link to a link, then written": [symlink("l", f"{path}/file"), hardlink("h", "l"), file("h", b"evil")],
        "removal through a link": [symlink("l", path), file("l/.wh.file"), file("l/.wh.directory")],
        "removal by dots": [file(f"{up}/.wh.file")],
        "opaque mark through a link": [symlink("l", path), file("l/.wh..wh..opq"), file("l/directory/.wh..wh..opq")],
        "attributes through a link": [
            symlink("l", path),
            directory("l", mode=0o777, uid=9, mtime=3),
            directory("l/directory", mode=0o777, uid=9),
        ],
        "xattrs through a link": [symlink("l", f"{path}/file"), file("l", pax={"SCHILY.xattr.user.evil": "1"})],
        "replace through a link": [symlink("l", path), symlink("l/file", "/etc/passwd"), fifo("l/directory")],
        "device through a link": [symlink("l", path), device("l/null", 1, 3)],
        "dots through a link": [
            directory("d"),
            symlink("d/l", "../.."),
            file("d/l/../../../file", b"evil"),
            file(f"d/l/{up}/new"),
        ],
    }


TRICKS = tuple(escapes(Path("/x")))


@pytest.mark.parametrize("trick", TRICKS)
def test_nothing_lands_outside_in_one_layer(trick: str, layers: Layers, outside: Path) -> None:
    """The names mean something inside, or the layer is refused; `outside` is compared afterwards.

    CVE-2014-6407, CVE-2014-9356, CVE-2021-32760, CVE-2025-11395, CVE-2025-47290, CVE-2026-17106.
    """
    try:
        layers.add(archive(*escapes(outside)[trick]))
    except Refused:
        assert os.listdir(layers.content.tmp) == []


@pytest.mark.parametrize("trick", TRICKS)
def test_nothing_lands_outside_over_two_layers(trick: str, layers: Layers, outside: Path) -> None:
    """The link comes with one layer and what goes through it with the next; so do removals something below.

    CVE-2014-6407, CVE-2014-9356, CVE-2021-32760, CVE-2025-11395, CVE-2025-47290, CVE-2026-17106.
    """
    first, *rest = escapes(outside)[trick]
    try:
        layers.add(archive(first))
        layers.add(archive(*rest, first))
    except Refused:
        assert os.listdir(layers.content.tmp) == []


def test_a_link_leads_to_its_target_inside_the_layer(layers: Layers, outside: Path) -> None:
    """What a container would see is what is meant."""
    fs = layers.add(archive(symlink("l", f"{outside}/x"), file("l/new"), symlink("up", "../../.."), file("up/top")))
    assert (fs / str(outside).lstrip("/") / "x/new").is_file()
    assert (fs / "top").is_file()


def test_links_that_go_in_circles_end(layers: Layers) -> None:
    """Within the patience of a kernel."""
    with pytest.raises(Refused, match="links"):
        layers.add(archive(symlink("a", "b"), symlink("b", "a"), file("a/f")))
    with pytest.raises(Refused, match="links"):
        layers.add(archive(symlink("a", "a/x/" * 900), file("a/f")))


def test_a_file_cannot_be_a_parent(layers: Layers) -> None:
    """Whichever layer it is in."""
    with pytest.raises(Refused, match='unusable entry "a/b": it lies below something that is not a directory'):
        layers.add(archive(file("a"), file("a/b")))


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (file("n" * 256), "longer than 255"),
        (file("d/" * 2047 + "name"), "too long"),
        (file("x", pax={"path": "n" * 5000}), "too long"),
        (file("x", pax={"path": "a\0b"}), "NUL"),
        (symlink("l", ""), "link target"),
        (symlink("l", "t" * 5000), "link target"),
        (file("f", uid=-5), "out of range"),
        (file("f", uid=1 << 32), "out of range"),
        (directory("/", uid=1 << 40), "out of range"),
        (file("f", uid=(1 << 32) - 1), "out of range"),
        (file("f", pax={"gid": "-1"}), "out of range"),
        (file("."), "root"),
        (symlink("/", "x"), "root"),
        (file("a/.."), "root"),
        (device("c", 5000, 1), "device number"),
    ],
)
def test_entries_that_cannot_be_meant_are_refused(entry: Member, reason: str, layers: Layers) -> None:
    """Never cut, never wrapped.

    CVE-2021-29136.
    """
    with pytest.raises(Refused, match=reason):
        layers.add(archive(entry, format=tarfile.GNU_FORMAT if entry[0].uid < 0 else tarfile.PAX_FORMAT))


def test_the_same_mark_again_and_again_costs_nothing(layers: Layers) -> None:
    """Elsewhere each of them went through all that is in its directory (CVE-2026-95838)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    layers.add(archive(*(file(f"d/{number}") for number in range(10))))
    layers.add(archive(*(file(f"d/new{number}") for number in range(5000)), *([file("d/.wh..wh..opq")] * 5000)))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10


def test_names_in_errors_are_harmless_for_a_terminal(layers: Layers) -> None:
    """They are the attacker's."""
    with pytest.raises(Refused) as caught:
        layers.add(archive(file("\x1b[2J" + "n" * 300)))
    assert "\x1b" not in caught.value.message
    assert "\n" not in caught.value.message


def test_deep_trees_are_unpacked_replaced_and_deleted(layers: Layers, tmp_path: Path) -> None:
    """1 500 levels: no recursion, no path longer than the kernel takes."""
    deep = "d/" * 1500
    fs = layers.add(archive(file(deep + "f"), file("a"), symlink("d", "a"), file("e/" * 1500 + "f")))
    assert sorted(os.listdir(fs)) == ["a", "d", "e"]
    assert os.path.islink(fs / "d")
    delete_path(str(layers.content.layers))
    assert not layers.content.layers.exists()


def test_a_truncated_archive_leaves_nothing(layers: Layers) -> None:
    """Wherever the stream stops."""
    whole = archive(directory("d"), file("d/f", os.urandom(5000)), file("g"))
    for cut in (100, 600, 1500, 3000, 6300):
        with pytest.raises(Refused, match="the archive ends"):
            layers.add(whole[:cut])
    for cut in (10, len(whole) // 8):
        with pytest.raises(Refused, match="gzip data cannot be decompressed"):
            layers.add(gzip.compress(whole)[:cut])
    assert os.listdir(layers.content.tmp) == []


@pytest.mark.parametrize("data", [b"\x7fELF" + bytes(9000), b"PK\x03\x04" * 500, b"<html>" * 200, os.urandom(4096)])
def test_what_is_no_archive_is_refused_in_one_line(data: bytes, layers: Layers) -> None:
    """Not a traceback, not an empty image."""
    with pytest.raises(Refused, match=r"^the layer is damaged") as caught:
        layers.add(data)
    assert "\n" not in caught.value.message


def test_a_fifo_and_devices_do_not_hang_or_harm(layers: Layers) -> None:
    """They are made, never opened."""
    fs = layers.add(
        archive(
            fifo("p"),
            device("sda", 8, 0, tarfile.BLKTYPE),
            device("mem", 1, 1),
            file("p", b"file now"),
            hardlink("mem2", "mem"),
        )
    )
    assert (fs / "p").read_bytes() == b"file now"


def test_a_header_that_claims_a_terabyte_allocates_nothing(layers: Layers) -> None:
    """Apparent size counts against the limit, too.

    CVE-2017-14992, CVE-2023-25153.
    """
    records = b"33 GNU.sparse.size=1099511627776\n" + b"22 GNU.sparse.map=0,0\n"
    data = header(b"pax", b"x", size=len(records)) + padded(records) + header(b"f") + END
    with pytest.raises(Refused, match="more than"):
        layers.add(data)
    with pytest.raises(Refused, match="more than"):
        layers.add(header(b"f", sized=b"\x80" + (1 << 60).to_bytes(11, "big")) + b"x" * 4096)


def test_a_negative_size_is_refused(layers: Layers) -> None:
    """Base-256 can say it."""
    with pytest.raises(Refused, match="negative"):
        layers.add(header(b"f", sized=(-512 % (1 << 96)).to_bytes(12, "big")) + END)


def test_many_duplicates_of_one_directory_and_file(layers: Layers) -> None:
    """Each replaces the last; nothing adds up."""
    members = [entry for n in range(300) for entry in (directory("d"), file(f"d/{n}"), file("d", b"f"))]
    fs = layers.add(archive(*members))
    assert inside(fs) == {"d"}


BOMB = """
import resource, sys
from pathlib import Path
from adapters.images.content import Content
from adapters.images.unpack import Expected, Limits, Place, unpack

content = Content(Path(sys.argv[1]))
data = Path(sys.argv[2]).read_bytes()
with content.workspace() as work:
    (work / "layer").mkdir()
    place = Place(work / "layer", content.layers)
    pieces = (data[at:at + 65536] for at in range(0, len(data), 65536))
    record = unpack(pieces, place, Expected("bomb"), Limits(reserve=0))
peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(record.size, peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_300_megabytes_of_zeros_cost_less_than_150_of_memory(kind: str, tmp_path: Path) -> None:
    """And hardly any disk.

    CVE-2017-14992, CVE-2023-25153.
    """
    size = 300 << 20
    info = tarfile.TarInfo("zeros")
    info.size = size
    squeeze = zlib.compressobj(1, zlib.DEFLATED, 31) if kind == "gzip" else zstandard.ZstdCompressor().compressobj()
    plain = (info.tobuf(), *[bytes(1 << 20)] * 300, END)
    (tmp_path / "bomb").write_bytes(b"".join(map(squeeze.compress, plain)) + squeeze.flush())
    done = subprocess.run(
        [sys.executable, "-c", BOMB, str(tmp_path / "store"), str(tmp_path / "bomb")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    unpacked, own, child = map(int, done.stdout.split())
    assert unpacked == size
    assert own < 150_000, "KiB in the process that feeds"
    assert child < 150_000, "KiB in the extractor"


def test_the_times_of_many_directories_do_not_fill_the_memory(layers: Layers) -> None:
    """They are kept on disk until the end; more than a mebibyte of them here."""
    names = [b"%0240d/%0240d/%d/" % (n // 50, n % 50, n) for n in range(2500)]
    block = [
        header(b"x", b"x", size=512)
        + padded(_path_record(name))
        + header(b"d", b"5", mode=b"0000755\0", mtime=b"00000000007\0")
        for name in names
    ]
    fs = layers.add(b"".join(block) + END)
    assert {os.stat(os.fsencode(fs) + b"/" + name).st_mtime for name in names} == {7}


def _path_record(name: bytes) -> bytes:
    return (b"512 path=" + name.rjust(512 - 10, b"/")) + b"\n"


def test_a_broken_layer_does_not_break_the_next(layers: Layers) -> None:
    """The engine lives on.

    CVE-2021-20291.
    """
    for data in (b"rubbish" * 1000, archive(hardlink("a", "b"))):
        with pytest.raises(LadingError):
            layers.add(data)
    assert os.listdir(layers.add(archive(file("ok")))) == ["ok"]
