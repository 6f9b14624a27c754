"""What containers have written."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol


class LogReader(Protocol):
    """Container output as it was written."""

    def frames(
        self,
        id: str,
        *,
        since: int | None = None,
        until: int | None = None,
        tail: int | None = None,
        start: int | None = None,
        follow: "Callable[[], Awaitable[bool]] | None" = None,
        begun: Callable[[int], None] = lambda position: None,
    ) -> "AsyncIterator[LogFrame]":
        """Frames in order, `tail` lines at most, or from position `start` on; `follow` is awaited at the end and says
        whether more may come. `begun` is told the position before which nothing is needed. Data may be empty."""

    async def end(self, id: str) -> int:
        """The position behind all that is stored."""

    def path(self, id: str, driver: str) -> str:
        """Where people and log shippers find it on this host; empty if nothing is kept."""


@dataclass(frozen=True, slots=True)
class LogFrame:
    """Bytes as read from the pipe: `stream` 1 stdout, 2 stderr; `time` ns since the epoch.

    `position` counts what the container had written with it, in all its runs. `missed` bytes that were asked for stood
    before it and are not stored any more (then the data may be empty: nothing follows).
    """

    time: int
    stream: int
    data: bytes
    position: int = field(default=0, compare=False)
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Passed:
    """What an archive has brought: its size in bytes, entries that were made, and those that nobody wants there."""

    size: int
    entries: int
    left_out: int = 0
