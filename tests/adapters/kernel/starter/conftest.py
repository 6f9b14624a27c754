"""Root file systems and a starter for the tests of the child; everything is removed again."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.kernel import cgroups
from tests.adapters.kernel.starter.harness import Starter, make_root


@pytest.fixture(scope="session")
def tree() -> Iterator[cgroups.Tree]:
    """Our own directory in every hierarchy, with the device rules on it."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    tree = cgroups.detect(f"lading-test{os.getpid()}")
    tree.prepare()
    yield tree
    assert tree.groups() == []
    for root in tree.roots():
        os.rmdir(root)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where layers and containers lie."""
    return tmp_path_factory.mktemp("starter")


@pytest.fixture(scope="session")
def layer(base: Path) -> Path:
    """A plain root file system; tests must not change it."""
    return make_root(base / "layers" / "plain")


@pytest.fixture
def root(base: Path, layer: Path) -> Iterator[Path]:
    """A copy of it for tests that make it hostile."""
    copy = layer.parent / "hostile"
    shutil.copytree(layer, copy, symlinks=True)
    yield copy
    shutil.rmtree(copy)


@pytest.fixture(scope="session")
def box(base: Path, tree: cgroups.Tree) -> Starter:
    """Starts containers."""
    return Starter(base, tree)
