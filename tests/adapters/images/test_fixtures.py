"""Archives that other tools made, against the trees that an independent unpacker made of them."""

import os
from collections import Counter
from pathlib import Path

import pytest

from adapters.images.store import LocalImageStore
from domain.errors import Refused
from tests.adapters.images.trees_as_rows import merged_rows, rows_of

ROOT = Path(os.environ.get("LADING_TEST_FIXTURES") or Path(__file__).parents[4] / "shared" / "fixtures")

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not ROOT.is_dir(), reason="the archives of other tools are not here (LADING_TEST_FIXTURES)"),
]

TREES = {
    "tool-made/docker20-save-edge-two-images.tar.gz": ("docker20-edge", "edge:1"),
    "tool-made/podman-docker-archive-edge.tar.gz": ("podman-edge", "localhost/edge:b"),
    "tool-made/podman-oci-archive-edge.tar": ("podman-edge", "localhost/edge:b"),
    "tool-made/podman-docker-dir-edge.tar.gz": ("podman-edge", ""),
    "tool-made/skopeo-oci-layout-zstd-edge.tar": ("podman-edge", ""),
    "tool-made/umoci-oci-layout-whiteouts.tar": ("umoci-final", ""),
    **{
        f"public/{name}.tar": (f"public-{name}", "")
        for name in (
            "hello-world-v25",
            "whiteout_image",
            "overwritten_file",
            "source_image_with_empty_layer_history",
            "whiteout_dir",
            "test_image_1",
        )
    },
}
REFUSED = {
    "tool-made/podman-zstd-chunked-oci-layout.tar": r"unpacks to sha256:.* but its image says sha256:",
    "public/no_manifest.tar": "before 1.10",
    "public/emptyLayer.tar": "before 1.10",
    "public/null_manifest.tar": "holds no image",
    "public/test_bundle.tar": '"test_image_2", which has no tag',
}


@pytest.mark.parametrize("name", TREES)
async def test_the_merged_tree_is_the_expected_one(name: str, store: LocalImageStore, tmp_path: Path) -> None:
    """Types, modes, owners, sizes, times, contents, hard links, attributes."""
    expected, reference = TREES[name]
    found = await store.load(ROOT / name)
    last = found[-1] if "umoci" in name else found[0]
    assert reference in (*last.references, "")
    await store.verify(last.image)
    layers = [store.layer_root() / short for short in store.layer_paths(last.image)[: len(last.image.layers)]]
    assert alone_unlinked(merged_rows(layers, tmp_path)) == alone_unlinked(
        rows_of(ROOT / "expected" / f"{expected}.tsv")
    )


def alone_unlinked(rows: list[list[str]]) -> list[list[str]]:
    """A file whose other names a layer above has removed still counts them: no group is told from the names left."""
    groups = Counter(row[8] for row in rows)
    return sorted([*row[:8], row[8] if groups[row[8]] > 1 else "", row[9]] for row in rows)


@pytest.mark.parametrize("name", REFUSED)
async def test_what_must_be_refused_is_refused(name: str, store: LocalImageStore) -> None:
    """With the reason."""
    with pytest.raises(Refused, match=REFUSED[name]):
        await store.load(ROOT / name)


@pytest.mark.parametrize("name", ["test_link", "test_load_manifest", "valid-oci"])
async def test_other_public_archives_load(name: str, store: LocalImageStore) -> None:
    """Two images with a linked layer; several at once; bare OCI."""
    for found in await store.load(ROOT / "public" / f"{name}.tar"):
        await store.verify(found.image)
        assert found.references


@pytest.mark.parametrize("name", ["buildah-oci-index-4-platforms", "skopeo-dir-manifest-list-4-platforms"])
async def test_the_image_for_this_machine_is_chosen(name: str, store: LocalImageStore) -> None:
    """Out of four."""
    (found,) = await store.load(ROOT / "tool-made" / f"{name}.tar")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "")
    assert found.image.config["architecture"] == machine


async def test_three_writers_of_one_tree_give_one_tree(store: LocalImageStore, tmp_path: Path) -> None:
    """GNU tar in two formats and bsdtar; GNU's own format has no extended attributes."""
    trees = {}
    for name in ("gnutar-layer-pax-xattr-sparse", "gnutar-layer-gnuformat-sparse", "bsdtar-layer-pax"):
        image = await store.import_tar(ROOT / "tool-made" / f"{name}.tar")
        layers = [store.layer_root() / store.layer_paths(image)[0]]
        trees[name] = merged_rows(layers, tmp_path)
    pax, gnu, bsd = trees.values()
    assert pax == bsd
    assert [row[:9] for row in pax] == [row[:9] for row in gnu]
    assert any("security.capability" in row[9] for row in pax)


def test_the_expected_trees_are_here() -> None:
    """The folder is the one these tests were written for."""
    assert (ROOT / "expected" / "docker20-edge.tsv").is_file()
