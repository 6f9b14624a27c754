"""Archives of images that every tool reads: an OCI layout and docker's manifest.json in one tar, as docker 25 does it.

    blobs/sha256/<hex>   configs, layers, manifests      index.json, oci-layout   for skopeo, podman, containerd
    manifest.json        [{"Config", "RepoTags", "Layers"}]                       for docker of all ages

One image under the same names gives the same bytes: sorted, no times, no owners.
"""

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from adapters.images.content import Content
from adapters.images.documents import Document
from adapters.tar.reader import DIRECTORY, FILE
from adapters.tar.writer import END, Head, encoded, padding
from domain.errors import StorageError
from domain.images.layer import hex_of
from domain.images.manifest import IMAGE_NAME, OCI_INDEX, REF_NAME
from domain.images.reference import parse, split_key

_PIECE = 1 << 20

Named = tuple[Document, Sequence[str]]
"""An image and the references (`name:tag`) it is to be saved under."""


def pieces(content: Content, images: Sequence[Named]) -> Iterator[bytes]:
    """The archive. Raises: StorageError when a blob is missing."""
    blobs: dict[str, bytes | int] = {}
    for document, _ in images:
        blobs[document.digest] = document.data
        for one in (document.manifest.config, *document.manifest.layers):
            blobs[one.digest] = one.size
    yield encoded(Head(b"blobs/", DIRECTORY, mode=0o755))
    yield encoded(Head(b"blobs/sha256/", DIRECTORY, mode=0o755))
    for digest in sorted(blobs):
        yield from _blob(content, digest, blobs[digest])
    yield from _file("index.json", _json(_index(images)))
    yield from _file("manifest.json", _json(_manifest(images)))
    yield from _file("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
    yield END


def _blob(content: Content, digest: str, what: bytes | int) -> Iterator[bytes]:
    name = f"blobs/sha256/{hex_of(digest)}"
    if isinstance(what, bytes):
        yield from _file(name, what)
        return
    yield encoded(Head(name.encode(), FILE, mode=0o644, size=what))
    left = what
    try:
        with content.blob(digest).open("rb", buffering=0) as file:
            while left and (piece := file.read(min(_PIECE, left))):
                left -= len(piece)
                yield piece
    except FileNotFoundError as error:
        raise StorageError(f"the blob {digest} is missing", hint="load or pull the image again") from error
    if left or os.stat(content.blob(digest)).st_size != what:
        raise StorageError(f"the blob {digest} is damaged", hint="load or pull the image again")
    yield padding(what)


def _file(name: str, data: bytes) -> Iterator[bytes]:
    yield encoded(Head(name.encode(), FILE, mode=0o644, size=len(data))) + data + padding(len(data))


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _index(images: Sequence[Named]) -> dict[str, Any]:
    entries = []
    for document, references in images:
        pointer = {"mediaType": document.kind, "digest": document.digest, "size": len(document.data)}
        names = [{IMAGE_NAME: parse(key).full, REF_NAME: split_key(key)[1]} for key in references]
        entries += [pointer | ({"annotations": name} if name else {}) for name in names or [{}]]
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}


def _manifest(images: Sequence[Named]) -> list[dict[str, Any]]:
    def path(digest: str) -> str:
        return f"blobs/sha256/{hex_of(digest)}"

    return [
        {
            "Config": path(document.manifest.config.digest),
            "RepoTags": list(references) or None,
            "Layers": [path(layer.digest) for layer in document.manifest.layers],
        }
        for document, references in images
    ]
