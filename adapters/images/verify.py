"""Is what the log says about an image still on the disk, byte by byte?"""

import hashlib
from pathlib import Path

from adapters.images.content import Content
from domain.errors import StorageError
from domain.images.layer import digest_of
from domain.images.model import Image, Layer

_HINT = "load or pull the image again"
_PIECE = 1 << 20


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


def _verify_layer(content: Content, layer: Layer) -> None:
    record = content.record(layer.chain_id)
    if record is None or not (content.layer(layer.chain_id) / "fs").is_dir():
        raise StorageError(f"layer {layer.chain_id} is missing", hint=_HINT)
    if record.diff_id != layer.diff_id:
        raise StorageError(f"layer {layer.chain_id} is another one than its record says", hint=_HINT)
    if _digest(content.blob(record.blob.digest)) != record.blob.digest:
        raise StorageError(f"the blob of layer {layer.chain_id} is missing or damaged", hint=_HINT)


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as blob:
            while piece := blob.read(_PIECE):
                found.update(piece)
    except FileNotFoundError:
        return ""
    return "sha256:" + found.hexdigest()
