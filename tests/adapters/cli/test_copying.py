"""The client's half of `cp` and `export -o`: trees out and in, as a process, against a real daemon."""

import asyncio
import io
import os
import signal
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from adapters.tar.unchanged import STAT_SIZE, listed, read_end, stat_bytes
from tests.adapters.cli.conftest import Lading
from tests.adapters.control.engine import MEBIBYTE, Engine
from tests.adapters.images.tars import archive, device, directory, file, symlink


def names(data: bytes) -> dict[str, tarfile.TarInfo]:
    """The entries of an archive."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {entry.name: entry for entry in tar}


@pytest.mark.parametrize(
    ("how", "path", "told"),
    [
        ("plain", "f", "file {}/f"), ("plain", "d", "directory {}/d"), ("plain", "l", "link {}/l"),
        ("plain", "l/", "directory {}/l/"), ("follow", "l", "directory {}/d"), ("follow", "l/.", "directory {}/d/"),
        ("follow", "lost", "missing {}/nowhere"), ("plain", "lost", "link {}/lost"), ("plain", "x", "missing {}/x"),
        ("follow", "round", "link {}/round"),
    ],
)  # fmt: skip
async def test_the_client_tells_what_a_path_is(
    daemon: Engine, lading: Lading, tmp_path: Path, how: str, path: str, told: str
) -> None:
    """And where a link leads that is followed, also when nothing is there yet."""
    (tmp_path / "f").touch()
    (tmp_path / "d").mkdir()
    for name, target in (("l", "d"), ("lost", "nowhere"), ("round", "round")):
        os.symlink(target, tmp_path / name)
    ended = await lading("look", how, f"{tmp_path}/{path}")
    assert ended.out.decode() == told.format(tmp_path) + "\n"


async def test_a_tree_is_sent_under_the_name_that_is_wanted(daemon: Engine, lading: Lading, tmp_path: Path) -> None:
    """With its links as links; `.` means what is in it, and a trailing slash what a link leads to."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("data")
    os.symlink("f", tmp_path / "d" / "l")
    os.symlink("d", tmp_path / "link")
    for path in ("d", "link/", "link/."):
        found = names((await lading("pack", "", f"{tmp_path}/{path}", "web")).out)
        assert list(found) == ["web", "web/f", "web/l"]
        assert found["web/l"].linkname == "f"
    assert list(names((await lading("pack", "", f"{tmp_path}/d/.", ".")).out)) == [".", "f", "l"]
    assert names((await lading("pack", "", f"{tmp_path}/link", "x")).out)["x"].issym()
    assert names((await lading("pack", "follow", f"{tmp_path}/link", "x")).out)["x"].isdir()


async def test_what_is_known_is_not_sent(daemon: Engine, lading: Lading, tmp_path: Path) -> None:
    """A list longer than the window; what it says of a file that has changed since counts for nothing."""
    (tmp_path / "d").mkdir()
    for name in ("a", "b"):
        (tmp_path / "d" / name).write_text(name)
    told = {name.encode(): stat_bytes((tmp_path / "d" / name).stat()) for name in ("a", "b")}
    told |= {b"%d" % number * 200: bytes(STAT_SIZE) for number in range(5000)}
    (tmp_path / "known").write_bytes(listed(told, told.values()))
    (tmp_path / "d" / "b").write_text("c")
    done = await lading("pack", "", f"{tmp_path}/d/.", ".", f"{tmp_path}/known")
    assert list(names(done.out)) == [".", "b"]
    assert list(read_end(done.out[5 * 512 :])[0]) == [0]


async def test_a_list_of_what_is_known_that_is_damaged_ends_it(
    daemon: Engine, lading: Lading, tmp_path: Path
) -> None:
    """Nothing is guessed."""
    (tmp_path / "known").write_bytes(b"\7\0\0\0abc")
    done = await lading("pack", "", f"{tmp_path}/.", ".", f"{tmp_path}/known")
    assert done.status != 0
    assert b"the list of known files is damaged" in done.err


async def test_a_large_file_arrives_whole(daemon: Engine, lading: Lading, tmp_path: Path) -> None:
    """Far more than the window, sent and spread again."""
    content = os.urandom(1 << 20) * 20
    (tmp_path / "big").write_bytes(content)
    sent = await lading("pack", "", f"{tmp_path}/big", "copy")
    (tmp_path / "a.tar").write_bytes(sent.out)
    ended = await lading("spread", "", str(tmp_path), str(tmp_path / "a.tar"))
    assert (ended.status, ended.out, ended.err) == (0, b"1 0\n", b"")
    assert (tmp_path / "copy").read_bytes() == content


async def test_what_cannot_be_read_is_told_by_name(daemon: Engine, lading: Lading, tmp_path: Path) -> None:
    """The engine hears of it as a refusal of the client."""
    ended = await lading("pack", "", f"{tmp_path}/nothing", "x")
    assert ended.status == 1
    assert b"no such file or directory" in ended.err


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("../out", "would lead out of the destination"),
        ("l/out", 'l/out": Not a directory'),
    ],
)
async def test_a_hostile_archive_ends_the_copy(
    daemon: Engine, lading: Lading, tmp_path: Path, entry: str, text: str
) -> None:
    """However much of it is still to come, and nothing outside is made."""
    target = tmp_path / "target"
    target.mkdir()
    data = archive(symlink("l", ".."), file("f"), file(entry), file("more", bytes(3 * MEBIBYTE)))
    (tmp_path / "a.tar").write_bytes(data)
    ended = await lading("spread", "", str(target), str(tmp_path / "a.tar"))
    assert (ended.status, ended.out) == (1, b"")
    assert text in ended.err.decode()
    assert sorted(os.listdir(target)) == ["f", "l"]
    assert sorted(os.listdir(tmp_path)) == sorted(["a.tar", "run", "lading", "target"])


async def test_devices_are_counted_and_rights_are_dropped(daemon: Engine, lading: Lading, tmp_path: Path) -> None:
    """What a container says about rights is not said to this host."""
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "a.tar").write_bytes(archive(device("null", 1, 3), file("su", mode=0o4755), directory("d")))
    ended = await lading("spread", "", str(target), str(tmp_path / "a.tar"))
    assert ended.out == b"2 1\n"
    assert stat.S_IMODE((target / "su").stat().st_mode) == 0o755


async def test_an_archive_that_is_none_is_told(daemon: Engine, lading: Lading, tmp_path: Path) -> None:
    """And the client goes on to its end."""
    (tmp_path / "a.tar").write_bytes(b"no archive " * 300_000)
    ended = await lading("spread", "", str(tmp_path), str(tmp_path / "a.tar"))
    assert ended.status == 1
    assert b"damaged" in ended.err


async def test_a_file_is_written_whole_and_only_for_its_owner(daemon: Engine, lading: Lading, tmp_path: Path) -> None:
    """Through a link to where it leads."""
    os.symlink("real", tmp_path / "out")
    (tmp_path / "real").write_text("old")
    assert (await lading("write", "out", "5", cwd=tmp_path)).status == 0
    status = (tmp_path / "real").stat()
    assert (status.st_size, stat.S_IMODE(status.st_mode)) == (5 * MEBIBYTE, 0o600)
    assert (tmp_path / "out").is_symlink()


@pytest.mark.parametrize("old", [True, False])
async def test_a_file_that_is_not_finished_is_not_left(
    daemon: Engine, lading: Lading, tmp_path: Path, old: bool
) -> None:
    """Neither under its name nor under any other; what was there before stays."""
    place = tmp_path / "place"
    place.mkdir()
    if old:
        (place / "out").write_text("old")
    assert (await lading("write", "out", "5!", cwd=place)).status == 1
    assert [(path.name, path.read_text()) for path in place.iterdir()] == ([("out", "old")] if old else [])


@pytest.mark.parametrize("name", ["directory", "fifo"])
async def test_only_a_file_is_written_over(daemon: Engine, lading: Lading, tmp_path: Path, name: str) -> None:
    """A device or a directory under that name is a mistake."""
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    ended = await lading("write", name, "1", cwd=tmp_path)
    assert ended.status == 1
    assert b"not a regular file" in ended.err


async def test_an_interrupted_copy_leaves_no_unfinished_file(daemon: Engine, lading: Lading, tmp_path: Path) -> None:
    """^C ends it with 130."""
    place = tmp_path / "place"
    place.mkdir()
    process = await lading.start("write", "out", "100000", cwd=place, stdout=subprocess.DEVNULL)
    while not any(path.stat().st_size for path in place.iterdir()):
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 20) == 130
    assert list(place.iterdir()) == []
