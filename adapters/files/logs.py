"""Container output for readers: in order, by time, from the end, and on and on. Format: `domain.logs`.

Whoever asks for the last lines gets blocks read from the end (found through the index) until enough line beginnings
were seen; everything else starts at the index entry before `since` or `start` and walks forward.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from adapters.files.segments import Bounds, Found, Start, Stored
from adapters.files.tail import Place
from domain import logs
from domain.errors import InvalidValue
from domain.ports.logs import LogFrame

P = ParamSpec("P")
T = TypeVar("T")

_LITTLE = 1 << 16
_HEXADECIMAL = frozenset("0123456789abcdef")


class LogFiles:
    """Reads below `root`, the directory that has one directory for each container."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def frames(self, id: str, *, since: int | None = None, until: int | None = None, tail: int | None = None,
                     start: int | None = None, follow: Callable[[], Awaitable[bool]] | None = None,
                     begun: Callable[[int], None] = lambda position: None) -> AsyncIterator[LogFrame]:
        """See the port; `tail` counts lines. Without `follow` only what there is now, with it a frame of which nothing
        was asked for is given empty. Raises: InvalidValue."""
        stored = Stored(self._directory(id))
        try:
            end = stored.end()
            begin = await _beside(stored.size(), stored.start, end, Bounds(since, until, tail, start))
            stored.go_to(begin)
            begun(max(begin.position, begin.wanted))
            missed = 0
            async for found in _batches(stored, end, follow):
                if until is not None and found[1].time > until:
                    break
                frame = _wanted(found, begin, since)
                missed += frame.missed
                if frame.data or follow is not None:  # who follows must know how far it is
                    yield frame if missed == frame.missed else replace(frame, missed=missed)
                    missed = 0
            if missed:
                yield LogFrame(0, logs.STDOUT, b"", missed=missed)
        finally:
            stored.close()

    async def end(self, id: str) -> int:
        """See the port."""
        stored = Stored(self._directory(id))
        return await _beside(stored.size(), stored.end_position)

    def path(self, id: str, driver: str) -> str:
        """See the port."""
        directory = self._directory(id)
        return {"local": str(directory), "json-file": str(directory / logs.json_name(id))}.get(driver, "")

    def size(self, id: str) -> int:
        """Bytes of disk that the output of a container takes."""
        directory = self._directory(id)
        return sum(file.stat().st_size for file in directory.iterdir()) if directory.is_dir() else 0

    def _directory(self, id: str) -> Path:
        if not id or not _HEXADECIMAL.issuperset(id):
            raise InvalidValue("a container id is hexadecimal")
        return self._root / id


async def _batches(stored: Stored, end: Place, follow: Callable[[], Awaitable[bool]] | None) -> AsyncIterator[Found]:
    """Frame after frame, up to `end`, or until nothing more comes."""
    more = follow is not None
    while True:
        last = not more
        batch = await _beside(stored.waiting(), stored.next, end if follow is None else None, last=last)
        for found in batch:
            yield found
        if batch:
            continue
        if last or follow is None:
            return
        more = await follow()


async def _beside(amount: int, look: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Look in a thread; for a little output the way there and back takes ten times as long as the look itself."""
    if amount <= _LITTLE:
        return look(*arguments, **named)
    return await asyncio.to_thread(look, *arguments, **named)


def _wanted(found: Found, start: Start, since: int | None) -> LogFrame:
    """The frame with that part of its data that was asked for."""
    where, frame = found
    if since is not None and frame.time < since:
        return replace(frame, data=b"")
    data, cut = frame.data, start.cut.get(frame.stream)
    if cut is not None and where < cut:
        data = data[cut[2] - where[2]:] if where[:2] == cut[:2] else b""
    early = start.wanted - (frame.position - len(frame.data))
    if early > 0:
        data = data[early:]
    return frame if data is frame.data else replace(frame, data=data)
