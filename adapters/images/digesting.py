"""The digest of pieces that pass by, worked out in a thread of its own: whoever passes them on does not wait for it."""

import hashlib
from queue import Queue
from threading import Thread
from types import TracebackType
from typing import Self

_AHEAD = 8
"""Pieces that may wait for the thread."""


class Digesting:
    """A SHA-256; complete once the block has ended."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._pieces: Queue[bytes] = Queue(_AHEAD)
        self._thread = Thread(target=self._work, name="digest", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pieces.put(b"")
        self._thread.join()

    def update(self, piece: bytes) -> None:
        """The next bytes; not empty."""
        self._pieces.put(piece)

    def hexdigest(self) -> str:
        """Of all pieces."""
        return self._hash.hexdigest()

    def _work(self) -> None:
        while piece := self._pieces.get():
            self._hash.update(piece)
