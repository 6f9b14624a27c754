"""Deleting what a container has made, however it was made."""

import os
from pathlib import Path
from typing import Any

import pytest

from adapters.kernel import erase


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with a bit of everything, beside something that must stay."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("!")
    root = tmp_path / "trash"
    for name in ("a/b/c", "closed/inner", ".erase-1/x", "-rf"):
        (root / name).mkdir(parents=True)
        (root / name / "file").write_text("x")
    (root / "a" / "link").symlink_to(tmp_path / "outside")
    (root / "a" / "dangling").symlink_to("/nonesuch")
    os.mkfifo(root / "a" / "fifo")
    os.mkdir(os.fsencode(root) + b"/\xff\xfe")
    (root / "closed").chmod(0)
    return tmp_path


def test_everything_goes_and_nothing_else(tree: Path) -> None:
    """Links are deleted, not followed."""
    erase.erase(str(tree), "trash")
    assert sorted(path.name for path in tree.iterdir()) == ["outside"]
    assert (tree / "outside" / "precious").read_text() == "!"
    erase.erase(str(tree), "trash")


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """Whoever could put one there would delete what it points to."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "trash").symlink_to("precious")
    with pytest.raises(NotADirectoryError):
        erase.erase(str(tmp_path), "trash")
    assert (tmp_path / "precious").is_dir()


def test_depth_does_not_matter(tmp_path: Path) -> None:
    """1500 levels are beyond PATH_MAX and beyond Python's recursion."""
    (tmp_path / "deep").mkdir()
    fd = os.open(tmp_path / "deep", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("directory", dir_fd=fd)
        inner = os.open("directory", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    assert erase.size(str(tmp_path / "deep")) == 0
    erase.erase(str(tmp_path), "deep")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_deletion_is_finished_by_the_next(tree: Path) -> None:
    """What it has moved lies where the next one looks."""
    rename, calls = os.rename, 0

    def failing(*arguments: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise OSError(5, "broken")
        rename(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", failing)
        with pytest.raises(OSError, match="broken"):
            erase.erase(str(tree), "trash")
    erase.erase(str(tree), "trash")
    assert not (tree / "trash").exists()


def test_the_size_counts_each_file_once(tmp_path: Path) -> None:
    """Hard links are one file; a link is as long as its text; what is not there is nothing."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(bytes(1000))
    os.link(tmp_path / "a" / "file", tmp_path / "other")
    (tmp_path / "link").symlink_to("12345")
    assert erase.size(str(tmp_path)) == 1005
    assert erase.size(str(tmp_path / "none")) == 0


def test_what_is_thrown_away_is_out_of_the_way_at_once_and_deleted_later(tmp_path: Path) -> None:
    """Throwing moves, emptying deletes; what is not there is no error, and neither is a second one of the same name."""
    trash = erase.Trash(str(tmp_path / "trash"))
    trash.make()
    for _ in range(2):
        (tmp_path / "full/a/b").mkdir(parents=True)
        trash.throw(str(tmp_path), "full")
        assert not (tmp_path / "full").exists()
    trash.throw(str(tmp_path), "full")
    assert (tmp_path / "trash/full/a/b").is_dir()
    trash.empty()
    assert list((tmp_path / "trash").iterdir()) == []
