"""An image store in memory for tests: it reads archives with the standard library and keeps only what there is."""

import hashlib
import json
import tarfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from domain.errors import Refused, StorageError
from domain.images.authoring import Step, committed, imported
from domain.images.config import parse_config
from domain.images.layer import chain_id, digest_of
from domain.images.manifest import Descriptor, Manifest, Platform, composed, parse_document, parse_saved, suits
from domain.images.model import Image, Layer, Registered
from domain.images.progress import Part, Progress
from domain.images.reference import parse
from domain.ports.bus import Stop
from domain.ports.images import Fetched, Sent, Source, Target

_PLATFORM = Platform(os="linux", architecture="amd64")


class MemoryImageStore:
    """Layers are names and sizes; docker-archives only."""

    def __init__(self, *, now: Callable[[], int] = time.time_ns) -> None:
        self._now = now
        self._layers: dict[str, int] = {}
        self._configs: set[str] = set()
        self._given: Counter[str] = Counter()
        self._images: dict[str, Image] = {}

    async def import_tar(
        self,
        archive: Path,
        *,
        message: str = "",
        changes: Sequence[str] = (),
        platform: Platform | None = None,
        spent: bool = False,
    ) -> Image:
        """One layer from a tar; nothing is unpacked."""
        with _opened(archive) as tar:
            size = sum(member.size for member in tar)
        diff_id = digest_of(archive.read_bytes())
        if spent:
            archive.write_bytes(b"")
        config = imported(changes, diff_id, self._now(), message, platform or _PLATFORM)
        return self._keep(config, (Layer(diff_id=diff_id, chain_id=diff_id, size=size),))

    async def load(
        self, archive: Path, *, platform: Platform | None = None, spent: bool = False
    ) -> Sequence[Registered]:
        """Every image of a docker-archive."""
        with _opened(archive) as tar:
            found = [
                (_read(tar, saved.config), tuple(_size(tar, name) for name in saved.layers), saved.tags)
                for saved in parse_saved(_read(tar, "manifest.json"))
            ]
        for config, _, _ in found if platform else ():
            if platform and not suits(offered := parse_config(config).platform, platform):
                raise Refused(f"the image in the archive is not for {platform}. It offers: {offered}")
        if spent:
            archive.write_bytes(b"")
        return tuple(
            Registered(image=self._load(config, sizes), references=tuple(parse(tag).key for tag in tags))
            for config, sizes, tags in found
        )

    async def commit(
        self,
        upper: Path,
        parent: Image,
        image_config: dict[str, object],
        *,
        author: str = "",
        message: str = "",
        created_by: str = "",
    ) -> Image:
        """The parent's layers and one that stands for the names and bytes below `upper`."""
        files = sorted(path for path in upper.rglob("*") if path.is_file())
        names = hashlib.sha256(b"".join(str(path.relative_to(upper)).encode() + path.read_bytes() for path in files))
        diff_id = "sha256:" + names.hexdigest()
        step = Step(author, message, created_by)
        config = committed(parent, image_config, diff_id, self._now(), step, _PLATFORM)
        below = parent.layers[-1].chain_id if parent.layers else ""
        size = sum(path.stat().st_size for path in files)
        layer = Layer(diff_id=diff_id, chain_id=chain_id(below, diff_id), size=size)
        return self._keep(config, (*parent.layers, layer))

    def release(self, image_id: str) -> None:
        """The image is in the log, or never will be."""
        self._given[image_id] -= 1

    def layer_root(self) -> Path:
        """A directory that does not exist."""
        return Path("/nonexistent")

    def layer_paths(self, image: Image) -> Sequence[str]:
        """The beginnings of the chain ids."""
        for layer in image.layers:
            if layer.chain_id not in self._layers:
                raise StorageError(f"layer {layer.chain_id} is missing in the image store")
        return tuple(layer.chain_id.removeprefix("sha256:")[:12] for layer in image.layers)

    async def pull(
        self,
        connect: Callable[[Stop], Source],
        which: str,
        *,
        name: str,
        platform: Platform | None = None,
        progress: Progress,
    ) -> Fetched:
        """The config and the sizes of the layers."""
        source = connect(threading.Event())
        data = source.manifest(which)
        manifest = parse_document(data, f"the manifest of {name}")
        assert isinstance(manifest, Manifest)
        config = _Bytes()
        source.download(manifest.config, config)
        progress.parts[:] = [Part(layer.digest, layer.size, "complete", layer.size) for layer in manifest.layers]
        image = self._load(bytes(config.data), tuple(layer.size for layer in manifest.layers))
        return Fetched(image, digest_of(data))

    def settle(self, name: str) -> None:
        """Nothing is kept for a next time."""

    async def push(
        self,
        connect: Callable[[Stop], Target],
        image: Image,
        tag: str,
        *,
        digests: Sequence[str] = (),
        progress: Progress,
    ) -> Sent:
        """A manifest without layers."""
        kind, data = composed(Descriptor(digest=image.id, size=0), ())
        return Sent(connect(threading.Event()).put_manifest(tag, kind, data), len(data))

    async def save(self, images: Sequence[tuple[Image, Sequence[str], Sequence[str]]]) -> AsyncIterator[bytes]:
        """Ids and names."""
        for image, references, _ in images:
            yield f"{image.id} {' '.join(references)}\n".encode()

    async def sweep(self, images: Sequence[Image], manifests: Sequence[str] = (), *, spare: bool = True) -> int:
        """Forget what is not needed."""
        needed = [*images, *(self._images[id] for id, count in self._given.items() if count > 0)]
        chains = {layer.chain_id for image in needed for layer in image.layers}
        freed = sum(size for chain, size in self._layers.items() if chain not in chains)
        self._layers = {chain: size for chain, size in self._layers.items() if chain in chains}
        self._configs &= {image.id for image in needed}
        return freed

    async def weigh(self, images: Sequence[Image], manifests: Sequence[str] = (), *, spare: bool = True) -> int:
        """Of the layers that would be forgotten."""
        needed = [*images, *(self._images[id] for id, count in self._given.items() if count > 0)]
        chains = {layer.chain_id for image in needed for layer in image.layers}
        return sum(size for chain, size in self._layers.items() if chain not in chains)

    async def inventory(self) -> Mapping[str, int]:
        """Layers are all there is."""
        return {"layers": sum(self._layers.values())}

    async def check(self, images: Sequence[Image], manifests: Sequence[str]) -> Sequence[str]:
        """Configs that were forgotten."""
        return [f"the config of image {image.id} is missing" for image in images if image.id not in self._configs]

    async def verify(self, image: Image) -> None:
        """Raises: StorageError when something was forgotten."""
        if image.id not in self._configs:
            raise StorageError(f"the config of image {image.id} is missing")
        self.layer_paths(image)

    def _load(self, config: bytes, sizes: tuple[int, ...]) -> Image:
        layers: list[Layer] = []
        for diff_id, size in zip(parse_config(config).diff_ids, sizes, strict=True):
            below = layers[-1].chain_id if layers else ""
            layers.append(Layer(diff_id=diff_id, chain_id=chain_id(below, diff_id), size=size))
        return self._keep(config, tuple(layers))

    def _keep(self, config: bytes, layers: tuple[Layer, ...]) -> Image:
        parsed = parse_config(config)
        image = Image(
            id=digest_of(config),
            config=parsed.document,
            layers=layers,
            created=parsed.created,
            size=sum(layer.size for layer in layers),
        )
        self._layers |= {layer.chain_id: layer.size for layer in layers}
        self._configs.add(image.id)
        self._images[image.id] = image
        self._given[image.id] += 1
        return image


class _Bytes:
    """A sink."""

    def __init__(self) -> None:
        self.data = bytearray()

    @property
    def offset(self) -> int:
        """How many there are."""
        return len(self.data)

    def take(self, data: bytes) -> None:
        """Some more."""
        self.data += data


def _opened(archive: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(archive)
    except tarfile.TarError as error:
        raise Refused("the archive cannot be read") from error


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    try:
        member = tar.extractfile(name)
    except KeyError as error:
        raise Refused(f"the archive is incomplete: {json.dumps(name)} is missing") from error
    return member.read() if member else b""


def _size(tar: tarfile.TarFile, name: str) -> int:
    with tarfile.open(fileobj=tar.extractfile(name)) as layer:
        return sum(member.size for member in layer)
