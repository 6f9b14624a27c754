"""The image store on disk, behind the port `domain.ports.ImageStore`: it keeps contents, knows no names and no events.

Blocking work is done in threads of its own. What an operation uses is leased until it has ended, and what it gave back
until `release`: a sweep keeps leased things whatever the log says, because the log may just not say it yet. Leases live
in memory: after a crash nothing runs, and everything that the log does not know is a left-over.
"""

import asyncio
import hashlib
import os
import platform as machine
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

from adapters.images import documents, ingest, stubs
from adapters.images.archive import Archive, SavedImage, file_pieces, images_of, open_plain
from adapters.images.comparer import changed
from adapters.images.content import Content, LayerRecord
from adapters.images.differ import difference
from adapters.images.downloads import Downloads
from adapters.images.leases import Lease, Leases
from adapters.images.pull import Pull, Wanted, Workshop
from adapters.images.push import push
from adapters.images.save import pieces as saved_pieces
from adapters.images.stacking import Chain, layers_of, stacked
from adapters.images.sweep import inventory, sweep, top_of, weigh
from adapters.images.unpack import Expected, Limits, Place, unpack
from adapters.images.verify import check, verify
from domain.errors import Refused, StorageError
from domain.images.authoring import Step, committed, imported
from domain.images.changes import apply_changes
from domain.images.config import Settings, parse_config
from domain.images.layer import chain_id, chain_ids, digest_of, hex_of, is_digest
from domain.images.manifest import MOST_LAYERS, Platform
from domain.images.model import Image, Layer, Registered
from domain.images.progress import Progress
from domain.ports.images import Fetched, Sent, Source, Target
from domain.text.safe import safe

_T = TypeVar("_T")
_THREADS = 4
_PULLS = 8
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "i686": ("386", ""),
    "riscv64": ("riscv64", ""),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
}


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import says of its image."""

    message: str
    changes: tuple[str, ...]
    platform: Platform


class LocalImageStore:
    """Contents below one directory, which belongs to this object alone."""

    def __init__(
        self,
        root: Path,
        *,
        now: Callable[[], int] = time.time_ns,
        limits: Limits | None = None,
        newest: int | None = None,
    ) -> None:
        """`now` gives ns since the epoch; `newest` (seconds, as SOURCE_DATE_EPOCH) caps times in committed layers."""
        self._content = Content(root)
        self._now, self._limits, self._newest = now, limits or Limits(), newest
        self._leases = Leases()
        self._making: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._making_lock = threading.Lock()
        self._threads = ThreadPoolExecutor(_THREADS, "images")
        # Pulls and pushes wait for others most of the time: nothing else shall wait behind them.
        self._pulls = ThreadPoolExecutor(_PULLS, "pull")
        self._downloads = Downloads(self._content, self._limits.reserve)
        self._stops: set[threading.Event] = set()

    def close(self) -> None:
        """Wait for running operations; what comes from a registry, or goes there, is stopped. The object is of no use
        afterwards."""
        for stop in tuple(self._stops):
            stop.set()
        for threads in (self._threads, self._pulls):
            threads.shutdown(wait=True, cancel_futures=True)
        self._downloads.close()

    async def import_tar(
        self,
        archive: Path,
        *,
        message: str = "",
        changes: Sequence[str] = (),
        platform: Platform | None = None,
        spent: bool = False,
    ) -> Image:
        """One layer from a tar of a root file system, of any compression. A file that is `spent` is emptied.

        Raises: Refused, StorageError.
        """
        apply_changes(Settings(), changes)  # a wrong one is refused before anything is unpacked
        note = Imported(message, tuple(changes), platform or _platform())
        return (await self._given(lambda stop: (self._import(archive, note, spent, stop),)))[0]

    async def load(
        self, archive: Path, *, platform: Platform | None = None, spent: bool = False
    ) -> Sequence[Registered]:
        """Every image of a docker-archive or OCI archive with its references. A file that is `spent` is emptied.

        Raises: Refused, StorageError.
        """
        references: list[tuple[str, ...]] = []
        images = await self._given(lambda stop: self._load(archive, platform, references, spent, stop))
        return tuple(map(_registered, images, references))

    async def commit(
        self,
        upper: Path,
        parent: Image,
        image_config: dict[str, object],
        *,
        author: str = "",
        message: str = "",
        created_by: str = "",
        paused: bool = True,
    ) -> Image:
        """A new image: the parent's layers and one from the overlay upper directory.

        A file that shrinks while it is read is filled up with zeros; if the container was said to be `paused`, that
        cannot be, and the commit is refused. Raises: Refused, StorageError.
        """
        step = Step(author, message, created_by)
        return (await self._given(lambda stop: (self._commit(upper, parent, image_config, step, paused, stop),)))[0]

    async def add_layer(
        self, parent: Image, pieces: Callable[[], Iterable[bytes]], image_config: dict[str, object], created_by: str,
        *, again: bool = False,
    ) -> Image:
        """A new image: the parent's layers and one from a tar that is made of what `pieces` gives, in a thread.

        `again`: it may well be that the layer is here. Then it is hashed first, and extracted only if it is not; for
        that `pieces` is called twice. Raises: Refused, StorageError.
        """
        step = Step(created_by=created_by)
        return (await self._given(lambda stop: (self._add(parent, pieces, image_config, step, stop, again),)))[0]

    async def compose(self, layers: Sequence[Layer], config: bytes) -> Image:
        """A new image: layers that are here, and a config that somebody else has written. Raises: StorageError."""
        return (await self._given(lambda stop: (self._composed(tuple(layers), config),)))[0]

    def directories(self, layers: Sequence[Layer]) -> Sequence[Path]:
        """Where the files of these layers are, lowest first. Raises: StorageError when one is missing."""
        for layer in layers:
            self._link(layer)
        return [self._content.layer(layer.chain_id) / "fs" for layer in layers]

    def hold(self, key: str, image: Image, *, held: Collection[str] = ()) -> bool:
        """Keep what the image consists of until `release(key)`, once for each time; False, and nothing is held, when
        something of it is gone, or going, already. `held` are chain ids of layers that the caller holds. Quick."""
        chains = [layer.chain_id for layer in image.layers if layer.chain_id not in held]
        lease = Lease(self._leases)  # first, and looked then: what a sweep has not moved away by now stays
        lease.add(f"blobs/{hex_of(image.id)}", f"stubs/{hex_of(top_of(image))}")
        lease.add(*(f"layers/{hex_of(chain)}" for chain in chains))
        content = self._content
        if content.blob(image.id).is_file() and all((content.layer(chain) / "fs").is_dir() for chain in chains):
            self._leases.give(key, lease)
            return True
        lease.end()
        return False

    def release(self, image_id: str) -> None:
        """The image that an operation gave back is in the log, or never will be: once for each time it was given."""
        self._leases.release(image_id)

    def layer_root(self) -> Path:
        """The directory the short names are relative to."""
        return self._content.links

    def layer_paths(self, image: Image) -> Sequence[str]:
        """Short names of the layers below `layer_root()`, lowest first; the last one may hold mount points only.

        Raises: StorageError when a layer is missing.
        """
        names = [self._link(layer) for layer in image.layers]
        with _as_storage_error():
            top = self._stubs(image) if len(names) < MOST_LAYERS else ""
        return (*names, top) if top else tuple(names)

    def changed(self, upper: Path, image: Image) -> AsyncIterator[tuple[str, str]]:
        """(`A`, `C` or `D`, path) of what an overlay's upper directory has over the image, parents before what is in
        them. Raises: Refused, StorageError."""
        return changed(upper, self.layer_root(), self.layer_paths(image))

    async def sweep(self, images: Sequence[Image], manifests: Sequence[str] = (), *, spare: bool = True) -> int:
        """Delete everything that none of `images` and `manifests` (digests) nor a running operation needs; returns the
        bytes freed. What an interrupted pull has brought is spared for a day, or not at all."""
        return await self._in_thread(lambda: sweep(self._content, self._leases, images, manifests, spare=spare))

    async def weigh(self, images: Sequence[Image], manifests: Sequence[str] = (), *, spare: bool = True) -> int:
        """The bytes that such a sweep would free now."""
        return await self._in_thread(lambda: weigh(self._content, self._leases, images, manifests, spare=spare))

    async def inventory(self) -> Mapping[str, int]:
        """Bytes by kind: layers, blobs, ingest (interrupted downloads), stubs (mount points), other."""
        return await self._in_thread(lambda: inventory(self._content))

    async def check(self, images: Sequence[Image], manifests: Sequence[str]) -> Sequence[str]:
        """What is missing or damaged, one sentence each; every blob is hashed again."""
        return await self._in_thread(lambda: check(self._content, images, manifests))

    async def pull(
        self,
        connect: Callable[[threading.Event], Source],
        which: str,
        *,
        name: str,
        platform: Platform | None = None,
        progress: Progress,
    ) -> Fetched:
        """The image called `which` (a tag or a digest) in a repository; `connect` gives that, for one who may stop.

        `name` is what it is called in errors, and under what its downloads are found again after a crash: `settle` ends
        that. Raises: Refused, NotFound, Unavailable, StorageError.
        """
        digests: list[str] = []
        wanted = Wanted(which, name, platform or _platform(), forced=platform is not None)
        (image,) = await self._given(
            lambda stop: (self._pull(connect(stop), wanted, progress, digests, stop),), self._pulls
        )
        return Fetched(image, digests[0])

    def settle(self, name: str) -> None:
        """What the pull of that name has brought is in the log."""
        ingest.unkeep(self._content, name)

    async def push(
        self,
        connect: Callable[[threading.Event], Target],
        image: Image,
        tag: str,
        *,
        digests: Sequence[str] = (),
        progress: Progress,
    ) -> Sent:
        """Bring the image to a repository and let `tag` mean it there; with the manifest below one of `digests` under
        which it is known, if all of that is here. Raises: Refused, Unavailable, StorageError."""
        stop = threading.Event()

        def work() -> Sent:
            with self._lease() as lease:
                try:
                    document = documents.manifest_of(self._content, image, digests)
                    lease.add(f"blobs/{hex_of(image.id)}", *_blobs(document))
                    sent = push(self._content, document, connect(stop), tag, progress, stop)
                    self._content.put_blob(document.data)
                    self._content.seal()
                    return sent
                finally:
                    lease.end()

        return await self._stoppable(work, stop)

    async def save(self, images: Sequence[tuple[Image, Sequence[str], Sequence[str]]]) -> AsyncIterator[bytes]:
        """An archive of these images, each with its references and the digests it is known by. Raises: StorageError."""
        found = await self._in_thread(
            lambda: [(documents.manifest_of(self._content, one, digests), names) for one, names, digests in images]
        )
        lease = Lease(self._leases)
        try:
            for document, _ in found:
                lease.add(*_blobs(document))
            pieces = saved_pieces(self._content, found)
            while piece := await self._in_thread(lambda: next(pieces, b"")):
                yield piece
        finally:
            lease.end()

    async def verify(self, image: Image) -> None:
        """Raises: StorageError when a layer, its blob or the config of the image is missing or damaged."""
        await self._in_thread(lambda: verify(self._content, image))

    # Operations, in a thread

    def _import(self, archive: Path, note: "Imported", spent: bool, stop: threading.Event) -> Image:
        with self._lease() as lease:
            fd = os.open(archive, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                _regular(fd, archive)
                pieces = _until(stop, file_pieces(fd))
                diff_id, record = self._new_layer(pieces, (), Expected("the archive"), lease)
            finally:
                os.close(fd)
            if spent:
                os.truncate(archive, 0)  # the sync that follows would write all of it
            config = imported(note.changes, diff_id, self._now(), note.message, note.platform)
            return self._image(config, (_layer("", diff_id, record),), lease)

    def _load(
        self,
        path: Path,
        platform: Platform | None,
        references: list[tuple[str, ...]],
        spent: bool,
        stop: threading.Event,
    ) -> tuple[Image, ...]:
        images: list[Image] = []
        with self._content.workspace() as work:
            budget = min(self._limits.bytes, self._content.free() - self._limits.reserve)
            fd = open_plain(path, work / "archive.tar", budget)
            try:
                archive = Archive(fd)
                for saved in images_of(archive, platform or _platform(), forced=platform is not None):
                    images.append(self._load_one(archive, saved, stop))
                    references.append(saved.references)
                for own in ([path] if spent else []) + [*work.iterdir()]:
                    os.truncate(own, 0)  # the sync that follows would write all of it
                self._content.seal()
            except BaseException:
                for image in images:
                    self.release(image.id)
                raise
            finally:
                os.close(fd)
        return tuple(images)

    def _load_one(self, archive: Archive, saved: SavedImage, stop: threading.Event) -> Image:
        with self._lease() as lease:
            chains = chain_ids(saved.parsed.diff_ids)

            def make(number: int, coming: "Future[LayerRecord] | None") -> LayerRecord:
                source, diff_id = saved.layers[number], saved.parsed.diff_ids[number]
                expected = Expected(f"layer {number + 1} of {saved.name}", diff_id, source.digest, source.size)
                return self._layer_of(
                    Chain(chains[: number + 1], coming),
                    lease,
                    lambda place: unpack(_until(stop, archive.pieces(source.name)), place, expected, self._limits),
                )

            records = stacked(len(chains), make, stop)
            return self._image(saved.config, layers_of(saved.parsed.diff_ids, records), lease, seal=False)

    def _layer_of(self, stack: Chain, lease: Lease, make: Callable[[Place], LayerRecord]) -> LayerRecord:
        """The uppermost layer of the stack; `make` extracts it, only if it is not here yet."""
        *below, chain = stack.ids
        lease.add(f"layers/{hex_of(chain)}")
        with self._only_maker(chain):
            record = self._content.record(chain)
            if record is not None:
                lease.add(f"blobs/{hex_of(record.blob.digest)}")
                return record
            with self._content.workspace() as work:
                place = Place(_made(work / "layer"), self._content.layers, tuple(below), stack.coming)
                record = make(place)
                lease.add(f"blobs/{hex_of(record.blob.digest)}")
                place.wait()
                self._content.adopt_layer(place.work, chain, record)
                return record

    def _pull(
        self, source: Source, wanted: Wanted, progress: Progress, digests: list[str], stop: threading.Event
    ) -> Image:
        workshop = Workshop(self._content, self._downloads, self._limits, self._layer_of, self._image)
        with self._lease() as lease:
            known = "" if is_digest(wanted.which) else source.digest(wanted.which)
            image, digest = Pull(workshop, source, wanted, progress, stop).run(lease, known)
            digests.append(digest)
            return image

    def _new_layer(
        self,
        pieces: Iterable[bytes],
        below: tuple[str, ...],
        expected: Expected,
        lease: Lease,
        check: Callable[[], None] = lambda: None,
    ) -> tuple[str, LayerRecord]:
        """A layer whose diff id nobody knows yet; `check` has the last word before it is kept."""
        with self._content.workspace() as work:
            place = Place(_made(work / "layer"), self._content.layers, below)
            record = unpack(pieces, place, expected, self._limits)
            check()
            chain = chain_id(below[-1] if below else "", record.diff_id)
            lease.add(f"layers/{hex_of(chain)}", f"blobs/{hex_of(record.blob.digest)}")
            with self._only_maker(chain):
                kept = self._content.record(chain)
                if kept is None:
                    self._content.adopt_layer(place.work, chain, record)
                return record.diff_id, kept or record

    def _same_layer(
        self, pieces: Iterable[bytes], below: tuple[str, ...], lease: Lease
    ) -> tuple[str, LayerRecord] | None:
        """The layer that is here and has exactly these bytes."""
        found = hashlib.sha256()
        for piece in pieces:
            found.update(piece)
        diff_id = f"sha256:{found.hexdigest()}"
        chain = chain_id(below[-1] if below else "", diff_id)
        lease.add(f"layers/{hex_of(chain)}")
        with self._only_maker(chain):
            record = self._content.record(chain)
            if record is not None:
                lease.add(f"blobs/{hex_of(record.blob.digest)}")
            return None if record is None else (diff_id, record)

    def _commit(
        self,
        upper: Path,
        parent: Image,
        image_config: dict[str, object],
        step: Step,
        paused: bool,
        stop: threading.Event,
    ) -> Image:
        below = tuple(layer.chain_id for layer in parent.layers)
        with self._lease() as lease:
            self._hold(parent.layers, lease)
            with self._written(upper) as tree, difference(tree, self._content.layers, below, self._newest) as changes:
                diff_id, record = self._new_layer(
                    _until(stop, changes.pieces()),
                    below,
                    Expected("the container's layer"),
                    lease,
                    lambda: changes.check(paused=paused),
                )
            config = committed(parent, image_config, diff_id, self._now(), step, _platform())
            return self._image(config, (*parent.layers, _layer(below[-1] if below else "", diff_id, record)), lease)

    def _add(
        self,
        parent: Image,
        pieces: Callable[[], Iterable[bytes]],
        image_config: dict[str, object],
        step: Step,
        stop: threading.Event,
        again: bool,
    ) -> Image:
        below = tuple(layer.chain_id for layer in parent.layers)
        with self._lease() as lease:
            self._hold(parent.layers, lease)
            known = self._same_layer(_until(stop, pieces()), below, lease) if again else None
            diff_id, record = known or self._new_layer(
                _until(stop, pieces()), below, Expected("the new layer"), lease
            )
            config = committed(parent, image_config, diff_id, self._now(), step, _platform())
            return self._image(config, (*parent.layers, _layer(below[-1] if below else "", diff_id, record)), lease)

    def _composed(self, layers: tuple[Layer, ...], config: bytes) -> Image:
        with self._lease() as lease:
            self._hold(layers, lease)
            return self._image(config, layers, lease)

    def _hold(self, layers: Sequence[Layer], lease: Lease) -> None:
        """Hold them first and look then: what a sweep has not moved away by now stays. Raises: StorageError."""
        lease.add(*(f"layers/{hex_of(layer.chain_id)}" for layer in layers))
        for layer in layers:
            known = self._content.record(layer.chain_id)
            if known is None:
                raise _missing(layer)
            lease.add(f"blobs/{hex_of(known.blob.digest)}")

    @contextmanager
    def _written(self, upper: Path) -> Iterator[Path]:
        """The writable layer; a container that was never started has none yet, and an empty directory stands for it."""
        if upper.is_dir():
            yield upper
            return
        with self._content.workspace() as work:
            empty = work / "upper"
            empty.mkdir()
            empty.chmod(0o755)  # what a start would give it, whatever the umask is
            yield empty

    def _image(self, config: bytes, layers: tuple[Layer, ...], lease: Lease, *, seal: bool = True) -> Image:
        """Keep the config, and with it the image: from here on it only needs to be recorded (and sealed before, by who
        does not have that done here)."""
        id = digest_of(config)
        lease.add(f"blobs/{hex_of(id)}")
        self._content.put_blob(config)
        parsed = parse_config(config)
        image = Image(
            id=id,
            config=parsed.document,
            layers=layers,
            created=parsed.created,
            size=sum(layer.size for layer in layers),
        )
        lease.add(f"stubs/{hex_of(top_of(image))}")
        self._stubs(image)
        if seal:
            self._content.seal()
        self._leases.give(id, lease)
        return image

    def _stubs(self, image: Image) -> str:
        """The short name of the layer with the mount points that the image lacks; empty when it lacks none."""
        name = hex_of(top_of(image))
        kept = self._content.stubs / name
        if not kept.exists():
            with self._only_maker(f"stubs/{name}"), self._content.workspace() as work:
                if not kept.exists():
                    layers = [self._content.layer(layer.chain_id) / "fs" for layer in reversed(image.layers)]
                    self._content.adopt_stubs(_made(work / "stubs"), name, lambda target: stubs.build(target, layers))
        return self._content.link(f"../stubs/{name}/fs", f"s{name}") if (kept / "fs").exists() else ""

    def _link(self, layer: Layer) -> str:
        name = hex_of(layer.chain_id)
        if not (self._content.layers / name / "fs").is_dir():
            raise _missing(layer)
        with _as_storage_error():
            return self._content.link(f"../layers/{name}/fs", name)

    # How operations are run

    @contextmanager
    def _lease(self) -> Iterator[Lease]:
        lease = Lease(self._leases)
        try:
            yield lease
        except BaseException:
            lease.end()
            raise

    @contextmanager
    def _only_maker(self, name: str) -> Iterator[None]:
        """Two operations that need the same layer: the second waits, and then finds it."""
        with self._making_lock:
            lock = self._making.setdefault(name, threading.Lock())
        with lock:
            yield

    async def _given(
        self, work: Callable[[threading.Event], tuple[Image, ...]], threads: ThreadPoolExecutor | None = None
    ) -> tuple[Image, ...]:
        """The images, leased for the caller. When the caller is cancelled the work stops, and nothing stays leased."""
        stop = threading.Event()
        self._stops.add(stop)
        future = (threads or self._threads).submit(_translated, lambda: work(stop))
        future.add_done_callback(lambda done: self._stops.discard(stop))
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            stop.set()
            future.add_done_callback(self._take_back)
            raise

    async def _stoppable(self, work: Callable[[], _T], stop: threading.Event) -> _T:
        self._stops.add(stop)
        future = self._pulls.submit(_translated, work)
        future.add_done_callback(lambda done: self._stops.discard(stop))
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            stop.set()
            raise

    def _take_back(self, future: "Future[tuple[Image, ...]]") -> None:
        if not future.cancelled() and future.exception() is None:
            for image in future.result():
                self.release(image.id)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.wrap_future(self._threads.submit(_translated, work))


def _blobs(document: documents.Document) -> list[str]:
    """Names of all that a push or an archive of it needs."""
    manifest = document.manifest
    return [f"blobs/{hex_of(digest)}" for digest in (document.digest, *(one.digest for one in manifest.layers))] + [
        f"blobs/{hex_of(manifest.config.digest)}"
    ]


def _missing(layer: Layer) -> StorageError:
    return StorageError(
        f"layer {layer.chain_id} is missing in the image store", hint="load or pull the image again"
    )


def _layer(below: str, diff_id: str, record: LayerRecord) -> Layer:
    return Layer(diff_id=diff_id, chain_id=chain_id(below, diff_id), size=record.size)


def _registered(image: Image, references: tuple[str, ...]) -> Registered:
    return Registered(image=image, references=references)


def _made(path: Path) -> Path:
    path.mkdir(mode=0o700)
    return path


def _regular(fd: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise Refused(f"{safe(str(path))} is not a regular file")


def _until(stop: threading.Event, pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        if stop.is_set():
            raise Refused("cancelled")
        yield piece


def host_platform() -> str:
    """The platform of this host, as images spell it: `linux/amd64`."""
    found = _platform()
    return "/".join(filter(None, (found.os, found.architecture, found.variant)))


def _platform() -> Platform:
    architecture, variant = _ARCHITECTURES.get(machine.machine(), (machine.machine(), ""))
    return Platform(os="linux", architecture=architecture, variant=variant)


def _translated(work: Callable[[], _T]) -> _T:
    with _as_storage_error():
        return work()


@contextmanager
def _as_storage_error() -> Iterator[None]:
    """No bare OSError passes the port."""
    try:
        yield
    except OSError as error:
        where = f" ({safe(str(error.filename))})" if error.filename else ""
        raise StorageError(f"the image store failed: {error.strerror or error}{where}") from error
