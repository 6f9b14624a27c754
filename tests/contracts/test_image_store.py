"""What every image store promises; the one in memory may stand in for the real one only because it passes this."""

import io
import json
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from adapters.images.store import LocalImageStore
from adapters.memory.images import MemoryImageStore
from domain.errors import InvalidValue, LadingError, Refused, StorageError
from domain.images.layer import chain_ids, digest_of
from domain.images.manifest import parse_platform
from domain.images.model import Image

Store = LocalImageStore | MemoryImageStore
NOW = 1_700_000_000_000_000_000


@pytest.fixture(params=["memory", pytest.param("local", marks=pytest.mark.kernel)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Every adapter in turn, under a clock that stands still."""
    if request.param == "memory":
        yield MemoryImageStore(now=lambda: NOW)
        return
    local = LocalImageStore(tmp_path / "store", now=lambda: NOW)
    yield local
    local.close()


def layer(**files: str) -> bytes:
    """An uncompressed layer."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def saved(tmp_path: Path, layers: list[bytes], tags: list[str], **config: Any) -> Path:
    """A docker-archive."""
    document = json.dumps(
        {
            "os": "linux",
            "architecture": "amd64",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [digest_of(data) for data in layers]},
        }
    )
    names = {f"{number}.tar": data for number, data in enumerate(layers)}
    manifest = json.dumps([{"Config": "config.json", "RepoTags": tags, "Layers": list(names)}])
    path = tmp_path / f"{sha256(document.encode()).hexdigest()}.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in {"manifest.json": manifest.encode(), "config.json": document.encode(), **names}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def rootfs(tmp_path: Path, **files: str) -> Path:
    """A file to import."""
    path = tmp_path / "rootfs.tar"
    path.write_bytes(layer(**files))
    return path


async def test_an_import_gives_one_layer_and_the_changes(store: Store, tmp_path: Path) -> None:
    """The id is the digest of a config that depends on content, changes and clock alone."""
    path = rootfs(tmp_path, a="hello")
    image = await store.import_tar(path, message="m", changes=["ENV A=b"])
    assert image == await store.import_tar(path, message="m", changes=["ENV A=b"])
    assert image.id != (await store.import_tar(path, message="m")).id
    assert (len(image.layers), image.size, image.created) == (1, 5, NOW)
    assert image.config["config"] == {"Env": ["A=b"]}


async def test_a_load_gives_ids_layers_and_references(store: Store, tmp_path: Path) -> None:
    """References in the form under which they are kept, layers lowest first."""
    layers = [layer(a="1"), layer(b="22")]
    (found,) = await store.load(saved(tmp_path, layers, ["docker.io/library/app:v1", "host.io/x:y"], Cmd=["sh"]))
    assert found.references == ("app:v1", "host.io/x:y")
    assert [one.diff_id for one in found.image.layers] == [digest_of(data) for data in layers]
    assert tuple(one.chain_id for one in found.image.layers) == chain_ids([digest_of(data) for data in layers])
    assert [one.size for one in found.image.layers] == [1, 2]
    assert found.image.config["config"] == {"Cmd": ["sh"]}


async def test_a_file_that_is_spent_is_emptied_and_no_other(store: Store, tmp_path: Path) -> None:
    """Else the next sync would bring to the disk what nobody will ever read."""
    path = saved(tmp_path, [layer(a="1")], ["a:b"])
    data = path.read_bytes()
    assert await store.load(path)
    assert path.read_bytes() == data
    assert await store.load(path, spent=True)
    assert path.read_bytes() == b""
    root = rootfs(tmp_path, a="1")
    assert await store.import_tar(root) == await store.import_tar(root, spent=True)
    assert root.read_bytes() == b""


async def test_what_is_no_archive_is_refused(store: Store, tmp_path: Path) -> None:
    """By both ways in, and so is a change that cannot be meant."""
    (tmp_path / "rubbish").write_bytes(b"rubbish" * 1000)
    with pytest.raises(LadingError):
        await store.load(tmp_path / "rubbish")
    with pytest.raises(LadingError):
        await store.import_tar(tmp_path / "rubbish")
    with pytest.raises(InvalidValue):
        await store.import_tar(rootfs(tmp_path, a="x"), changes=["RUN x"])


async def test_a_commit_puts_one_layer_on_top(store: Store, tmp_path: Path) -> None:
    """With the given config, and the parent's history and layers below."""
    parent = await store.import_tar(rootfs(tmp_path, a="1"))
    upper = tmp_path / "upper"
    upper.mkdir()
    (upper / "new").write_text("four")
    image = await store.commit(upper, parent, {"Cmd": ["x"]}, author="me", message="m", created_by="sh")
    assert (image.layers[:-1], image.layers[-1].size, image.size) == (parent.layers, 4, 5)
    assert (image.config["config"], image.config["author"]) == ({"Cmd": ["x"]}, "me")
    history = image.config["history"]
    assert isinstance(history, list)
    assert [entry.get("created_by") for entry in history] == [None, "sh"]


async def test_layer_names_are_short_and_in_order(store: Store, tmp_path: Path) -> None:
    """One for each layer, lowest first, and perhaps one on top."""
    (found,) = await store.load(saved(tmp_path, [layer(a="1"), layer(b="2")], ["a:b"]))
    both = store.layer_paths(found.image)
    below = store.layer_paths(found.image.model_copy(update={"layers": found.image.layers[:1]}))
    assert both[0] == below[0]
    assert 2 <= len(set(both)) == len(both) <= 3
    assert all("/" not in name and len(name) <= 12 for name in both)


async def test_a_sweep_keeps_what_is_needed_or_not_yet_released(store: Store, tmp_path: Path) -> None:
    """Given images are safe until whoever got them has recorded them."""
    one = await store.import_tar(rootfs(tmp_path, a="1"))
    two = await store.import_tar(rootfs(tmp_path, b="2222"))
    again = await store.import_tar(tmp_path / "rootfs.tar")
    assert await store.sweep([]) == 0
    for image in (one, two):
        store.release(image.id)
    assert await store.sweep([one]) == 0, "the second was given twice"
    store.release(again.id)
    assert await store.sweep([one]) >= 4
    await store.verify(one)
    await missing(store, two)


async def missing(store: Store, image: Image) -> None:
    """It can neither be mounted nor verified."""
    with pytest.raises(StorageError):
        store.layer_paths(image)
    with pytest.raises(StorageError):
        await store.verify(image)


async def test_layers_that_another_image_needs_survive(store: Store, tmp_path: Path) -> None:
    """They are shared."""
    base = layer(a="1")
    (one,) = await store.load(saved(tmp_path, [base, layer(b="2")], ["a:1"]))
    (two,) = await store.load(saved(tmp_path, [base, layer(c="3")], ["a:2"]))
    store.release(one.image.id)
    store.release(two.image.id)
    await store.sweep([two.image])
    await store.verify(two.image)
    await missing(store, one.image)


async def test_releasing_what_was_not_given_is_fine(store: Store) -> None:
    """Nothing to do."""
    store.release("sha256:" + "0" * 64)
    assert await store.sweep([]) == 0


async def test_what_is_for_another_platform_is_loaded_only_by_who_does_not_ask(store: Store, tmp_path: Path) -> None:
    """An import says what it is for."""
    (tmp_path / "rootfs.tar").write_bytes(layer(a="1"))
    image = await store.import_tar(tmp_path / "rootfs.tar", platform=parse_platform("arm64"))
    assert (image.config["os"], image.config["architecture"]) == ("linux", "arm64")
    path = saved(tmp_path, [layer(a="1")], ["a:b"])
    await store.load(path, platform=parse_platform("amd64"))
    with pytest.raises(Refused, match=r"not for linux/s390x\. It offers: linux/amd64"):
        await store.load(path, platform=parse_platform("s390x"), spent=True)
    assert path.stat().st_size
