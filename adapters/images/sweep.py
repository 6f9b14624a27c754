"""Mark and sweep: what is in the store and neither named nor leased is moved to tmp at once, and deleted there.

A kill at any moment leaves only left-overs that the next sweep finds: no two steps here need each other.
"""

import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from adapters.images import documents, ingest, trees
from adapters.images.content import Content
from adapters.images.leases import Leases
from domain.errors import InvalidValue, StorageError
from domain.failpoints import failpoint
from domain.images.layer import digest_of, hex_of
from domain.images.model import Image


def sweep(
    content: Content, leases: Leases, images: Sequence[Image], manifests: Sequence[str] = (), *, spare: bool = True
) -> int:
    """Delete what none of `images` and `manifests` (digests) needs; returns the bytes freed. Without `spare` also what
    interrupted pulls have left for the next try."""
    kept = ingest.kept(content, leases.held(), spare=spare)
    needed = _needed(images) | kept
    freed = _judge(content, leases, ("layers", "stubs", "ingest"), needed)
    # A layer that somebody holds stays, and a blob is kept for every layer that stayed.
    for name in os.listdir(content.layers):
        needed |= _blob_of(content, name)
    needed |= documents.needed(content, manifests)
    freed += _judge(content, leases, ("blobs",), needed)
    content.drop_dead_links()
    for path in content.idle():
        failpoint("images.sweeping")
        trees.delete_path(str(path))
    return freed


def weigh(
    content: Content, leases: Leases, images: Sequence[Image], manifests: Sequence[str] = (), *, spare: bool = True
) -> int:
    """How many bytes `sweep` would free now; nothing is touched."""
    held = leases.held()
    needed = held | _needed(images) | documents.needed(content, manifests)
    if spare:
        needed |= ingest.kept(content, held, spare=True)
    stay = {name for name in os.listdir(content.layers) if f"layers/{name}" in needed}
    for name in stay:
        needed |= _blob_of(content, name)
    kinds = ("layers", "stubs", "ingest", "blobs")
    return sum(_size(content, name) for name in _present(content, kinds) if name not in needed)


def inventory(content: Content) -> dict[str, int]:
    """Bytes by kind, of everything that is in the store; `build` is what builds cache (its own room), and `other` what
    has no business there."""
    sizes = {kind: sum(_size(content, f"{kind}/{name}") for name in os.listdir(path)) for kind, path in
             content.kinds().items()}  # fmt: skip
    known = {"blobs", "layers", "l", "stubs", "tmp", "ingest", "build"}
    strays = [content.root / name for name in os.listdir(content.root) if name not in known]
    sizes["build"] = _weight_of(content.root / "build")
    sizes["other"] = sum(_weight_of(path) for path in (*strays, *content.idle()))
    return sizes


def _needed(images: Sequence[Image]) -> set[str]:
    needed = set()
    for image in images:
        needed |= {f"blobs/{hex_of(image.id)}", f"stubs/{hex_of(top_of(image))}"}
        needed |= {f"layers/{hex_of(layer.chain_id)}" for layer in image.layers}
    return needed


def _judge(content: Content, leases: Leases, kinds: Sequence[str], needed: set[str]) -> int:
    freed = 0
    for name in _present(content, kinds):
        if name in needed:
            continue
        size = _size(content, name)
        if _move_away(content, leases, name):
            freed += size
    return freed


def top_of(image: Image) -> str:
    """The chain id that the image's mount points are kept under."""
    return image.layers[-1].chain_id if image.layers else digest_of(b"")


def _blob_of(content: Content, name: str) -> set[str]:
    try:
        record = content.record(f"sha256:{name}")
    except (StorageError, InvalidValue):
        return set()  # damaged, or not ours: verify says so
    return {f"blobs/{hex_of(record.blob.digest)}"} if record else set()


def _present(content: Content, kinds: Sequence[str]) -> Iterator[str]:
    for kind in kinds:
        for name in sorted(os.listdir(content.kinds()[kind])):
            yield f"{kind}/{name}"


def _path(content: Content, name: str) -> Path:
    kind, _, rest = name.partition("/")
    return content.kinds()[kind] / rest


def _size(content: Content, name: str) -> int:
    """Apparent bytes: of a layer its files, of a blob itself."""
    if name.startswith("layers/"):
        try:
            record = content.record(f"sha256:{name.removeprefix('layers/')}")
        except (StorageError, InvalidValue):
            record = None  # damaged, or not ours
        if record is not None:
            return record.size
    return _weight_of(_path(content, name))


def _weight_of(path: Path) -> int:
    """Apparent bytes; nothing of what goes away meanwhile."""
    try:
        return _weight(path)
    except FileNotFoundError:
        return 0


def _weight(path: Path) -> int:
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return trees.apparent_size(fd)
    finally:
        os.close(fd)


def _move_away(content: Content, leases: Leases, name: str) -> bool:
    with leases.unless_held(name) as free:
        if not free:
            return False
        try:
            os.rename(_path(content, name), content.tmp / f"swept-{secrets.token_hex(8)}")
        except FileNotFoundError:
            return False
    failpoint("images.moved-away")
    return True
