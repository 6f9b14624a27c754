"""Layers on disk for these tests, and something beside them that no archive may touch."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import adapters.images.unpack
from adapters.images.content import Content, LayerRecord
from adapters.images.store import LocalImageStore
from adapters.images.trees import delete_path
from adapters.images.unpack import Expected, Limits, Place, unpack
from domain.images.layer import chain_id
from tests.adapters.images.tars import pieces, tree


@dataclass
class Layers:
    """A stack of layers that grows with `add`."""

    content: Content
    limits: Limits = field(default_factory=lambda: Limits(reserve=0))
    chains: list[str] = field(default_factory=list)

    def add(self, archive: bytes, expected: Expected | None = None) -> Path:
        """Unpack one more layer; gives back the directory of its files."""
        with self.content.workspace() as work:
            place = Place(work / "layer", self.content.layers, tuple(self.chains))
            place.work.mkdir()
            self.record: LayerRecord = unpack(pieces(archive), place, expected or Expected("the layer"), self.limits)
            chain = chain_id(self.chains[-1] if self.chains else "", self.record.diff_id)
            self.content.adopt_layer(place.work, chain, self.record)
            self.chains.append(chain)
            return self.content.layer(chain) / "fs"

    def added(self, archive: bytes) -> str:
        """The diff id of one more layer."""
        self.add(archive)
        return self.record.diff_id


@pytest.fixture(params=[0, 1], ids=["alone", "helped"])
def layers(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layers]:
    """An empty stack, with extractors that are alone or have a second process from their second small file on;
    deleted by us, because deep trees are more than other tools can delete."""
    monkeypatch.setattr(adapters.images.unpack, "ALONE", request.param)
    monkeypatch.setattr(adapters.images.unpack, "idle", lambda: True)
    yield Layers(Content(tmp_path / "store"))
    delete_path(str(tmp_path / "store"))


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory that must be exactly the same after the test."""
    root = tmp_path / "outside"
    (root / "directory").mkdir(parents=True)
    (root / "file").write_text("host", encoding="ascii")
    (root / "directory" / "inner").write_text("host", encoding="ascii")
    os.utime(root, (1, 1))
    before = tree(root, times=True), os.stat(root).st_mtime_ns, sorted(os.listdir(tmp_path))
    yield root
    after = tree(root, times=True), os.stat(root).st_mtime_ns, sorted(os.listdir(tmp_path))
    assert after == before


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalImageStore]:
    """An image store whose clock stands still."""
    local = LocalImageStore(tmp_path / "store", now=lambda: 1_700_000_000_123_456_789, limits=Limits(reserve=0))
    yield local
    local.close()
