"""Layers of other builders, compared with what COPY would make."""

import os
from collections.abc import Callable
from pathlib import Path
from subprocess import run

import pytest

from adapters.images import same
from adapters.images.merged import Merged
from domain.build.placing import Node, Placed

MINE = os.getuid(), os.getgid()


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """A layer that somebody has made, the files that are copied, and below them an image with a directory."""
    for name in ("layer", "layer/usr", "layer/usr/app", "source", "image", "image/usr"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    for folder in ("layer/usr/app", "source"):
        (tmp_path / folder / "f").write_text("hello")
        (tmp_path / folder / "f").chmod(0o644)
        (tmp_path / folder / "l").symlink_to("f")
    return tmp_path / "layer", tmp_path / "source"


def holds(trees: tuple[Path, Path]) -> bool:
    """Whether the layer is what `COPY f l /usr/app/` makes."""
    layer, folder = trees
    source, image = Merged([folder]), Merged([layer.parent / "image"])
    try:
        things = [Placed("usr/app", "directory", 0o755, *MINE)]
        for name in ("f", "l"):
            node = source.look(name)
            assert isinstance(node, Node)
            things.append(Placed(f"usr/app/{name}", node.kind, node.mode, *MINE, node=node))
        return same.holds(layer, things, source, image)
    finally:
        source.close()
        image.close()


def test_a_layer_with_the_same_files_is_the_same_whatever_their_times_are(trees: tuple[Path, Path]) -> None:
    """Also with the directories on the way, which the image has."""
    os.utime(trees[0] / "usr/app/f", (1, 1))
    assert holds(trees)


@pytest.mark.parametrize(
    "change",
    [
        lambda app: (app / "f").write_text("hullo"),
        lambda app: (app / "f").write_text("hello."),
        lambda app: (app / "f").chmod(0o600),
        lambda app: (app / "f").unlink(),
        lambda app: (app / "more").touch(),
        lambda app: (app / "more").mkdir(),
        lambda app: app.chmod(0o700),
        lambda app: app.parent.chmod(0o700),
        lambda app: app.parent.parent.chmod(0o700),
        lambda app: (app / "other").symlink_to("g") or (app / "other").rename(app / "l"),
        lambda app: (app / "other").symlink_to("/etc/passwd") or (app / "other").rename(app / "f"),
        lambda app: run(["mkfifo", app / "other"], check=True) and (app / "other").rename(app / "f"),
        lambda app: run(["mkfifo", app / "other"], check=True),
        lambda app: os.setxattr(app / "f", "user.x", b"1"),
    ],
)
def test_anything_else_in_it_makes_it_another(trees: tuple[Path, Path], change: Callable[[Path], object]) -> None:
    """Content, size, mode, what is more or less, where a link leads, what is none of these, attributes."""
    change(trees[0] / "usr/app")
    assert not holds(trees)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda app: None, ""),
        (lambda app: (app.parent / "other").touch(), ""),
        (lambda app: (app / "f").write_text("hullo"), "usr/app/f changed"),
        (lambda app: (app / "f").chmod(0o600), "usr/app/f changed"),
        (lambda app: (app / "other").symlink_to("g") or (app / "other").rename(app / "l"), "usr/app/l changed"),
        (lambda app: (app / "l").unlink(), "usr/app/l is new"),
        (lambda app: (app / "old").mkdir(), "usr/app/old is gone"),
    ],
)
def test_the_first_file_that_is_different_is_told(
    trees: tuple[Path, Path], change: Callable[[Path], object], says: str
) -> None:
    """Of a directory of the layer that the step has made before."""
    layer, folder = trees
    change(layer / "usr/app")
    source, old = Merged([folder]), Merged([layer])
    try:
        nodes = [node for name in ("f", "l") if (node := source.look(name)) is not None]
        things = [Placed(f"usr/app/{node.path}", node.kind, node.mode, *MINE, node=node) for node in nodes]
        assert same.first_change(old, things, source, "usr/app") == says
    finally:
        source.close()
        old.close()
