"""Answers that are the same for all who ask: one stream of the engine, told to everybody.

The engine marks such an answer (events of the present). Whoever asks for the same while it lasts joins in: the engine
tells a thing once, however many listen, and knows of one of them. Who does not keep up is hung up on.
"""

import asyncio
from typing import Protocol

from adapters.gateway.line import Line, Lost

MARK = b"Lading-Shared: 1"
"""The header line of an answer that may be shared; clients do not see it."""

_MANY, _GATHERED = 100, 0.05
"""More listeners than that are told only now and then, in seconds: to tell them all takes a processor's time, which the
engine needs at that moment."""


class Listener(Protocol):
    """One client."""

    def hear(self, data: bytes) -> None:
        """A piece of the answer."""

    def end(self, *, whole: bool) -> None:
        """Nothing more comes."""


class Broadcast:
    """One answer; it lasts while anybody listens."""

    def __init__(self, hall: "Hall", target: str, head: bytes, line: Line) -> None:
        self.head = head
        self._hall, self._target, self._line = hall, target, line
        self._listeners: set[Listener] = set()
        self._telling = asyncio.get_running_loop().create_task(self._tell())

    def join(self, listener: Listener) -> None:
        """From now on it hears everything."""
        self._listeners.add(listener)

    def leave(self, listener: Listener) -> None:
        """No more. The last one ends it."""
        self._listeners.discard(listener)
        if not self._listeners:
            self._close()
            self._telling.cancel()

    async def _tell(self) -> None:
        whole = False
        try:
            while True:
                kind, rest = await self._line.next()
                if kind == b"X":
                    whole = rest == b"0"
                    break
                told = rest if kind == b"O" else b""
                self._line.taken(len(rest))
                if len(self._listeners) > _MANY:
                    await asyncio.sleep(_GATHERED)
                    told += await self._more()
                for listener in tuple(self._listeners) if told else ():
                    listener.hear(told)
        except Lost:
            pass
        self._close()
        for listener in tuple(self._listeners):
            listener.end(whole=whole)

    async def _more(self) -> bytes:
        """What has come meanwhile, up to the end."""
        found = b""
        while self._line.waiting and not self._line.ends:
            kind, rest = await self._line.next()
            found += rest if kind == b"O" else b""
            self._line.taken(len(rest))
        return found

    def _close(self) -> None:
        self._line.close()
        self._hall.forget(self._target, self)


class Hall:
    """All answers that are being shared, by what was asked for."""

    def __init__(self) -> None:
        self._open: dict[str, Broadcast] = {}

    def find(self, target: str) -> Broadcast | None:
        """What is being told to others."""
        return self._open.get(target)

    def open(self, target: str, head: bytes, line: Line) -> Broadcast:
        """Tell the rest of the answer on this line to whoever joins."""
        found = self._open[target] = Broadcast(self, target, head, line)
        return found

    def forget(self, target: str, broadcast: Broadcast) -> None:
        """It is over. Twice is fine."""
        if self._open.get(target) is broadcast:
            del self._open[target]


def unmarked(head: bytes) -> tuple[bytes, bool]:
    """The head as clients get it, and whether it may be shared."""
    lines = head.split(b"\0")
    return b"\0".join(line for line in lines if line != MARK), MARK in lines
