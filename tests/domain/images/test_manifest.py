"""Manifests, indexes, and the choice among platforms."""

import json
from typing import Any

import pytest

from domain.errors import InvalidValue, Refused
from domain.images.layer import digest_of
from domain.images.manifest import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    Platform,
    choose,
    composed,
    parse_document,
    parse_platform,
    parse_saved,
    suits,
)

DIGEST = "sha256:" + "a" * 64


def pointer(**more: Any) -> dict[str, Any]:
    """A descriptor."""
    return {"digest": DIGEST, "size": 5, **more}


def entry(text: str) -> Descriptor:
    """An entry of an index for a platform."""
    os, architecture, variant = (text + "//").split("/")[:3]
    return Descriptor(
        digest=DIGEST, size=len(text), platform=Platform(os=os, architecture=architecture, variant=variant)
    )


def test_documents_are_known_by_their_keys() -> None:
    """Whatever media type stands beside them, and whatever else: elsewhere a subject whose digest is none ended the
    daemon (CVE-2026-95839)."""
    manifest = parse_document(
        json.dumps({"config": pointer(), "layers": [pointer(mediaType="x", annotations=None)],
                    "subject": {"digest": "none", "annotations": {"x": 5}}, "annotations": 7}).encode(), "it"
    )
    index = parse_document(
        json.dumps({"manifests": [pointer(platform={"os": "linux", "architecture": "arm64"})]}).encode(), "it"
    )
    assert isinstance(manifest, Manifest)
    assert isinstance(index, Index)
    assert str(index.manifests[0].platform) == "linux/arm64"


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"schemaVersion": 1}, "schema 1"),
        ({"fsLayers": []}, "schema 1"),
        ({"manifests": [], "layers": []}, "ambiguous"),
        ({"manifests": [], "config": pointer()}, "ambiguous"),
        ({"config": pointer()}, "invalid at layers"),
        ({"config": pointer(size=-1), "layers": []}, "invalid at config.size"),
        ({"config": pointer(size="5"), "layers": []}, "invalid at config.size"),
        ({"config": pointer(digest="sha256:../x"), "layers": []}, "invalid digest"),
        ([], "neither"),
        ("x", "neither"),
        (
            {"config": pointer(mediaType="application/vnd.x"), "layers": []},
            "OCI artifact of type application/vnd.x, not an image",
        ),
    ],
)
def test_documents_that_cannot_be_believed_are_refused(document: object, text: str) -> None:
    """With one line that says why.

    CVE-2024-3727, CVE-2021-41190, GHSA-5j5w-g665-5m35, GHSA-xmmx-7jpf-fx42, GHSA-qq97-vm5h-rrhg.
    """
    with pytest.raises(Refused, match=text):
        parse_document(json.dumps(document).encode(), "it")


def test_an_archives_list_is_read() -> None:
    """Docker 25 writes null for names, old tools leave keys out."""
    (saved,) = parse_saved(
        json.dumps([{"Config": "c", "RepoTags": None, "Layers": ["l"], "LayerSources": {}}]).encode()
    )
    assert (saved.config, saved.tags, saved.layers) == ("c", (), ("l",))
    assert parse_saved(b'[{"Config": "c"}]')[0].layers == ()
    for wrong in (b"null", b"[]", b"{}", b"[1]", b'[{"Config": 1}]', b'[{"Layers": []}]'):
        with pytest.raises(Refused):
            parse_saved(wrong)


@pytest.mark.parametrize(
    ("machine", "offers", "chosen"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], "linux/amd64"),
        ("linux/arm64/v8", ["linux/arm64"], "linux/arm64"),
        ("linux/arm64", ["linux/arm64/v8"], "linux/arm64/v8"),
        ("linux/arm/v7", ["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"),
        ("linux/arm/v7", ["linux/arm/v8", "linux/arm/v6"], "linux/arm/v6"),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2"], "linux/amd64/v2"),
        ("linux/amd64", ["unknown/unknown", "windows/amd64", "linux/amd64"], "linux/amd64"),
    ],
)
def test_the_best_entry_that_runs_here_is_chosen(machine: str, offers: list[str], chosen: str) -> None:
    """Variants fall back to older ones; attestations are no images."""
    wanted = entry(machine).platform
    assert wanted is not None
    assert str(choose([entry(text) for text in offers], wanted, "x").platform) == chosen


def test_nothing_that_fits_lists_what_there_is() -> None:
    """Without the attestations."""
    with pytest.raises(Refused, match=r"^x exists, but not for linux/arm64\. It offers: linux/386, linux/amd64$"):
        choose(
            [entry("linux/amd64"), entry("linux/386"), entry("unknown/unknown")],
            Platform(os="linux", architecture="arm64"),
            "x",
        )


def test_a_single_entry_without_a_platform_is_taken() -> None:
    """There is nothing to choose."""
    only = Descriptor(digest=DIGEST, size=1)
    assert choose([only], Platform(os="linux", architecture="amd64"), "x") is only


@pytest.mark.parametrize(
    ("text", "shown"),
    [("linux/arm64/v8", "linux/arm64/v8"), ("arm64", "linux/arm64"), ("linux/x86_64", "linux/amd64"),
     ("Linux/AMD64", "linux/amd64")],
)  # fmt: skip
def test_a_platform_is_written_as_others_write_it(text: str, shown: str) -> None:
    """With or without the system, by all its names."""
    assert str(parse_platform(text)) == shown


@pytest.mark.parametrize("text", ["", "linux", "windows/amd64", "linux/amd64/v1/x", "linux/", "a b"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    """Before anything is asked of a registry."""
    with pytest.raises(InvalidValue):
        parse_platform(text)


def test_a_manifest_of_our_own_is_always_the_same() -> None:
    """Docker's form, which everybody takes; OCI's where zstd is in it."""
    config = Descriptor(digest=digest_of(b"c"), size=1)
    layers = [Descriptor(media_type=OCI_LAYER_GZIP, digest=digest_of(b"l"), size=2)]
    kind, data = composed(config, layers)
    assert (kind, composed(config, layers)[1]) == (DOCKER_MANIFEST, data)
    read = parse_document(data, "it")
    assert isinstance(read, Manifest)
    assert read.kind == DOCKER_MANIFEST
    assert read.layers[0].digest == layers[0].digest
    zstd = [Descriptor(media_type=OCI_LAYER_ZSTD, digest=digest_of(b"z"), size=3)]
    assert composed(config, [*layers, *zstd])[0] == OCI_MANIFEST


def test_a_document_that_calls_itself_something_else_is_refused() -> None:
    """One reader would go by the name, the next one by the keys."""
    for document in (
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "config": {}, "layers": []},
        {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "manifests": []},
    ):
        with pytest.raises(Refused, match="ambiguous"):
            parse_document(json.dumps(document).encode(), "it")


@pytest.mark.parametrize(
    ("offered", "wanted", "does"),
    [
        ("amd64", "amd64", True), ("amd64", "linux/amd64/v3", True), ("linux/amd64/v3", "amd64", False),
        ("arm64", "linux/arm64/v8", True), ("linux/arm/v6", "linux/arm/v7", True),
        ("linux/arm/v7", "linux/arm/v6", False), ("arm64", "amd64", False),
    ],
)  # fmt: skip
def test_an_image_suits_who_can_run_it(offered: str, wanted: str, does: bool) -> None:
    """Newer machines run what was made for older ones."""
    assert suits(parse_platform(offered), parse_platform(wanted)) is does


def test_an_image_that_says_nothing_suits_everybody() -> None:
    """Old archives hold such ones."""
    assert suits(Platform(), parse_platform("arm64"))
