"""Saved images of every maker: loaded, or refused with the reason in one line."""

import bz2
import gzip
import json
import lzma
import os
from pathlib import Path
from typing import Any

import pytest
import zstandard

from adapters.images.store import LocalImageStore
from domain.errors import LadingError, Refused
from domain.images.model import Registered
from tests.adapters.images.saved import Layout, config, docker_archive, named, podman_archive, sha
from tests.adapters.images.tars import archive, directory, file, hardlink, symlink

pytestmark = pytest.mark.kernel  # layers are unpacked with another root

ONE, TWO = archive(directory("d"), file("d/f", b"one")), archive(file("d/g", b"two"), file("d/.wh.f"))


async def load(store: LocalImageStore, tmp_path: Path, data: bytes) -> tuple[Registered, ...]:
    """Load from a file."""
    path = tmp_path / "saved.tar"
    path.write_bytes(data)
    return tuple(await store.load(path))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
async def test_a_docker_archive_is_loaded_however_it_is_packed(
    pack: Any, store: LocalImageStore, tmp_path: Path
) -> None:
    """The whole file may be compressed, whatever it is called."""
    (found,) = await load(store, tmp_path, pack(docker_archive([ONE, TWO], ["app:v1", "docker.io/library/other:v2"])))
    assert found.references == ("app:v1", "other:v2")
    assert found.image.id == f"sha256:{sha(config([ONE, TWO]))}"
    assert [layer.diff_id for layer in found.image.layers] == [f"sha256:{sha(layer)}" for layer in (ONE, TWO)]
    assert found.image.size == len("one") + len("two")
    assert found.image.created == 1767323045500000000
    await store.verify(found.image)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
async def test_layers_may_be_compressed_inside(pack: Any, store: LocalImageStore, tmp_path: Path) -> None:
    """crane does so, and OCI layouts always; the names do not say it."""
    document = config([ONE])
    manifest = [{"Config": "c.json", "RepoTags": ["a:b"], "Layers": ["l.tar.gz"]}]
    (found,) = await load(
        store,
        tmp_path,
        archive(named("manifest.json", json.dumps(manifest)), named("c.json", document), named("l.tar.gz", pack(ONE))),
    )
    layout = Layout()
    layout.add(layout.image([ONE], [pack(ONE)]), "a:b")
    (other,) = await load(store, tmp_path, layout.tar())
    assert found == other


async def test_links_in_the_archive_lead_to_its_own_entries(store: LocalImageStore, tmp_path: Path) -> None:
    """podman links layers to blobs, docker 20.10 a layer to another image's."""
    (found,) = await load(store, tmp_path, podman_archive([ONE, TWO], ["localhost/app:v1"]))
    documents = config([ONE]), config([ONE], Cmd=["x"])
    manifest = [
        {"Config": "1.json", "RepoTags": ["a:1"], "Layers": ["1/layer.tar"]},
        {"Config": "2.json", "RepoTags": ["a:2"], "Layers": ["2/layer.tar"]},
    ]
    data = archive(
        named("1/layer.tar", ONE),
        symlink("2/layer.tar", "../1/layer.tar"),
        named("1.json", documents[0]),
        hardlink("h.json", "1.json"),
        named("2.json", documents[1]),
        named("manifest.json", json.dumps(manifest)),
    )
    two = await load(store, tmp_path, data)
    assert (found.references, [one.references for one in two]) == (("localhost/app:v1",), [("a:1",), ("a:2",)])
    assert two[0].image.layers == two[1].image.layers


async def test_an_index_gives_the_image_for_this_machine(store: LocalImageStore, tmp_path: Path) -> None:
    """Also when indexes lie in indexes, and attestations beside images."""
    layout = Layout()
    machine = "arm64" if os.uname().machine == "aarch64" else "amd64"
    images = {
        arch: layout.image([archive(file(arch))], document=config([archive(file(arch))], Labels={"arch": arch}))
        for arch in ("amd64", "arm64", "s390x")
    }
    entries = [{**d, "platform": {"os": "linux", "architecture": arch}} for arch, d in images.items()]
    attestation = {**layout.blob(b"{}"), "platform": {"os": "unknown", "architecture": "unknown"}}
    index = layout.blob(json.dumps({"schemaVersion": 2, "manifests": [attestation, *entries]}).encode())
    layout.add(index, "multi:v1")
    (found,) = await load(store, tmp_path, layout.tar())
    assert (found.references, found.image.config["config"]) == (("multi:v1",), {"Labels": {"arch": machine}})
    flat = Layout()
    flat.blobs = layout.blobs
    for arch, descriptor in images.items():
        flat.add(descriptor, "multi:v1", platform={"os": "linux", "architecture": arch})
    assert await load(store, tmp_path, flat.tar()) == (found,)


async def test_a_bare_tag_names_nothing(store: LocalImageStore, tmp_path: Path) -> None:
    """Only the saver knew of what it was one."""
    layout = Layout()
    layout.add(layout.image([ONE]), "latest")
    (found,) = await load(store, tmp_path, layout.tar())
    assert found.references == ()


async def test_an_image_without_names_or_layers_is_an_image(store: LocalImageStore, tmp_path: Path) -> None:
    """Docker 25 writes null for the names."""
    (found,) = await load(store, tmp_path, docker_archive([], None))
    assert (found.references, found.image.layers) == ((), ())
    assert len(store.layer_paths(found.image)) == 1, "the mount points"


@pytest.mark.parametrize("saver", ["docker", "oci", "nested"])
async def test_a_thousand_names_of_one_large_document_are_refused_early(
    saver: str, store: LocalImageStore, tmp_path: Path
) -> None:
    """Elsewhere a small archive, or index, asked for the same again and again (CVE-2026-53493)."""
    large = config([], Labels={"x": "y" * (1 << 20)})
    layout = Layout()
    if saver == "docker":
        saved = [{"Config": "c", "RepoTags": [f"a:{number}"], "Layers": []} for number in range(1000)]
        data = archive(named("c", large), named("manifest.json", json.dumps(saved)))
    else:
        inner = layout.image([], document=large)
        if saver == "nested":
            inner = layout.blob(json.dumps({"schemaVersion": 2, "manifests": [inner], "x": "y" * (1 << 20)}).encode())
        for number in range(1000):
            layout.add(inner, f"a:{number}")
        data = layout.tar()
    with pytest.raises(Refused, match="too large together"):
        await load(store, tmp_path, data)


def broken() -> dict[str, tuple[bytes, str]]:
    """Archives that must be refused, and how."""
    deep = Layout()
    inner = deep.image([ONE])
    for _ in range(9):
        inner = deep.blob(json.dumps({"schemaVersion": 2, "manifests": [inner]}).encode())
    deep.add(inner, "a:b")
    layout = Layout()
    layout.add({**layout.image([ONE]), "size": 1}, "a:b")
    damaged = Layout()
    damaged.add(damaged.image([ONE], [gzip.compress(ONE)]), "a:b")
    for digits, data in damaged.blobs.items():
        if data == gzip.compress(ONE):
            damaged.blobs[digits] = gzip.compress(TWO)
    liar = Layout()
    liar.add(liar.image([ONE], [gzip.compress(TWO)]), "a:b")
    artifact = Layout()
    artifact.add(
        artifact.blob(
            json.dumps(
                {
                    "schemaVersion": 2,
                    "layers": [],
                    "config": {**artifact.blob(b"{}"), "mediaType": "application/vnd.cncf.helm.config.v1+json"},
                }
            ).encode()
        ),
        "chart:v1",
    )
    both = Layout()
    both.add(
        both.blob(json.dumps({"schemaVersion": 2, "layers": [], "config": both.blob(b"{}"), "manifests": []}).encode())
    )
    old = Layout()
    old.add(old.blob(json.dumps({"schemaVersion": 1, "fsLayers": []}).encode()))
    foreign = Layout()
    foreign.add(
        foreign.blob(
            json.dumps(
                {
                    "schemaVersion": 2,
                    "manifests": [{**foreign.image([ONE]), "platform": {"os": "linux", "architecture": "mips"}}],
                }
            ).encode()
        ),
        "far:v1",
    )
    loop = Layout()
    loop.add({"digest": f"sha256:{'0' * 64}", "size": 1}, "a:b")
    document = config([ONE])
    windows = json.dumps({**json.loads(document), "os": "windows"}).encode()
    saved = [{"Config": "c", "RepoTags": ["a:b"], "Layers": ["l"]}]
    return {
        "before 1.10": (archive(file("repositories"), file("x/layer.tar", ONE)), "before 1.10"),
        "null": (archive(named("manifest.json", "null")), "holds no image"),
        "no image": (archive(file("bin/sh")), "neither manifest.json nor index.json"),
        "not tar": (b"\x89PNG" + bytes(3000), "cannot be read"),
        "truncated": (docker_archive([ONE])[:3000], "cannot be read"),
        "not JSON": (archive(named("manifest.json", "{nonsense")), "not valid JSON"),
        "no tag": (docker_archive([ONE], ["test_image_2"]), 'names an image "test_image_2", which has no tag'),
        "bad name": (docker_archive([ONE], ["UPPER/x:y"]), "must be lowercase"),
        "missing layer": (archive(named("manifest.json", json.dumps(saved)), named("c", document)), "l is missing"),
        "layer leads out": (
            archive(named("manifest.json", json.dumps(saved)), named("c", document), symlink("l", "/etc/passwd")),
            "l is missing",
        ),
        "link in a circle": (
            archive(
                named("manifest.json", json.dumps(saved)), named("c", document), symlink("l", "m"), symlink("m", "l")
            ),
            "leads nowhere",
        ),
        "twice": (archive(named("manifest.json", "[]"), named("manifest.json", json.dumps(saved))), "twice"),
        "too few layers": (docker_archive([ONE], document=config([ONE, TWO])), "1 layers, but its config speaks of 2"),
        "wrong layer": (docker_archive([TWO], document=config([ONE])), "layer 1 of app:v1 unpacks to sha256:"),
        "bad environment": (docker_archive([ONE], document=config([ONE], Env=["=x"])), "invalid environment variable"),
        "bad signal": (docker_archive([ONE], document=config([ONE], StopSignal="SIGNOPE")), "invalid signal"),
        "bad user": (docker_archive([ONE], document=config([ONE], User="a\nb")), "invalid user"),
        "no config": (docker_archive([ONE], document=b"[]"), "not an image configuration"),
        "windows": (docker_archive([ONE], document=windows), "only linux"),
        "wrong size": (layout.tar(), "damaged"),
        "wrong blob": (damaged.tar(), "is damaged: it is sha256:|is larger than|bytes, but should have"),
        "wrong diff id": (liar.tar(), "the image was built wrongly"),
        "artifact": (artifact.tar(), "OCI artifact of type"),
        "two readings": (both.tar(), "ambiguous"),
        "schema 1": (old.tar(), "schema 1"),
        "other machine": (foreign.tar(), r"far:v1 exists, but not for linux/.* It offers: linux/mips"),
        "missing manifest": (loop.tar(), "is missing"),
        "index in an index": (deep.tar(), "nested too deeply"),
        "empty index": (Layout().tar(), "index.json is empty"),
    }


@pytest.mark.parametrize("kind", broken())
async def test_what_cannot_be_loaded_is_refused_in_one_line(kind: str, store: LocalImageStore, tmp_path: Path) -> None:
    """Nothing is left behind, and the store works on.

    CVE-2014-8178, CVE-2014-8179, GHSA-r3h2-rgqf-9hv9.
    """
    data, text = broken()[kind]
    with pytest.raises(Refused, match=text) as caught:
        await load(store, tmp_path, data)
    assert "\n" not in caught.value.message
    assert await store.sweep([]) >= 0
    assert [os.listdir(tmp_path / "store" / kind) for kind in ("layers", "blobs/sha256", "stubs", "l", "tmp")] == [
        []
    ] * 5
    assert await load(store, tmp_path, docker_archive([ONE]))


async def test_only_regular_files_are_read(store: LocalImageStore, tmp_path: Path) -> None:
    """A named pipe would hang for ever."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(LadingError):
            await store.load(path)
        with pytest.raises(LadingError):
            await store.import_tar(path)
    with pytest.raises(LadingError):
        await store.load(tmp_path / "nothing")
