"""Manifests and indexes in the store, exactly as they came: what they need, and which of them is an image's.

An image keeps the manifests by which references name it (`app@sha256:…`): pushed again, it has the same digest.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from adapters.images.content import Content
from domain.errors import LadingError, StorageError
from domain.images.layer import digest_of, hex_of, is_digest
from domain.images.manifest import (
    LARGEST_MANIFEST,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    Descriptor,
    Index,
    Manifest,
    composed,
    parse_document,
)
from domain.images.model import Image

_DEEPEST = 4
_MEDIA_TYPES = {"gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD, "plain": OCI_LAYER}


@dataclass(frozen=True, slots=True)
class Document:
    """One manifest: its exact bytes and what they say."""

    data: bytes
    kind: str
    manifest: Manifest

    @property
    def digest(self) -> str:
        """What registries know it by."""
        return digest_of(self.data)


def stored(content: Content, digest: str) -> bytes | None:
    """The bytes of a document; None when it is not here, or is not what it was any more."""
    path = content.blob(digest)
    try:
        if path.stat().st_size > LARGEST_MANIFEST:
            return None
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return data if digest_of(data) == digest else None


def needed(content: Content, digests: Iterable[str]) -> set[str]:
    """Names (`blobs/<hex>`) of everything below these manifests and indexes that a push of them would send."""
    found: set[str] = set()
    for digest in digests:
        if is_digest(digest):
            found |= {f"blobs/{hex_of(one)}" for one in _below(content, digest, 0)}
    return found


def manifest_of(content: Content, image: Image, digests: Sequence[str]) -> Document:
    """The manifest under which the image is known: the first below `digests` whose blobs are all here, or one of our
    own. Raises: StorageError."""
    for digest in digests:
        for document in _manifests(content, digest, 0):
            if document.manifest.config.digest == image.id and _complete(content, document.manifest):
                return document
    return _own(content, image)


def _own(content: Content, image: Image) -> Document:
    layers = []
    for layer in image.layers:
        record = content.record(layer.chain_id)
        if record is None or record.blob.compression not in _MEDIA_TYPES:
            hint = "load or pull the image again"
            raise StorageError(f"the blob of layer {layer.chain_id} is missing or of a kind of its own", hint=hint)
        blob = record.blob
        layers.append(Descriptor(media_type=_MEDIA_TYPES[blob.compression], digest=blob.digest, size=blob.size))
    config = Descriptor(digest=image.id, size=content.blob(image.id).stat().st_size)
    kind, data = composed(config, layers)
    document = parse_document(data, "the manifest")
    assert isinstance(document, Manifest)
    return Document(data, kind, document)


def _complete(content: Content, manifest: Manifest) -> bool:
    return all(content.blob(one.digest).exists() for one in (manifest.config, *manifest.layers))


def _below(content: Content, digest: str, depth: int) -> Iterator[str]:
    data = stored(content, digest)
    document = None if data is None else _parsed(data)
    if document is None:
        return
    yield digest
    if isinstance(document, Manifest):
        yield from (one.digest for one in (document.config, *document.layers))
    elif depth < _DEEPEST:
        for entry in document.manifests:
            yield from _below(content, entry.digest, depth + 1)


def _manifests(content: Content, digest: str, depth: int) -> Iterator[Document]:
    data = stored(content, digest)
    document = None if data is None else _parsed(data)
    if data is None or document is None:
        return
    if isinstance(document, Manifest):
        yield Document(data, document.kind, document)
    elif depth < _DEEPEST:
        for entry in document.manifests:
            yield from _manifests(content, entry.digest, depth + 1)


def _parsed(data: bytes) -> Manifest | Index | None:
    """They were checked when they came; what cannot be read any more is nobody's."""
    try:
        return parse_document(data, "a stored manifest")
    except LadingError:
        return None
