"""Clients of the API that take part in a process: raw bytes, or frames that say which output they are from.

A frame is the stream (0 stdin, 1 stdout, 2 stderr), three zeros, and the length of what follows, as the API has it:

    01 00 00 00  00 00 00 03  6f 6b 0a
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace

from domain.ports.logs import LogFrame
from workers.console.call import Terminal
from workers.console.streams import STDERR, STDOUT
from workers.gateway.call import Duplex

_HEAD = struct.Struct(">BxxxI")


def frame(stream: int, data: bytes) -> bytes:
    """One frame."""
    return _HEAD.pack(stream, len(data)) + data


class _NoTerminal:
    """Its size comes in requests of its own."""

    cols = rows = 0
    stdin_tty = stdout_tty = stderr_tty = False


class Participant:
    """A hijacked connection as `workers.console.streams` knows clients; `raw` for processes with a terminal."""

    terminal: Terminal = _NoTerminal()

    def __init__(self, duplex: Duplex, *, raw: bool) -> None:
        self._duplex, self._raw = duplex, raw

    @property
    def closed(self) -> asyncio.Event:
        """Set when it is gone."""
        return self._duplex.closed

    @property
    def deserted(self) -> bool:
        """Whether it went by itself."""
        return self._duplex.deserted

    async def out(self, data: bytes) -> None:
        """Something from standard output."""
        await self._duplex.write(data if self._raw else frame(STDOUT, data))

    async def err(self, data: bytes) -> None:
        """Something from standard error."""
        await self._duplex.write(data if self._raw else frame(STDERR, data))

    def stdin(self) -> AsyncIterator[bytes]:
        """What it sends."""
        return self._duplex.read()

    async def use_terminal(self, resized: Callable[[int, int], Awaitable[None]], *, raw: bool) -> None:
        """Nothing: see `_NoTerminal`."""

    async def release_terminal(self) -> None:
        """Nothing."""


class Told:
    """How far somebody has been told what is stored, where that meets what comes: the two overlap by what was written
    between the moment from which on all that comes is told and the look at what is stored."""

    def __init__(self) -> None:
        self._position = 0

    async def noted(self, frames: AsyncIterator[LogFrame]) -> AsyncIterator[LogFrame]:
        """What is stored."""
        async for each in frames:
            self._position = max(self._position, each.position)
            yield each

    async def beyond(self, frames: AsyncIterator[LogFrame]) -> AsyncIterator[LogFrame]:
        """Of what comes that which was not stored then."""
        async for each in frames:
            known = self._position and self._position - (each.position - len(each.data))
            yield each if known <= 0 else replace(each, data=each.data[known:])


def lines_of(data: bytes) -> Iterator[bytes]:
    """Lines with their ends: clients that read logs frame by frame expect one in each."""
    start = 0
    while end := data.find(b"\n", start) + 1:
        yield data[start:end]
        start = end
    if start < len(data):
        yield data[start:]


async def framed(frames: AsyncIterator[LogFrame], streams: frozenset[int], *, raw: bool) -> AsyncIterator[bytes]:
    """Output of a container, of these streams, as an answer's pieces."""
    async for each in frames:
        if each.stream in streams and each.data:
            yield each.data if raw else frame(each.stream, each.data)
