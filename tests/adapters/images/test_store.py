"""The store: what it keeps, what it gives back, what it sweeps, and what a kill leaves behind."""

import asyncio
import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters.images import snapshots
from adapters.images.building import BuildFiles
from adapters.images.content import Content
from adapters.images.leases import Lease, Leases
from adapters.images.store import LocalImageStore
from adapters.images.stubs import DIRECTORIES, FILES
from adapters.images.sweep import sweep
from domain.build.placing import Node, Placed
from domain.errors import Refused, StorageError
from domain.images.layer import digest_of
from domain.images.model import Image
from tests.adapters.images.saved import docker_archive
from tests.adapters.images.tars import archive, directory, file, symlink, tree
from tests.adapters.images.trees_as_rows import merged

pytestmark = pytest.mark.kernel  # layers are unpacked with another root

ROOT = Path(__file__).parents[3]
BASE = archive(directory("d"), file("d/f", b"one"))


async def imported(
    store: LocalImageStore, tmp_path: Path, data: bytes = BASE, *, message: str = "", changes: Sequence[str] = ()
) -> Image:
    """An image of one layer."""
    path = tmp_path / "rootfs.tar"
    path.write_bytes(data)
    return await store.import_tar(path, message=message, changes=changes)


def kept(store: LocalImageStore) -> list[int]:
    """How much is in each directory of the store."""
    root = store.layer_root().parent
    return [len(os.listdir(root / kind)) for kind in ("layers", "blobs/sha256", "stubs", "l", "tmp")]


async def test_an_import_is_one_layer_with_a_config_of_our_own(store: LocalImageStore, tmp_path: Path) -> None:
    """Compressed or not: the same image, byte by byte, whatever the hour of a stopped clock."""
    changes = ['CMD ["sh"]', "ENV A=b"]
    image = await imported(store, tmp_path, message="mine", changes=changes)
    assert image == await imported(store, tmp_path, gzip.compress(BASE), message="mine", changes=changes)
    assert [layer.diff_id for layer in image.layers] == [digest_of(BASE)]
    assert (image.size, image.created) == (3, 1_700_000_000_123_456_789)
    assert image.config["config"] == {"Cmd": ["sh"], "Env": ["A=b"]}
    assert image.config["history"] == [{"created": "2023-11-14T22:13:20.123456789Z", "comment": "mine"}]
    await store.verify(image)


async def test_a_wrong_change_is_refused_before_anything_is_unpacked(store: LocalImageStore, tmp_path: Path) -> None:
    """Minutes later would be too late."""
    with pytest.raises(Refused, match="RUN is not a valid change command"):
        await imported(store, tmp_path, b"not even an archive", changes=["RUN x"])


async def test_layers_are_shared_between_images(store: LocalImageStore, tmp_path: Path) -> None:
    """A layer is there once, however many images have it."""
    (tmp_path / "saved").write_bytes(docker_archive([BASE, archive(file("x"))]))
    (first,) = await store.load(tmp_path / "saved")
    (tmp_path / "saved").write_bytes(docker_archive([BASE, archive(file("y"))]))
    (second,) = await store.load(tmp_path / "saved")
    assert first.image.layers[0] == second.image.layers[0]
    assert kept(store)[0] == 3


async def test_layer_paths_are_short_names_lowest_first_with_the_mount_points_on_top(
    store: LocalImageStore, tmp_path: Path
) -> None:
    """What an overlay mount needs; asking twice gives the same."""
    (tmp_path / "saved").write_bytes(docker_archive([BASE, archive(file("x"))]))
    image = (await store.load(tmp_path / "saved"))[0].image
    paths = store.layer_paths(image)
    assert paths == store.layer_paths(image)
    assert [sorted(os.listdir(store.layer_root() / path)) for path in paths] == [
        ["d"],
        ["x"],
        [".dockerenv", "dev", "etc", "proc", "sbin", "sys"],
    ]
    assert max(map(len, paths)) < 9


async def test_an_image_that_has_every_mount_point_needs_no_further_layer(
    store: LocalImageStore, tmp_path: Path
) -> None:
    """Nothing is missing, in whatever form it is there."""
    image = await imported(
        store,
        tmp_path,
        archive(
            directory("dev"),
            directory("proc"),
            directory("sys"),
            file("etc/hosts"),
            symlink("etc/hostname", "hosts"),
            directory("etc/resolv.conf"),
            file("sbin/lading-init"),
            file(".dockerenv"),
        ),
    )
    assert len(store.layer_paths(image)) == 1


async def test_mount_points_follow_the_links_of_the_image_and_keep_its_attributes(
    store: LocalImageStore, tmp_path: Path
) -> None:
    """A merged /usr has /sbin as a link; a directory there would hide it."""
    image = await imported(
        store,
        tmp_path,
        archive(
            directory(".", mode=0o711, uid=4),
            directory("usr/sbin", mode=0o750, uid=5, mtime=77),
            symlink("sbin", "usr/sbin"),
            directory("etc", mode=0o700, gid=6, mtime=88),
            symlink("etc/resolv.conf", "../run/resolve/stub.conf"),
            symlink("proc", "/nowhere/at/all"),
            symlink("etc/hosts", "/etc/hosts"),
        ),
    )
    layers = [store.layer_root() / path for path in store.layer_paths(image)]
    stubs = tree(layers[-1], times=True)
    assert set(stubs) == {
        ".dockerenv",
        "dev",
        "sys",
        "nowhere",
        "nowhere/at",
        "nowhere/at/all",
        "etc",
        "etc/hostname",
        "usr",
        "usr/sbin",
        "usr/sbin/lading-init",
        "run",
        "run/resolve",
        "run/resolve/stub.conf",
    }
    assert stubs["usr/sbin"] == f"d 750 5:0 @{77 * 10**9}"
    assert stubs["etc"] == f"d 700 0:6 @{88 * 10**9}"
    assert os.stat(layers[-1]).st_uid == 4
    with merged(layers, tmp_path) as root:
        assert (root / "sbin/lading-init").read_bytes() == b""
        assert os.readlink(root / "sbin") == "usr/sbin"


async def test_commit_holds_what_the_container_changed_and_nothing_of_ours(
    store: LocalImageStore, tmp_path: Path
) -> None:
    """The merged tree of the new image is what the container saw, without the mount points."""
    image = await imported(
        store,
        tmp_path,
        archive(
            directory("etc"),
            file("etc/passwd"),
            directory("gone"),
            file("gone/x"),
            directory("opq"),
            file("opq/old"),
            file("f"),
        ),
    )
    layers = [store.layer_root() / path for path in store.layer_paths(image)]
    upper, _ = snapshots.create(tmp_path / "container", layers)
    with merged(layers, tmp_path, upper) as root:
        change(root)
        expected = {
            name: text
            for name, text in tree(root).items()
            if name not in {path.decode() for path in (*DIRECTORIES, *FILES, b"sbin")}
        }
    assert snapshots.size(tmp_path / "container") == 2 + 4_000_000 + 5
    new = await store.commit(upper, image, {"Cmd": ["x"]}, author="me", message="why", created_by="sh")
    assert new == await store.commit(upper, image, {"Cmd": ["x"]}, author="me", message="why", created_by="sh")
    assert new.layers[:1] == image.layers
    with merged([store.layer_root() / path for path in store.layer_paths(new)[:2]], tmp_path) as root:
        assert tree(root) == expected
    assert new.config["author"] == "me"
    assert new.config["history"][-1] == {  # type: ignore[index]
        "author": "me",
        "comment": "why",
        "created": "2023-11-14T22:13:20.123456789Z",
        "created_by": "sh",
    }
    await store.verify(new)


def change(root: Path) -> None:
    """All kinds of changes."""
    (root / "f").unlink()
    (root / "etc/hosts").unlink()
    for name in ("gone/x", "opq/old"):
        (root / name).unlink()
    for name in ("gone", "opq"):
        (root / name).rmdir()
    (root / "opq").mkdir(mode=0o711)
    (root / "opq/new").write_text("hi")
    os.link(root / "opq/new", root / "opq/also")
    os.chown(root / "opq/new", 4_000_000, 7)
    os.setxattr(root / "opq/new", "user.a", b"\0\n=")
    os.symlink("/nowhere", root / ("l" * 200))
    os.mkfifo(root / "pipe")
    with (root / "big").open("wb") as sparse:
        sparse.truncate(4_000_000)
    deep = root / ("n" * 200) / ("m" * 200)
    deep.mkdir(parents=True)
    (deep / os.fsdecode(b"caf\xe9")).write_text("x" * 5)
    os.utime(deep / os.fsdecode(b"caf\xe9"), (5, 5))


async def test_a_commit_without_changes_is_still_a_layer(store: LocalImageStore, tmp_path: Path) -> None:
    """As everywhere: an empty one."""
    image = await imported(store, tmp_path)
    upper, _ = snapshots.create(tmp_path / "container", [store.layer_root() / store.layer_paths(image)[0]])
    new = await store.commit(upper, image, {})
    assert (len(new.layers), new.layers[1].diff_id) == (2, digest_of(bytes(1024)))


@pytest.mark.parametrize("name", [".wh.trick", "d/.wh..wh..opq"])
async def test_names_that_would_mean_a_removal_cannot_be_committed(
    name: str, store: LocalImageStore, tmp_path: Path
) -> None:
    """Silently they would remove something of the image."""
    image = await imported(store, tmp_path)
    upper, _ = snapshots.create(tmp_path / "container", [])
    (upper / "d").mkdir()
    (upper / name).write_text("")
    with pytest.raises(Refused, match=r"cannot hold a name that begins with \.wh\."):
        await store.commit(upper, image, {})
    assert kept(store)[4] == 0


async def test_a_swapped_directory_shows_nothing_of_the_host(store: LocalImageStore, tmp_path: Path) -> None:
    """Links in the upper directory are never followed, and lead nowhere for the differ.

    CVE-2023-0778.
    """
    image = await imported(store, tmp_path)
    (tmp_path / "secret").write_text("host")
    upper, _ = snapshots.create(tmp_path / "container", [])
    os.symlink(tmp_path, upper / "link")
    os.symlink(tmp_path / "secret", upper / "file")
    new = await store.commit(upper, image, {})
    assert set(tree(store.layer_root() / store.layer_paths(new)[1])) == {"link", "file"}


async def test_files_that_are_added_again_are_the_layer_that_is_here(store: LocalImageStore, tmp_path: Path) -> None:
    """It is found by its bytes, which are hashed, and nothing is extracted: whatever the hour is, for directories that
    are made on the way are as old as what is put there. What was touched is another layer."""
    files, parent = BuildFiles(store, tmp_path, tmp_path), await imported(store, tmp_path)

    async def added(folder: str, time: int, *, again: bool = True) -> Image:
        node = Node("d/f", "file", 0o644, size=3, mtime=time)
        things = [Placed(folder, "directory", 0o755, 0, 0), Placed(f"{folder}/f", "file", 0o644, 0, 0, node=node)]
        with files.tree(parent.layers) as tree:
            return await files.add(parent, things, tree, {}, "COPY", again=again)

    first = await added("new", 10**18, again=False)
    (directory,) = store.directories(first.layers[1:])
    assert (directory / "new").stat().st_mtime == 10**9
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr("adapters.images.programs.command")  # nothing can be extracted any more
        assert (await added("new", 10**18)).layers == first.layers
        with pytest.raises(NameError):
            await added("new", 10**18 + 10**9)
    assert (await added("other", 10**18)).layers[1] != first.layers[1]
    assert kept(store)[-1] == 0


async def test_a_sweep_keeps_what_is_named_and_what_was_just_given(store: LocalImageStore, tmp_path: Path) -> None:
    """A given image is safe until it is released; then the list decides."""
    one, two = await imported(store, tmp_path), await imported(store, tmp_path, archive(file("two")))
    await store.sweep([])
    await store.verify(one)
    store.release(one.id)
    store.release(two.id)
    assert await store.sweep([one]) > 0
    await store.verify(one)
    with pytest.raises(StorageError, match="missing"):
        await store.verify(two)
    with pytest.raises(StorageError, match="missing"):
        store.layer_paths(two)
    await store.sweep([])
    assert kept(store) == [0] * 5


async def test_a_sweep_removes_everything_that_nobody_knows(store: LocalImageStore, tmp_path: Path) -> None:
    """Every byte below the store belongs to something."""
    image = await imported(store, tmp_path)
    before = kept(store)
    root = store.layer_root().parent
    (root / "layers" / ("0" * 64) / "fs").mkdir(parents=True)
    (root / "blobs/sha256" / ("1" * 64)).write_bytes(b"x" * 1000)
    (root / "tmp/half").mkdir()
    (root / "tmp/half/done").write_text("x")
    os.symlink("../layers/gone/fs", root / "l/gone")
    assert await store.sweep([image]) == 1000
    assert kept(store) == before
    await store.verify(image)


async def test_a_layer_that_is_being_used_keeps_its_blob(store: LocalImageStore, tmp_path: Path) -> None:
    """An operation that has found a layer may not know its blob yet."""
    image = await imported(store, tmp_path)
    store.release(image.id)
    content, leases = Content(store.layer_root().parent), Leases()
    lease = Lease(leases)
    lease.add(f"layers/{image.layers[0].chain_id.removeprefix('sha256:')}")
    sweep(content, leases, [])
    assert kept(store)[:2] == [1, 1]
    lease.end()
    sweep(content, leases, [])
    assert kept(store) == [0] * 5


@pytest.mark.parametrize("damage", ["config", "blob", "blob bytes", "layer", "record"])
async def test_verify_names_what_is_damaged(damage: str, store: LocalImageStore, tmp_path: Path) -> None:
    """Byte by byte."""
    image = await imported(store, tmp_path)
    root = store.layer_root().parent
    layer = root / "layers" / image.layers[0].chain_id.removeprefix("sha256:")
    blobs = root / "blobs/sha256"
    (blob,) = (path for path in blobs.iterdir() if path.name != image.id.removeprefix("sha256:"))
    match damage:
        case "config":
            (blobs / image.id.removeprefix("sha256:")).write_text("{}")
        case "blob":
            blob.unlink()
        case "blob bytes":
            blob.write_bytes(blob.read_bytes()[:-1] + b"x")
        case "layer":
            (layer / "fs").rename(layer / "other")
        case "record":
            (layer / "layer.json").write_text("{}")
    with pytest.raises(StorageError):
        await store.verify(image)


async def test_two_loads_of_one_archive_at_once_make_one_image(store: LocalImageStore, tmp_path: Path) -> None:
    """The second waits for each layer of the first: elsewhere one of them was lost (CVE-2024-36621)."""
    (tmp_path / "saved").write_bytes(docker_archive([BASE, archive(file("x"))]))
    found = await asyncio.gather(*(store.load(tmp_path / "saved") for _ in range(4)))
    assert len({one[0].image.id for one in found}) == 1
    assert kept(store)[0] == 2


async def test_a_cancelled_load_leaves_nothing(store: LocalImageStore, tmp_path: Path) -> None:
    """Neither a lease nor a process nor a file."""
    (tmp_path / "saved").write_bytes(docker_archive([archive(*(file(f"{n}", os.urandom(9000)) for n in range(400)))]))
    task = asyncio.create_task(store.load(tmp_path / "saved"))
    while not kept(store)[4]:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while kept(store)[4]:
        await asyncio.sleep(0.005)
    await asyncio.to_thread(store.close)
    other = LocalImageStore(store.layer_root().parent)
    await other.sweep([])
    assert kept(other) == [0] * 5
    other.close()


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from adapters.images.building import BuildFiles
from adapters.images.content import Content
from adapters.images.leases import Lease, Leases
from adapters.images.store import LocalImageStore
from adapters.images.stubs import DIRECTORIES, FILES
from adapters.images.sweep import sweep
from domain import failpoints

def die(name):
    if name == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

failpoints.arm(die)
store = LocalImageStore(Path(sys.argv[1]))
image = asyncio.run(store.import_tar(Path(sys.argv[2])))
store.release(image.id)
asyncio.run(store.sweep([]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    [
        "images.unpacked",
        "images.synced",
        "images.blob-kept",
        "images.layer-kept",
        "images.moved-away",
        "images.sweeping",
    ],
)
async def test_a_kill_at_any_moment_leaves_only_what_the_next_sweep_takes(point: str, tmp_path: Path) -> None:
    """Nothing recorded is lost, nothing half done is taken for whole."""
    keeper = LocalImageStore(tmp_path / "store")
    image = await imported(keeper, tmp_path, archive(file("kept")))
    keeper.close()
    (tmp_path / "rootfs.tar").write_bytes(BASE)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "store"), str(tmp_path / "rootfs.tar"), point],
        cwd=ROOT,
        check=False,
    )
    if point in ("images.moved-away", "images.sweeping"):
        image = await refreshed(tmp_path)
    assert done.returncode == -signal.SIGKILL
    store = LocalImageStore(tmp_path / "store")
    await store.sweep([image])
    await store.verify(image)
    links = len(store.layer_paths(image))
    assert kept(store) == [1, 2, 1, links, 0]
    again = await imported(store, tmp_path)
    await store.verify(again)
    store.close()


async def refreshed(tmp_path: Path) -> Image:
    """The killed sweep was told to keep nothing, and may have begun with ours: here is another one."""
    store = LocalImageStore(tmp_path / "store")
    await store.sweep([])
    image = await imported(store, tmp_path, archive(file("kept")))
    store.close()
    return image


async def test_writable_layers_of_any_depth_are_measured_and_deleted(tmp_path: Path) -> None:
    """Deeper than a path can be long, and with hard links counted once."""
    upper, work = snapshots.create(tmp_path / "container", [])
    (work / "work").mkdir()
    fd = os.open(upper, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deep", dir_fd=fd)
        below = os.open("deep", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    for name in ("a", "b"):
        with open(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=fd), "wb") as file_:
            file_.write(b"x" * 100)
    os.link("a", "a2", src_dir_fd=fd, dst_dir_fd=fd)
    os.close(fd)
    assert snapshots.size(tmp_path / "container") == 200
    snapshots.delete(tmp_path / "container")
    snapshots.delete(tmp_path / "container")
    assert not (tmp_path / "container").exists()
    assert snapshots.size(tmp_path / "container") == 0


async def test_the_new_root_looks_like_the_images(store: LocalImageStore, tmp_path: Path) -> None:
    """The upper directory becomes the container's root directory."""
    image = await imported(store, tmp_path, archive(directory(".", mode=0o1733, uid=5, gid=6)))
    layers = [store.layer_root() / path for path in store.layer_paths(image)]
    upper, _ = snapshots.create(tmp_path / "container", layers)
    assert (oct(os.stat(upper).st_mode), os.stat(upper).st_uid, os.stat(upper).st_gid) == ("0o41733", 5, 6)
    new = await store.commit(upper, image, {})
    assert new.layers[1].diff_id == digest_of(bytes(1024)), "an untouched root is not in the diff"
    os.chmod(upper, 0o755)
    changed = await store.commit(upper, image, {})
    assert os.stat(store.layer_root() / store.layer_paths(changed)[1]).st_mode == 0o40755
