"""Pulls into the store: everything verified, nothing twice, nothing lost by a crash, nothing kept that is wrong."""

import asyncio
import gzip
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zstandard

from adapters.images.store import LocalImageStore
from domain.errors import NotFound, Refused, StorageError
from domain.images.layer import digest_of
from domain.images.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor, Platform
from domain.images.progress import Progress
from domain.images.transfer import AT_ONCE
from domain.ports.bus import Stop
from domain.ports.images import Fetched, Sink
from tests.adapters.images.saved import config as config_of
from tests.adapters.images.tars import archive, directory, file

pytestmark = pytest.mark.kernel
ROOT = Path(__file__).parents[3]
BASE = archive(directory("etc"), file("etc/name", b"base"), file("big", os.urandom(300_000)))
TOP = archive(file("etc/more", b"top"), file("other", os.urandom(200_000)))
NAME = "reg.example.com/team/app:v1"


def honest(digest: str, offset: int, data: bytes) -> bytes:
    """The bytes as they are."""
    return data


@dataclass
class Shelf:
    """A repository in memory, and a `Source` of it; `calls` is what was asked for, `given` how many bytes came."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    given: list[int] = field(default_factory=list)
    piece: int = 65536
    spoil: Callable[[str, int, bytes], bytes] = honest

    def add(self, data: bytes) -> dict[str, object]:
        """One more blob; its descriptor."""
        self.blobs[digest_of(data)] = data
        return {"digest": digest_of(data), "size": len(data)}

    def image(self, layers: Sequence[bytes], stored: Sequence[bytes] | None = None, /, **more: object) -> str:
        """A manifest over these layers, `stored` as they lie there; its digest."""
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.add(config_of(layers)),
            "layers": [self.add(data) for data in stored or layers],
            **more,
        }
        return str(self.add(json.dumps(document).encode())["digest"])

    def manifest(self, which: str) -> bytes:
        """By tag or digest."""
        self.calls.append(f"manifest {which}")
        digest = self.named.get(which, which)
        if digest not in self.blobs:
            raise NotFound(f"manifest for {which} not found: manifest unknown")
        return self.blobs[digest]

    def tags(self) -> Sequence[str]:
        """All."""
        return tuple(self.named)

    def digest(self, which: str) -> str:
        """Of a tag."""
        return self.named.get(which, "")

    def download(self, blob: Descriptor, sink: Sink) -> None:
        """Piece by piece, as a registry's client."""
        self.calls.append(f"blob {blob.digest} {sink.offset}")
        if blob.digest not in self.blobs:
            raise NotFound(f"{blob.digest} is not there")
        while sink.offset < blob.size:
            data = self.blobs[blob.digest][sink.offset : sink.offset + self.piece]
            sink.take(self.spoil(blob.digest, sink.offset, data))
            self.given.append(len(data))

    def fetched(self) -> list[str]:
        """Digests of the blobs that were asked for, in order of their names."""
        return sorted(call.split()[1] for call in self.calls if call.startswith("blob"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalImageStore]:
    """An empty one."""
    store = LocalImageStore(tmp_path / "store")
    yield store
    store.close()


async def pull(
    store: LocalImageStore, shelf: Shelf, which: str, progress: Progress | None = None, platform: Platform | None = None
) -> Fetched:
    """Pull it under its usual name."""
    return await store.pull(
        lambda stop: shelf, which, name=NAME, platform=platform, progress=progress or Progress()
    )


def left(tmp_path: Path, kind: str) -> list[str]:
    """Names in a folder of the store."""
    return sorted(os.listdir(tmp_path / "store" / kind))


@pytest.mark.parametrize(
    "packed", [gzip.compress, zstandard.ZstdCompressor().compress, lambda data: data], ids=["gzip", "zstd", "plain"]
)
async def test_layers_of_every_kind_become_an_image_whose_blobs_are_those_of_the_registry(
    store: LocalImageStore, tmp_path: Path, packed: Callable[[bytes], bytes]
) -> None:
    """Kept byte by byte: what is pushed again has the same digest."""
    shelf = Shelf()
    shelf.named["v1"] = shelf.image([BASE, TOP], [packed(BASE), packed(TOP)])
    progress = Progress()
    found = await pull(store, shelf, "v1", progress)
    assert found.digest == shelf.named["v1"]
    assert [layer.diff_id for layer in found.image.layers] == [digest_of(BASE), digest_of(TOP)]
    assert [part.state for part in progress.parts] == ["complete", "complete"]
    assert progress.received == progress.total == len(packed(BASE)) + len(packed(TOP))
    await store.verify(found.image)
    store.settle(NAME)
    assert await store.sweep([found.image], [found.digest]) == 0
    assert set(left(tmp_path, "blobs/sha256")) == {digest[7:] for digest in shelf.blobs}
    assert left(tmp_path, "ingest") == []


async def test_a_second_pull_asks_for_nothing_but_the_digest(store: LocalImageStore) -> None:
    """And says that everything is here."""
    shelf = Shelf()
    shelf.named["v1"] = shelf.image([BASE, TOP])
    first = await pull(store, shelf, "v1")
    shelf.calls.clear()
    progress = Progress()
    assert await pull(store, shelf, "v1", progress) == first
    assert shelf.calls == []
    assert [part.state for part in progress.parts] == ["exists", "exists"]


async def test_a_layer_that_is_here_is_not_asked_for(store: LocalImageStore) -> None:
    """Wherever it came from."""
    shelf = Shelf()
    shelf.named |= {"v1": shelf.image([BASE]), "v2": shelf.image([BASE, TOP])}
    await pull(store, shelf, "v1")
    shelf.calls.clear()
    await pull(store, shelf, "v2")
    assert digest_of(BASE) not in shelf.fetched()
    assert digest_of(TOP) in shelf.fetched()


async def test_an_image_with_one_layer_twice_gets_it_once(store: LocalImageStore) -> None:
    """Two layers in the stack, one blob."""
    shelf = Shelf()
    shelf.named["v1"] = shelf.image([BASE, TOP, BASE])
    found = await pull(store, shelf, "v1")
    assert len({layer.chain_id for layer in found.image.layers}) == 3
    assert shelf.fetched().count(digest_of(BASE)) == 1
    await store.verify(found.image)


async def test_an_index_gives_the_image_of_this_machine_and_is_kept_itself(store: LocalImageStore) -> None:
    """What the name meant is the index: its digest is the one to pull by."""
    shelf = Shelf()
    own = os.uname().machine.replace("x86_64", "amd64").replace("aarch64", "arm64")
    entries = [
        {**shelf.add(shelf.blobs[shelf.image([layer])]), "platform": {"os": system, "architecture": name}}
        for layer, system, name in ((TOP, "unknown", "unknown"), (TOP, "linux", "s390x"), (BASE, "linux", own))
    ]
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    shelf.named["v1"] = str(shelf.add(index)["digest"])
    found = await pull(store, shelf, "v1")
    assert found.digest == digest_of(index)
    assert [layer.diff_id for layer in found.image.layers] == [digest_of(BASE)]
    with pytest.raises(Refused, match=r"exists, but not for linux/arm/v7\. It offers: linux/"):
        await pull(store, shelf, "v1", platform=Platform(os="linux", architecture="arm", variant="v7"))


async def test_a_plain_image_of_another_platform_is_refused_only_if_one_was_asked_for(store: LocalImageStore) -> None:
    """Somebody may have an emulator."""
    shelf = Shelf()
    shelf.named["v1"] = shelf.image([BASE])
    await pull(store, shelf, "v1")
    with pytest.raises(Refused, match="but not for linux/s390x"):
        await pull(store, shelf, "v1", platform=Platform(os="linux", architecture="s390x"))


# What is wrong


async def test_damaged_bytes_are_asked_for_once_more_and_then_refused(store: LocalImageStore, tmp_path: Path) -> None:
    """Nothing of them stays."""
    shelf = Shelf()
    shelf.named["v1"] = shelf.image([BASE])
    shelf.spoil = lambda digest, offset, data: b"\0" * len(data) if digest == digest_of(BASE) else data
    with pytest.raises(Refused, match="arrived damaged twice"):
        await pull(store, shelf, "v1")
    assert shelf.fetched().count(digest_of(BASE)) == 2
    assert left(tmp_path, "layers") == []
    await store.sweep([], spare=False)
    assert [left(tmp_path, kind) for kind in ("blobs/sha256", "ingest", "tmp")] == [[], [], []]


async def test_bytes_that_are_damaged_once_are_made_good(store: LocalImageStore) -> None:
    """Also the end of a download that somebody has spoiled on the disk."""
    shelf = Shelf()
    shelf.named["v1"] = shelf.image([BASE])
    spoiled = iter([True])
    shelf.spoil = lambda digest, offset, data: (
        b"\0" * len(data) if digest == digest_of(BASE) and next(spoiled, False) else data
    )
    await store.verify((await pull(store, shelf, "v1")).image)


async def test_a_layer_that_unpacks_to_something_else_is_refused(store: LocalImageStore, tmp_path: Path) -> None:
    """The registry has what the manifest says; the image was built wrongly."""
    shelf = Shelf()
    shelf.named["v1"] = shelf.image([BASE, TOP], [BASE, gzip.compress(BASE)])
    with pytest.raises(Refused, match=r"layer 2 of .* the image was built wrongly"):
        await pull(store, shelf, "v1")
    await store.sweep([], spare=False)
    assert left(tmp_path, "layers") == left(tmp_path, "blobs/sha256") == []


async def test_a_missing_layer_ends_the_pull_with_the_registrys_answer(store: LocalImageStore) -> None:
    """Whatever else came."""
    shelf = Shelf()
    shelf.named["v1"] = shelf.image([BASE, TOP])
    del shelf.blobs[digest_of(TOP)]
    with pytest.raises(NotFound):
        await pull(store, shelf, "v1")


@pytest.mark.parametrize(
    ("document", "match"),
    [
        ({"schemaVersion": 1, "fsLayers": []}, "schema 1"),
        ({"schemaVersion": 2, "manifests": [], "layers": []}, "ambiguous"),
        ({"schemaVersion": 2, "manifests": []}, "It offers: nothing"),
        ([], "neither"),
        ({"schemaVersion": 2, "config": {"digest": "sha256:x", "size": 1}, "layers": []}, "invalid digest"),
        ({"schemaVersion": 2, "config": {"digest": digest_of(b""), "size": 9 << 20}, "layers": []}, "too large"),
        ({"schemaVersion": 2, "config": {"digest": digest_of(b""), "size": 1,
                                         "mediaType": "application/vnd.cncf.helm.config.v1+json"}, "layers": []},
         "OCI artifact of type"),
    ],
)  # fmt: skip
async def test_what_is_no_image_is_refused_before_any_blob(
    store: LocalImageStore, document: object, match: str
) -> None:
    """With the reason."""
    shelf = Shelf()
    shelf.named["v1"] = str(shelf.add(json.dumps(document).encode())["digest"])
    with pytest.raises(Refused, match=match):
        await pull(store, shelf, "v1")
    assert shelf.fetched() == []


async def test_a_manifest_with_other_layers_than_its_config_is_refused(store: LocalImageStore) -> None:
    """Before a layer is asked for."""
    shelf = Shelf()
    shelf.named["v1"] = shelf.image([BASE, TOP], [BASE])
    with pytest.raises(Refused, match="has 1 layers, but its config speaks of 2"):
        await pull(store, shelf, "v1")
    assert digest_of(BASE) not in shelf.fetched()


async def test_of_an_index_only_one_entry_is_asked_for_and_not_for_ever(store: LocalImageStore) -> None:
    """Elsewhere every entry was, and those of indexes in it, however often they were named (CVE-2026-53493)."""
    shelf = Shelf()
    platform = {"os": "linux", "architecture": "amd64"}
    inner: dict[str, object] = {"digest": shelf.image([BASE]), "size": 1}
    for _ in range(9):
        entries = [{**inner, "platform": platform}] * 1000
        inner = shelf.add(json.dumps({"schemaVersion": 2, "manifests": entries}).encode())
    shelf.named["v1"] = str(inner["digest"])
    with pytest.raises(Refused, match="nested too deeply"):
        await pull(store, shelf, "v1", platform=Platform(**platform))
    assert len(shelf.calls) < 6


async def test_addresses_in_a_manifest_are_never_followed(store: LocalImageStore) -> None:
    """They might lead to what only this machine can reach, or to who wants to be told the password (CVE-2020-15157)."""
    shelf = Shelf()
    foreign = {**shelf.add(BASE), "urls": ["http://169.254.169.254/latest"],
               "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}  # fmt: skip
    shelf.named["v1"] = shelf.image([BASE], layers=[foreign])
    with pytest.raises(Refused, match="is foreign"):
        await pull(store, shelf, "v1")


async def test_a_full_disk_is_found_out_before_anything_comes(
    store: LocalImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, with what helps."""
    shelf = Shelf()
    shelf.named["v1"] = shelf.image([BASE])
    monkeypatch.setattr(store._content, "free", lambda: 300 << 20 >> 1)
    with pytest.raises(StorageError, match="no space left"):
        await pull(store, shelf, "v1")


# Sharing, stopping, going on


async def test_two_pulls_of_one_layer_share_the_work(store: LocalImageStore) -> None:
    """Also under two names at the same time; each blob is asked for once."""
    shelf = Shelf(piece=4096)
    shelf.named |= {"v1": shelf.image([BASE]), "v2": shelf.image([BASE, TOP])}
    one, two, three = await asyncio.gather(pull(store, shelf, "v1"), pull(store, shelf, "v2"), pull(store, shelf, "v1"))
    assert one == three
    assert one.image.layers[0] == two.image.layers[0]
    assert [digest for digest in set(shelf.fetched()) if shelf.fetched().count(digest) > 1] == []


async def test_a_pull_that_was_cancelled_goes_on_where_it_was(store: LocalImageStore, tmp_path: Path) -> None:
    """What has come stays, also over a sweep."""
    shelf = Shelf(piece=10_000)
    shelf.named["v1"] = shelf.image([BASE])
    reached, held = threading.Event(), threading.Event()

    def stall(digest: str, offset: int, data: bytes) -> bytes:
        if digest == digest_of(BASE) and offset >= 100_000 and not held.is_set():
            reached.set()
            held.wait(20)
            raise Refused("cancelled")
        return data

    shelf.spoil = stall
    task = asyncio.create_task(pull(store, shelf, "v1"))
    await asyncio.to_thread(reached.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.sweep([])
    held.set()
    shelf.calls.clear()
    progress = Progress()
    found = await pull(store, shelf, "v1", progress)
    assert f"blob {digest_of(BASE)} 100000" in shelf.calls
    assert progress.parts[0].resumed == 100_000
    await store.verify(found.image)


async def test_what_an_interrupted_pull_has_is_taken_by_who_clears_up_and_by_time(
    store: LocalImageStore, tmp_path: Path
) -> None:
    """A day, or prune."""
    shelf = Shelf()
    shelf.named["v1"] = shelf.image([BASE, TOP])
    data = shelf.blobs.pop(digest_of(TOP))
    for ending in ("prune", "time"):
        with pytest.raises(NotFound):
            await pull(store, shelf, "v1")
        assert await store.sweep([]) == 0
        assert left(tmp_path, "layers") != []
        if ending == "prune":
            assert await store.sweep([], spare=False) > 0
        else:
            (keep,) = (tmp_path / "store/ingest").glob("*.keep")
            os.utime(keep, (time.time() - 25 * 3600,) * 2)
            assert await store.sweep([]) > 0
        assert [left(tmp_path, kind) for kind in ("blobs/sha256", "ingest", "layers")] == [[], [], []]
    assert data


async def test_a_sweep_takes_nothing_from_a_running_pull(store: LocalImageStore) -> None:
    """Not even one that spares nothing, at any moment."""
    shelf = Shelf(piece=5_000)
    shelf.named["v1"] = shelf.image([BASE, TOP])
    task = asyncio.create_task(pull(store, shelf, "v1"))
    while not task.done():
        await store.sweep([], spare=False)
        await asyncio.sleep(0)
    await store.verify((await task).image)
    assert await store.sweep([], spare=False) == 0


async def test_a_list_that_vanishes_while_a_sweep_reads_it_is_no_fault(store: LocalImageStore, tmp_path: Path) -> None:
    """A pull may end at any moment; a link that leads nowhere is such a list, whenever one looks."""
    (tmp_path / "store/ingest/gone.keep").symlink_to("nowhere")
    assert await store.sweep([]) >= 0
    assert left(tmp_path, "ingest") == []


# Space, and the truth about it


async def test_a_sweep_frees_what_it_was_said_to(store: LocalImageStore) -> None:
    """With and without what an interrupted pull has left; the inventory knows every byte."""
    shelf = Shelf()
    shelf.named |= {"v1": shelf.image([BASE]), "v2": shelf.image([BASE, TOP])}
    one, two = await pull(store, shelf, "v1"), await pull(store, shelf, "v2")
    for found in (one, two):
        store.release(found.image.id)
    assert await store.weigh([one.image, two.image], [one.digest, two.digest]) == 0
    assert await store.weigh([one.image], [one.digest]) == 0, "the list of the pull spares it"
    store.settle(NAME)
    said = await store.weigh([one.image], [one.digest])
    assert said >= 200_000
    before = await store.inventory()
    assert await store.sweep([one.image], [one.digest]) == said
    after = await store.inventory()
    assert sum(before.values()) - sum(after.values()) == said
    assert (after["other"], after["ingest"]) == (0, 0)


async def test_a_stray_file_is_counted_as_one(store: LocalImageStore, tmp_path: Path) -> None:
    """Every byte below the store can be accounted for."""
    (tmp_path / "store/stray").write_bytes(b"x" * 100)
    (tmp_path / "store/blobs/sha256" / ("0" * 64)).write_bytes(b"y" * 50)
    assert (await store.inventory())["other"] == 100
    assert await store.weigh([]) == 50


@pytest.mark.parametrize("harm", ["blob", "config", "layer", "content", "record"])
async def test_a_check_finds_every_damage(store: LocalImageStore, tmp_path: Path, harm: str) -> None:
    """And names it."""
    shelf = Shelf()
    shelf.named["v1"] = shelf.image([BASE], [gzip.compress(BASE)])
    found = await pull(store, shelf, "v1")
    assert await store.check([found.image], [found.digest]) == ()
    layer = tmp_path / "store/layers" / found.image.layers[0].chain_id[7:]
    blobs = tmp_path / "store/blobs/sha256"
    match harm:
        case "blob":
            (blobs / digest_of(gzip.compress(BASE))[7:]).write_bytes(b"x")
        case "config":
            (blobs / found.image.id[7:]).unlink()
        case "layer":
            layer.rename(tmp_path / "gone")
        case "content":
            (layer / "fs/etc/name").write_bytes(b"longer than before")
        case "record":
            (layer / "layer.json").write_text("{}")
    assert len(await store.check([found.image], [found.digest])) == 1


KILLED = """
import asyncio, json, os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from adapters.images.store import LocalImageStore
from domain import failpoints
from domain.images.progress import Progress
from tests.adapters.images.test_pull import NAME, Shelf
point, root, shelf = sys.argv[2:]
document = json.loads(Path(shelf).read_text())
source = Shelf({k: bytes.fromhex(v) for k, v in document["blobs"].items()}, document["named"], piece=20_000)
if point.isdigit():
    count = iter(range(int(point)))
    def die(digest, offset, data):
        if next(count, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return data
    source.spoil = die
else:
    failpoints.arm(lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == point else None)
store = LocalImageStore(Path(root))
asyncio.run(store.pull(lambda stop: source, "v1", name=NAME, progress=Progress()))
"""


PIECE_SIZES = [min(20_000, len(data) - at) for data in (BASE, TOP) for at in range(0, len(data), 20_000)]
"""Those of the layers that `KILLED` gets."""


def had(store: Path, digest: str) -> int:
    """Bytes of a blob that are in a store, whole or not."""
    for place in ("blobs/sha256", "ingest"):
        path = store / place / digest[7:]
        if path.exists():
            return path.stat().st_size
    return 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    ["1", "7", "12", "20", "images.unpacked", "images.synced", "images.blob-kept",
     "images.layer-kept"],
)  # fmt: skip
async def test_a_pull_that_is_killed_anywhere_leaves_a_store_that_the_next_one_completes(
    point: str, tmp_path: Path
) -> None:
    """kill -9 at any byte and at every step: nothing half done is used, nothing complete is asked for again."""
    shelf = Shelf()
    shelf.named["v1"] = shelf.image([BASE, TOP])
    saved = tmp_path / "shelf.json"
    saved.write_text(json.dumps({"blobs": {k: v.hex() for k, v in shelf.blobs.items()}, "named": shelf.named}))
    argv = [sys.executable, "-c", KILLED, str(ROOT), point, str(tmp_path / "store"), str(saved)]
    done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -9, done.stderr
    store = LocalImageStore(tmp_path / "store")
    try:
        await store.sweep([])
        needed = {digest_of(data): len(data) for data in (config_of([BASE, TOP]), BASE, TOP)}
        kept = sum(had(tmp_path / "store", digest) for digest in needed)
        if point.isdigit():  # so many pieces were given out, one of them the config; one a download may be lost
            assert kept >= sum(sorted(PIECE_SIZES)[: max(int(point) - 1 - AT_ONCE, 0)])
        found = await pull(store, shelf, "v1")
        assert sum(shelf.given) == sum(needed.values()) - kept, "it went on where it was"
        await store.verify(found.image)
        store.settle(NAME)
        assert await store.sweep([found.image], [found.digest]) == 0
        store.release(found.image.id)
        await store.sweep([], spare=False)
        assert [left(tmp_path, kind) for kind in ("blobs/sha256", "ingest", "layers", "tmp")] == [[], [], [], []]
    finally:
        store.close()


def test_the_stop_of_a_pull_is_an_event() -> None:
    """What the port promises of it."""
    event: Stop = threading.Event()
    assert event.wait(0) is event.is_set() is False
    assert hashlib.sha256(b"").hexdigest() == digest_of(b"")[7:]
