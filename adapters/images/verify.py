"""Is what the log says about an image still on the disk, byte by byte?"""

import os
from collections.abc import Sequence

from adapters.images import documents, trees
from adapters.images.content import Content, digest_of_file
from domain.errors import StorageError
from domain.images.layer import digest_of
from domain.images.model import Image, Layer
from domain.text.safe import safe

_HINT = "load or pull the image again"


def verify(content: Content, image: Image) -> None:
    """Raises: StorageError naming what is missing or damaged."""
    try:
        config = content.blob(image.id).read_bytes()
    except FileNotFoundError as error:
        raise StorageError(f"the config of image {image.id} is missing", hint=_HINT) from error
    if digest_of(config) != image.id:
        raise StorageError(f"the config of image {image.id} is damaged", hint=_HINT)
    for layer in image.layers:
        _verify_layer(content, layer)


def check(content: Content, images: Sequence[Image], manifests: Sequence[str]) -> tuple[str, ...]:
    """Everything that is wrong, one sentence each: blobs are hashed again, once each; layers are looked at from
    outside (is there what their record counts?)."""
    found: list[str] = []
    for name in sorted(os.listdir(content.blobs)):
        if digest_of_file(content.blobs / name) not in (f"sha256:{name}", ""):  # none: swept since it was listed
            found.append(f"the blob {safe(name)[:64]} is damaged")
    chains = {layer.chain_id: layer for image in images for layer in image.layers}
    for image in images:
        if not content.blob(image.id).exists():
            found.append(f"the config of image {image.id} is missing")
    for chain, layer in sorted(chains.items()):
        found += _faults(content, chain, layer)
    for digest in manifests:
        if documents.stored(content, digest) is None and content.blob(digest).exists():
            found.append(f"the manifest {digest} is damaged")
    return tuple(found)


def _faults(content: Content, chain: str, layer: Layer) -> list[str]:
    try:
        record = content.record(chain)
    except StorageError as error:
        return [error.message]
    if record is None or not (content.layer(chain) / "fs").is_dir():
        return [f"layer {chain} is missing"]
    if record.diff_id != layer.diff_id:
        return [f"layer {chain} is another one than its record says"]
    found = [] if content.blob(record.blob.digest).exists() else [f"the blob of layer {chain} is missing"]
    fd = os.open(content.layer(chain) / "fs", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        size = trees.apparent_size(fd)
    finally:
        os.close(fd)
    if size != record.size:
        found.append(f"layer {chain} holds {size} bytes, but should hold {record.size}")
    return found


def _verify_layer(content: Content, layer: Layer) -> None:
    record = content.record(layer.chain_id)
    if record is None or not (content.layer(layer.chain_id) / "fs").is_dir():
        raise StorageError(f"layer {layer.chain_id} is missing", hint=_HINT)
    if record.diff_id != layer.diff_id:
        raise StorageError(f"layer {layer.chain_id} is another one than its record says", hint=_HINT)
    if digest_of_file(content.blob(record.blob.digest)) != record.blob.digest:
        raise StorageError(f"the blob of layer {layer.chain_id} is missing or damaged", hint=_HINT)
