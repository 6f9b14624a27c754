"""From the bytes of a layer to an extracted layer and a blob: read, hash, decompress, hash, extract, all in one pass.

The extractor is a process of its own (`adapters.images.extract`); what is done here is done in a thread, and nearly all
of it with the interpreter's lock released. Layers that arrive plain are kept as gzip: then `save` and `push` never have
to compress, and a damaged tree can be made again.
"""

import hashlib
import os
import subprocess
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.images import programs
from adapters.images.compression import Compressor, inflated, sniffed
from adapters.images.content import Blob, LayerRecord
from adapters.images.digesting import Digesting
from adapters.images.gate import Gate
from domain.errors import Refused
from domain.failpoints import failpoint
from domain.images.layer import hex_of

ALONE = 256
"""After so many small files a layer is worth a second process."""

_PROCESSORS = len(os.sched_getaffinity(0))
_SPARE = threading.BoundedSemaphore(max(_PROCESSORS - 1, 0))
"""Processors that one layer leaves over: so many layers get a second process."""

_KEPT = -1
"""In the place of a descriptor: the bytes are kept elsewhere, and were verified there."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one layer may bring. `reserve` are bytes of the disk that must stay free."""

    bytes: int = 64 << 30
    entries: int = 2_000_000
    reserve: int = 256 << 20


@dataclass(frozen=True, slots=True)
class Expected:
    """What the bytes must turn out to be; empty where nothing was promised. `what` names the layer in errors."""

    what: str
    diff_id: str = ""
    blob: str = ""
    size: int = -1


@dataclass(frozen=True, slots=True)
class Place:
    """Where to extract: `work` is a fresh directory, `layers` holds the layers `below` (chain ids, lowest first), if
    not yet then when `coming` is done."""

    work: Path
    layers: Path
    below: tuple[str, ...] = ()
    coming: "Future[LayerRecord] | None" = None

    def wait(self) -> None:
        """Until the layers below are there. Raises what kept them from being made."""
        if self.coming is not None:
            self.coming.result()


def unpack(pieces: Iterable[bytes], place: Place, expected: Expected, limits: Limits) -> LayerRecord:
    """Extract into `work/fs` and keep the blob as `work/blob`, verified. Raises: Refused, StorageError, OSError."""
    target = _root(place)
    with (place.work / "blob").open("xb", buffering=0) as blob:
        feed = _Feed(pieces, blob.fileno(), expected)
        fields = _extracted(feed, target, place, limits, expected.what)
    record = feed.record(int(fields[0]), int(fields[1]))
    failpoint("images.unpacked")
    return record


def unpack_blob(pieces: Iterable[bytes], place: Place, expected: Expected, limits: Limits) -> LayerRecord:
    """Extract into `work/fs` a blob that is kept somewhere and was verified: `expected` says its digest and size.

    A plain tar stays one: its digest is what others know it by. Raises: Refused, StorageError, OSError.
    """
    target = _root(place)
    feed = _Feed(pieces, _KEPT, expected)
    fields = _extracted(feed, target, place, limits, expected.what)
    record = feed.record(int(fields[0]), int(fields[1]))
    failpoint("images.unpacked")
    return record


def _root(place: Place) -> Path:
    """Where the layer's files come: an empty directory."""
    target = place.work / "fs"
    target.mkdir(mode=0o755)
    target.chmod(0o755)  # a set-group-ID bit would be inherited
    return target


class _Feed:
    """The pieces on their way: counted, hashed, kept (unless they are already), decompressed."""

    def __init__(self, pieces: Iterable[bytes], blob: int, expected: Expected) -> None:
        self._blob_fd, self._expected = blob, expected
        self._diff_hash, self._kept_hash = Digesting(), hashlib.sha256()
        self._received_size = self._tar_size = self._kept_size = 0
        self._kind, self._pieces = sniffed(pieces)

    def into(self, fd: int) -> None:
        """Write the plain tar to the extractor."""
        plain = self._pieces if self._kind == "plain" else inflated(self._kind, self._received(), self._expected.what)
        compressor = Compressor() if self._kind == "plain" and self._blob_fd != _KEPT else None
        with self._diff_hash:
            for piece in filter(None, plain):
                self._diff_hash.update(piece)
                self._tar_size += len(piece)
                write(fd, piece)
                if compressor is not None:
                    self._keep(compressor.add(piece))
        if compressor is not None:
            self._keep(compressor.finish())

    def record(self, size: int, entries: int) -> LayerRecord:
        """What has arrived. Raises: Refused when it is not what was promised."""
        diff_id = "sha256:" + self._diff_hash.hexdigest()
        if self._blob_fd == _KEPT:
            self._verify_diff_id(diff_id)
            kept = Blob(digest=self._expected.blob, size=self._expected.size, compression=self._kind)
            return LayerRecord(diff_id=diff_id, size=size, tar_size=self._tar_size, entries=entries, blob=kept)
        self._verify(diff_id)
        blob = Blob(
            digest="sha256:" + self._kept_hash.hexdigest(),
            size=self._kept_size,
            compression="gzip" if self._kind == "plain" else self._kind,
        )
        return LayerRecord(diff_id=diff_id, size=size, tar_size=self._tar_size, entries=entries, blob=blob)

    def _received(self) -> Iterator[bytes]:
        if self._blob_fd == _KEPT:
            yield from self._pieces
            return
        for piece in self._pieces:
            self._received_size += len(piece)
            if 0 <= self._expected.size < self._received_size:
                raise Refused(f"{self._expected.what} is larger than the {self._expected.size} bytes it should have")
            self._keep(piece)
            yield piece

    def _keep(self, piece: bytes) -> None:
        self._kept_hash.update(piece)
        self._kept_size += len(piece)
        write(self._blob_fd, piece)

    def _verify(self, diff_id: str) -> None:
        expected = self._expected
        plain = self._kind == "plain"
        size = self._tar_size if plain else self._kept_size
        digest = diff_id if plain else "sha256:" + self._kept_hash.hexdigest()
        if expected.size not in (-1, size):
            raise Refused(f"{expected.what} has {size} bytes, but should have {expected.size}")
        if expected.blob not in ("", digest):
            raise Refused(f"{expected.what} is damaged: it is {digest}, but should be {expected.blob}")
        self._verify_diff_id(diff_id)

    def _verify_diff_id(self, diff_id: str) -> None:
        expected = self._expected
        if expected.diff_id not in ("", diff_id):
            raise Refused(
                f"{expected.what} unpacks to {diff_id} but its image says {expected.diff_id}; "
                "the image was built wrongly, refusing it"
            )


def _extracted(feed: _Feed, target: Path, place: Place, limits: Limits, what: str) -> list[bytes]:
    below = [hex_of(chain) for chain in reversed(place.below)]
    budget = (str(limits.bytes), str(limits.entries), str(limits.reserve))
    with Gate() as gate, _helped() as alone:
        if place.coming is None:
            gate.open()
        else:
            place.coming.add_done_callback(gate.open_after)
        arguments = [str(place.layers), str(target), str(gate.fd), *budget, str(alone), *below]
        return _fed(feed, arguments, gate.fd, what)


@contextmanager
def _helped() -> Iterator[int]:
    """After how many small files the extractor is to have help; 0 while others need the processors."""
    spare = _SPARE.acquire(blocking=False)
    try:
        yield ALONE if spare and idle() else 0
    finally:
        if spare:
            _SPARE.release()


def idle() -> bool:
    """Whether fewer threads want to run now than there are processors; the caller is one of them (proc_loadavg(5))."""
    with open("/proc/loadavg", encoding="ascii") as file:
        running, _, _ = file.read().split()[3].partition("/")
    return int(running) < _PROCESSORS


def _fed(feed: _Feed, arguments: list[str], gate: int, what: str) -> list[bytes]:
    with programs.running("extract", arguments, stdin=subprocess.PIPE, keep=(gate,)) as extractor:
        assert extractor.stdin is not None
        programs.widen(extractor.stdin.fileno())
        try:
            feed.into(extractor.stdin.fileno())
        except BrokenPipeError:
            pass  # it has given up, and says why
        return programs.answer(extractor, what)


def write(fd: int, data: bytes) -> None:
    """All of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
