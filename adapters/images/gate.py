"""A gate that another process waits at: it reads a byte from `fd`, or the end when the gate was left closed."""

import os
import threading
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from adapters.images.content import LayerRecord


class Gate:
    """Whoever holds it may open it from any thread, once or more often, also when it is gone already."""

    def __init__(self) -> None:
        self.fd, self._writer = os.pipe2(os.O_CLOEXEC)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shut()
        os.close(self.fd)

    def open(self) -> None:
        """Let the other process go on."""
        with self._lock:
            if self._writer >= 0:
                os.write(self._writer, b"1")

    def open_after(self, done: "Future[LayerRecord]") -> None:
        """The same if what it was waiting for has come; if not, it never will."""
        if done.cancelled() or done.exception() is not None:
            self._shut()
        else:
            self.open()

    def _shut(self) -> None:
        with self._lock:
            if self._writer >= 0:
                os.close(self._writer)
                self._writer = -1
