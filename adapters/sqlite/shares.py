"""Folding a long log with several processes: each folds the streams of its share and hands the rows back.

This may be done because every row of a projection belongs to one stream (see `domain.projections.fold.Projection`). The
processes only read the file. Frames come over a pipe: eight bytes of length, then a marshalled pair of a word and one
list of rows per projection, as their tables hold them. The words are `ended` (rows of temporal projections that do not
hold any more), `held` (all others, at the end) and `done`.
"""

import gc
import marshal
import os
import select
import sys
from collections.abc import Sequence
from contextlib import closing
from importlib import import_module
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import BinaryIO
from weakref import finalize

from adapters.sqlite.engine import bare, reader_engine
from adapters.sqlite.reading import Reader
from domain.messages import event_types
from domain.projections.fold import Projection
from domain.projections.replay import Values, replay

LONG = 100_000
"""Events from which on it is worth while: a process needs half a second to begin."""

_MOST = 4
_SLICE = 2000
_HELD = 4000
_PIPE = 1 << 20
_LENGTH = 8
_PACKAGES = Path(__file__).resolve().parents[2]
_ENTRY = "import sys; sys.path.insert(0, sys.argv[1]); from adapters.sqlite.shares import main; main(sys.argv[2:])"

Frame = tuple[str, list[list[Values]]]


class ShareLost(Exception):
    """A process has ended before its work was done."""


class Shares:
    """The processes and what comes from them; `until` is the position up to which they fold."""

    def __init__(self, path: Path, projections: Sequence[Projection], until: int, count: int) -> None:
        self.until = until
        modules = {event.__module__ for event in event_types().values()}
        kinds = [f"{type(p).__module__}:{type(p).__qualname__}" for p in projections]
        given = [str(until), str(path), ",".join(sorted(modules)), *kinds]
        children: list[Popen[bytes]] = []
        self._end = finalize(self, _end, children)
        self._open: dict[int, BinaryIO] = {}
        self._poll = select.poll()
        for share in range(count):
            command = [sys.executable, "-I", "-c", _ENTRY, str(_PACKAGES), str(share), str(count), *given]
            child = Popen(
                command, bufsize=0, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, env={}, cwd="/", pipesize=_PIPE
            )  # unbuffered: what is buffered here, `poll` does not see
            children.append(child)
            if child.stdout is not None:
                self._open[child.stdout.fileno()] = child.stdout  # type: ignore[assignment]
                self._poll.register(child.stdout, select.POLLIN)

    def next(self) -> Frame | None:
        """The next frame from anyone; None when all are done. Raises: ShareLost."""
        while self._open:
            number = self._poll.poll()[0][0]
            frame = _receive(self._open[number])
            if frame[0] != "done":
                return frame
            self._poll.unregister(number)
            del self._open[number]
        self.close()
        return None

    def close(self) -> None:
        """End the processes."""
        self._end()


def shares_for(path: Path, projections: Sequence[Projection], until: int) -> Shares | None:
    """Processes for a log that is long enough; None where one process will do, or others could not do it.

    Another process knows a projection by its name only, so it must be one without any state of its own.
    """
    count = min(_MOST, len(os.sched_getaffinity(0)))
    portable = all("<" not in type(p).__qualname__ and not vars(p) for p in projections)
    if until < LONG or count < 2 or not portable:
        return None
    try:
        return Shares(path, projections, until, count)
    except OSError:
        return None


def main(arguments: Sequence[str]) -> None:
    """One of the processes."""
    share, count, until, path, modules, *kinds = arguments
    gc.disable()  # neither events nor rows hold cycles
    for module in modules.split(","):
        import_module(module)
    engine = reader_engine(Path(path))
    with closing(engine.raw_connection()) as connection:
        projections = [_projection(kind) for kind in kinds]
        _fold(Reader(bare(connection)), projections, int(until), (int(count), int(share)))


def _fold(reader: Reader, projections: Sequence[Projection], until: int, share: tuple[int, int]) -> None:
    parent = os.getppid()
    ended: list[list[Values]] = [[] for _ in projections]
    folds = [replay(projection, rows.append) for projection, rows in zip(projections, ended, strict=True)]
    position = 0
    while position < until and os.getppid() == parent:
        records, position = reader.part(position, until, _SLICE, share)
        for fold in folds:
            fold.feed(records)
        if any(ended):
            _send("ended", ended)
        for rows in ended:
            rows.clear()
    for index, fold in enumerate(folds):
        held = list(fold.table())
        for begin in range(0, len(held), _HELD):
            chunk = held[begin : begin + _HELD]
            _send("held", [chunk if n == index else [] for n in range(len(folds))])
    _send("done", [])


def _projection(kind: str) -> Projection:
    module, _, name = kind.partition(":")
    found: object = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found()  # type: ignore[operator, no-any-return]


def _send(word: str, rows: list[list[Values]]) -> None:
    data = marshal.dumps((word, rows))
    sys.stdout.buffer.write(len(data).to_bytes(_LENGTH) + data)
    sys.stdout.buffer.flush()


def _receive(pipe: BinaryIO) -> Frame:
    length = int.from_bytes(_exactly(pipe, _LENGTH))
    frame: Frame = marshal.loads(_exactly(pipe, length))
    return frame


def _exactly(pipe: BinaryIO, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        more = pipe.read(length - len(data))
        if not more:
            raise ShareLost
        data += more
    return bytes(data)


def _end(children: Sequence[Popen[bytes]]) -> None:
    for child in children:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
