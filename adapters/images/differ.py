"""A container's changes as a stream of tar bytes; the differ is a process of its own (`adapters.images.diff`)."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from adapters.images import programs
from domain.errors import StorageError
from domain.images.layer import hex_of
from domain.text.safe import safe

_PIECE = 1 << 20
_WHAT = "the container's writable layer"


class Changes:
    """The running differ."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        self._process, self._out = process, process.stdout.fileno()
        self._shrunk: list[bytes] = []
        programs.widen(self._out)

    def pieces(self) -> Iterator[bytes]:
        """The tar. Raises: Refused, StorageError when the differ gave up."""
        while piece := os.read(self._out, _PIECE):
            yield piece
        self._shrunk = programs.answer(self._process, _WHAT, errors=True)[1:]

    def check(self, *, paused: bool) -> None:
        """Raises: StorageError when a file lost bytes while it was read, although nobody could write."""
        if self._shrunk and paused:
            raise StorageError(f'{_WHAT} changed while it was being read: "{safe(os.fsdecode(self._shrunk[0]))[:200]}"')


@contextmanager
def difference(upper: Path, layers: Path, below: Sequence[str], newest: int | None = None) -> Iterator[Changes]:
    """What is in an overlay's upper directory, over the layers `below` (chain ids, lowest first)."""
    names = [hex_of(chain) for chain in reversed(below)]
    arguments = [str(layers), str(upper), "" if newest is None else str(newest), *names]
    with programs.running("diff", arguments) as process:
        yield Changes(process)
