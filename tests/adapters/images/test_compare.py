"""What differs between a writable layer and the layers below, by name and without reading a file."""

import os
import stat
from pathlib import Path

import pytest

from adapters.images.comparer import changed
from adapters.images.stack import OPAQUE
from domain.errors import Refused

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    """Two layers, `a` below `b`; what `b` removes is not there for anybody."""
    low, high = tmp_path / "l" / "a", tmp_path / "l" / "b"
    for path in ("etc", "old", "var/log", "keep"):
        (low / path).mkdir(parents=True)
    for path in ("etc/one", "etc/two", "old/f", "var/log/x", "file"):
        (low / path).write_text("content")
    os.symlink("one", low / "etc" / "link")
    (high / "old").parent.mkdir(parents=True)
    _whiteout(high / "old")
    return tmp_path / "l"


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    """The writable layer."""
    place = tmp_path / "upper"
    place.mkdir()
    return place


def _whiteout(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, 0)


def _copied_up(upper: Path, below: Path, name: str) -> Path:
    """As the kernel copies a file or directory: with everything it was."""
    source, target = below / name, upper / name
    if source.is_dir():
        target.mkdir()
    else:
        target.write_bytes(source.read_bytes())
    status = source.stat()
    target.chmod(stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))
    return target


async def told(upper: Path, layers: Path) -> list[str]:
    """`A /path` lines."""
    return [f"{kind} {path}" async for kind, path in changed(upper, layers, ["a", "b"])]


async def test_what_was_only_copied_up_has_not_changed(upper: Path, layers: Path) -> None:
    """A directory is copied up for the sake of a child that is gone again, a file because it was opened for writing."""
    directory = _copied_up(upper, layers / "a", "etc")
    _copied_up(upper, layers / "a", "etc/one")
    status = (layers / "a" / "etc").stat()
    os.utime(directory, ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert await told(upper, layers) == []


async def test_a_change_deep_inside_makes_its_parents_changed(upper: Path, layers: Path) -> None:
    """Parents first, and none of them twice."""
    (upper / "var").mkdir()
    _restore(upper, layers, "var")
    (upper / "var" / "log").mkdir()
    (upper / "var" / "log" / "new").write_text("x")
    (upper / "var" / "log" / "x").write_text("longer than it was")
    for name in ("var/log", "var"):
        _restore(upper, layers, name)
    assert await told(upper, layers) == ["C /var", "C /var/log", "A /var/log/new", "C /var/log/x"]


def _restore(upper: Path, layers: Path, name: str) -> None:
    status = (layers / "a" / name).stat()
    os.utime(upper / name, ns=(status.st_mtime_ns, status.st_mtime_ns))


async def test_removals_count_where_something_was(upper: Path, layers: Path) -> None:
    """A mark over nothing, or over what a layer has removed already, says nothing."""
    for name in ("file", "old", "never"):
        _whiteout(upper / name)
    assert await told(upper, layers) == ["D /file"]


async def test_a_directory_that_hides_the_one_below_loses_what_was_in_it(upper: Path, layers: Path) -> None:
    """Removed and made again: what is in both has changed."""
    (upper / "etc").mkdir()
    os.setxattr(upper / "etc", OPAQUE, b"y")
    (upper / "etc" / "two").write_text("another")
    (upper / "etc" / "zzz").write_text("new")
    assert await told(upper, layers) == ["C /etc", "D /etc/link", "D /etc/one", "C /etc/two", "A /etc/zzz"]


async def test_a_new_directory_hides_nothing(upper: Path, layers: Path) -> None:
    """The kernel marks every new one; one in the place of a removed one is new, too."""
    for name in ("fresh", "old"):
        (upper / name).mkdir()
        os.setxattr(upper / name, OPAQUE, b"y")
    assert await told(upper, layers) == ["A /fresh", "A /old"]


async def test_another_kind_of_thing_under_a_name_is_a_change(upper: Path, layers: Path) -> None:
    """A directory where a file was has only new things in it."""
    (upper / "file").mkdir()
    (upper / "file" / "in").write_text("x")
    (upper / "keep").write_text("now a file")
    assert await told(upper, layers) == ["C /file", "A /file/in", "C /keep"]


async def test_names_are_bytes(upper: Path, layers: Path) -> None:
    """And may hold line ends."""
    (upper / "a\nb").write_text("x")
    Path(os.fsdecode(os.fsencode(upper) + b"/\xff")).write_text("x")
    assert await told(upper, layers) == ["A /a\nb", "A /\udcff"]


async def test_a_name_without_an_end_is_refused(upper: Path, layers: Path) -> None:
    """As everywhere."""
    here = os.open(upper, os.O_PATH)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=here)
        here, above = os.open("d" * 200, os.O_PATH, dir_fd=here), here
        os.close(above)
    os.close(here)
    with pytest.raises(Refused, match="too long"):
        await told(upper, layers)


async def test_who_was_never_started_has_changed_nothing(tmp_path: Path, layers: Path) -> None:
    """There is no writable layer yet."""
    assert await told(tmp_path / "nothing", layers) == []
