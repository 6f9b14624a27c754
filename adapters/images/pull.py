"""One pull: manifest, config, layers; each verified before it is used, and nothing kept that was not.

Layers are downloaded in parallel and unpacked as they come, a few at a time, the lowest first. What is here
already is not asked for. Nothing is recorded here; what the pull needs stays leased, in memory for the sweeps of this
daemon and on the disk (`adapters.images.ingest`) for those of the next one.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from adapters.images import documents, ingest
from adapters.images.content import Content, LayerRecord
from adapters.images.downloads import Downloads
from adapters.images.leases import Lease
from adapters.images.stacking import Chain, layers_of, stacked
from adapters.images.unpack import Expected, Limits, Place, unpack_blob
from domain.errors import Refused
from domain.images.config import Parsed, parse_config
from domain.images.layer import chain_ids, digest_of, hex_of
from domain.images.manifest import (
    LARGEST_CONFIG,
    MOST_LAYERS,
    Descriptor,
    Index,
    Manifest,
    Platform,
    choose,
    parse_document,
    suits,
)
from domain.images.model import Image, Layer
from domain.images.progress import Part, Progress
from domain.ports.images import Source

_DEEPEST_INDEX = 4

Make = Callable[[Place], LayerRecord]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be pulled: `which` is a tag or a digest, `name` how errors call it. `forced`: the platform was asked
    for, and another one will not do."""

    which: str
    name: str
    platform: Platform
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a pull uses of the store: `layer(stack, lease, make)` gives the record of its uppermost layer, and has
    it made only if it is not here; `image(config, layers, lease)` keeps the config."""

    content: Content
    downloads: Downloads
    limits: Limits
    layer: Callable[[Chain, Lease, Make], LayerRecord]
    image: Callable[[bytes, tuple[Layer, ...], Lease], Image]


class Pull:
    """Used once, in one thread; `run` gives the image and the digest of what the name meant."""

    def __init__(
        self, workshop: Workshop, source: Source, wanted: Wanted, progress: Progress, stop: threading.Event
    ) -> None:
        self._shop, self._source, self._wanted = workshop, source, wanted
        self._content = workshop.content
        self._progress, self._stop = progress, stop
        self._documents: list[bytes] = []

    def run(self, lease: Lease, digest: str) -> tuple[Image, str]:
        """`digest` is what the tag means now, if that is known.

        Raises: Refused, NotFound, Unavailable, StorageError, OSError.
        """
        lease.add(ingest.lease_name(self._wanted.name))
        manifest = self._manifest(digest)
        config = self._config(manifest, lease)
        parsed = self._parsed(config, manifest)
        self._keep(manifest, parsed, lease)
        for document in self._documents:
            self._content.put_blob(document)
        layers = self._layers(manifest, parsed, lease)
        return self._shop.image(config, layers, lease), digest_of(self._documents[0])

    # Manifest and config

    def _manifest(self, digest: str) -> Manifest:
        which = digest or self._wanted.which
        for _ in range(_DEEPEST_INDEX):
            data = self._document(which)
            self._documents.append(data)
            document = parse_document(data, f"the manifest of {self._wanted.name}")
            if isinstance(document, Manifest):
                self._check_layers(document)
                return document
            which = self._chosen(document).digest
        raise Refused(f"the indexes of {self._wanted.name} are nested too deeply")

    def _document(self, which: str) -> bytes:
        """One that is here, and is what its digest says, is not asked for."""
        known = documents.stored(self._content, which) if which.startswith("sha256:") else None
        data = self._source.manifest(which) if known is None else known
        if which.startswith("sha256:") and digest_of(data) != which:
            raise Refused(f"the manifest of {self._wanted.name} is {digest_of(data)}, but should be {which}")
        return data

    def _chosen(self, index: Index) -> Descriptor:
        return choose(index.manifests, self._wanted.platform, self._wanted.name)

    def _check_layers(self, manifest: Manifest) -> None:
        if len(manifest.layers) > MOST_LAYERS:
            raise Refused(f"{self._wanted.name} has {len(manifest.layers)} layers; the kernel takes {MOST_LAYERS}")
        if manifest.config.size > LARGEST_CONFIG:
            raise Refused(f"the config of {self._wanted.name} is too large: {manifest.config.size} bytes")

    def _config(self, manifest: Manifest, lease: Lease) -> bytes:
        lease.add(*_names(manifest.config.digest))
        part = Part(manifest.config.digest, manifest.config.size)
        path = self._shop.downloads.get(self._source, manifest.config, part, self._stop)
        with self._opened(path, manifest.config) as file:
            config = file.read()
        self._settle(path, manifest.config)
        return config

    def _parsed(self, config: bytes, manifest: Manifest) -> Parsed:
        name = self._wanted.name
        parsed = parse_config(config, f"the config of {name}")
        if len(parsed.diff_ids) != len(manifest.layers):
            raise Refused(f"{name} has {len(manifest.layers)} layers, but its config speaks of {len(parsed.diff_ids)}")
        wanted = self._wanted.platform
        if self._wanted.forced and not suits(parsed.platform, wanted):
            raise Refused(f"{name} exists, but not for {wanted}. It offers: {parsed.platform}")
        return parsed

    def _keep(self, manifest: Manifest, parsed: Parsed, lease: Lease) -> None:
        names = [f"blobs/{hex_of(digest_of(document))}" for document in self._documents]
        names += [name for one in (manifest.config, *manifest.layers) for name in _names(one.digest)]
        chains = [f"layers/{hex_of(chain)}" for chain in chain_ids(parsed.diff_ids)]
        lease.add(*names, *chains)
        ingest.keep(self._content, self._wanted.name, [*(n for n in names if n.startswith("blobs/")), *chains])

    # Layers

    def _layers(self, manifest: Manifest, parsed: Parsed, lease: Lease) -> tuple[Layer, ...]:
        chains = chain_ids(parsed.diff_ids)
        parts = [Part(layer.digest, layer.size) for layer in manifest.layers]
        for part, chain in zip(parts, chains, strict=True):
            if self._content.record(chain) is not None:
                part.state = "exists"
        self._progress.parts[:] = parts
        try:
            coming = self._begin(manifest.layers, parts)
            return self._unpacked(manifest.layers, parsed.diff_ids, parts, coming, lease)
        except BaseException:
            self._stop.set()  # the other downloads of this pull; what they have stays
            self._content.seal()
            raise

    def _begin(self, layers: Sequence[Descriptor], parts: Sequence[Part]) -> "dict[str, Future[Path]]":
        """One download for each blob that is needed; an image may have one twice."""
        coming: dict[str, Future[Path]] = {}
        for layer, part in zip(layers, parts, strict=True):
            if part.state != "exists" and layer.digest not in coming:
                self._check_foreign(layer)
                coming[layer.digest] = self._shop.downloads.begin(self._source, layer, part, self._stop)
        return coming

    def _check_foreign(self, layer: Descriptor) -> None:
        """Addresses in a manifest are anybody's: what they lead to might be a machine that only we can reach."""
        if layer.foreign and layer.urls:
            raise Refused(
                f"layer {layer.digest[7:19]} of {self._wanted.name} is foreign: it is not in the registry",
                hint="only what the registry itself has is taken",
            )

    def _unpacked(
        self,
        blobs: Sequence[Descriptor],
        diff_ids: Sequence[str],
        parts: Sequence[Part],
        coming: "dict[str, Future[Path]]",
        lease: Lease,
    ) -> tuple[Layer, ...]:
        chains = chain_ids(diff_ids)

        def make(number: int, below: "Future[LayerRecord] | None") -> LayerRecord:
            blob, part = blobs[number], parts[number]
            expected = Expected(f"layer {number + 1} of {self._wanted.name}", diff_ids[number], blob.digest, blob.size)
            record = self._shop.layer(
                Chain(chains[: number + 1], below), lease, self._maker(blob, part, coming, expected)
            )
            if part.state != "exists":
                part.state, part.done = "complete", part.size
            return record

        records = stacked(len(chains), make, self._stop)
        for blob in blobs:
            if (future := coming.get(blob.digest)) is not None:
                self._settle(future.result(), blob)
        return layers_of(diff_ids, records)

    def _maker(self, blob: Descriptor, part: Part, coming: "dict[str, Future[Path]]", expected: Expected) -> Make:
        def make(place: Place) -> LayerRecord:
            future = coming.get(blob.digest)  # none: the layer was here a moment ago
            path = self._shop.downloads.get(self._source, blob, part, self._stop) if future is None else future.result()
            part.state = "extracting"
            with self._opened(path, blob) as file:
                record = unpack_blob(self._pieces(file), place, expected, self._shop.limits)
            self._settle(path, blob)  # the layer's record names it: it comes first
            return record

        return make

    def _settle(self, path: Path, blob: Descriptor) -> None:
        """A download that is complete and verified becomes a blob, unless another pull was faster."""
        if path.parent != self._content.ingest:
            return
        try:
            with self._shop.downloads.at_rest(blob.digest):
                self._content.adopt_blob(path, blob.digest)
        except FileNotFoundError:
            return

    def _opened(self, path: Path, blob: Descriptor) -> FileIO:
        """Another pull that had the same blob may have settled it."""
        try:
            return FileIO(path)
        except FileNotFoundError:
            return FileIO(self._content.blob(blob.digest))

    def _pieces(self, file: FileIO) -> Iterator[bytes]:
        while piece := file.read(1 << 20):
            if self._stop.is_set():
                raise Refused("cancelled")
            yield piece


def _names(digest: str) -> tuple[str, str]:
    return f"blobs/{hex_of(digest)}", f"ingest/{hex_of(digest)}"
