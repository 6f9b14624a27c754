"""Downloads of blobs, a few at a time for all pulls together; two that want the same blob share one download."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from adapters.images.content import Content, digest_of_file
from adapters.images.ingest import Partial
from domain.errors import Refused, StorageError
from domain.images.layer import hex_of
from domain.images.manifest import Descriptor
from domain.images.progress import Part
from domain.images.transfer import AT_ONCE
from domain.ports.images import Source

_PULLS = 2
"""So many pulls move their full number of layers; more of them share."""
_GLANCE = 0.1


class Downloads:
    """Gives files with verified blobs; who asked must lease what he asks for."""

    def __init__(self, content: Content, reserve: int) -> None:
        """`reserve` are bytes of the disk that must stay free."""
        self._content, self._reserve = content, reserve
        self._threads = ThreadPoolExecutor(AT_ONCE * _PULLS, "download")
        self._lock = threading.Lock()
        self._going: dict[str, tuple[threading.Lock, list[int]]] = {}

    def close(self) -> None:
        """Wait for those that go on."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def begin(self, source: Source, blob: Descriptor, part: Part, stop: threading.Event) -> "Future[Path]":
        """The file with the whole blob, when it is there: in `blobs/` if it was before, else in `ingest/`."""
        return self._threads.submit(self.get, source, blob, part, stop)

    def get(self, source: Source, blob: Descriptor, part: Part, stop: threading.Event) -> Path:
        """The same at once. Raises: Refused, NotFound, Unavailable, StorageError, OSError."""
        with self._only_one(blob.digest, part, stop) as shared:
            there = self._content.blob(blob.digest)
            if there.exists() and digest_of_file(there) == blob.digest:
                part.state, part.done, part.resumed = "downloaded", blob.size, blob.size
                return there
            self._make_room(blob)
            path = self._fetched(source, blob, part, shared)
            part.state = "downloaded"
            return path

    def _fetched(self, source: Source, blob: Descriptor, part: Part, shared: list[int]) -> Path:
        def told(offset: int) -> None:
            part.done = shared[0] = offset

        partial = Partial(self._content.ingest / hex_of(blob.digest), blob, told)
        try:
            part.resumed, part.state = partial.offset, "downloading"
            for again in (True, False):
                if not partial.whole:
                    source.download(blob, partial)
                if partial.whole:
                    break
                found = partial.digest
                partial.restart()  # nobody knows which part of it is wrong
                part.resumed = 0
                if not again:
                    raise Refused(
                        f"layer {part.short} arrived damaged twice (got {found}, should be {blob.digest}); "
                        "nothing was installed"
                    )
        finally:
            partial.close()
        return partial.path

    @contextmanager
    def at_rest(self, digest: str) -> Iterator[None]:
        """While nobody downloads or looks for that blob: its file may be moved."""
        with self._lock:
            lock, _ = self._going.setdefault(digest, (threading.Lock(), [0]))
        with lock:
            yield

    def _make_room(self, blob: Descriptor) -> None:
        """Before anything comes: a disk that is full in the middle helps nobody."""
        path = self._content.ingest / hex_of(blob.digest)
        missing = blob.size - (path.stat().st_size if path.exists() else 0)
        if missing > self._content.free() - self._reserve:
            raise StorageError(
                f"no space left on the device for a layer of {blob.size} bytes", hint="lading system prune frees some"
            )

    @contextmanager
    def _only_one(self, digest: str, part: Part, stop: threading.Event) -> Iterator[list[int]]:
        """One at a time for each blob; who waits sees how far the other is, and goes on if that one fails."""
        with self._lock:
            lock, shared = self._going.setdefault(digest, (threading.Lock(), [0]))
        while not lock.acquire(timeout=_GLANCE):
            part.state, part.done, part.resumed = "downloading", shared[0], shared[0]
            if stop.is_set():
                raise Refused("cancelled")
        try:
            yield shared
        finally:
            lock.release()


