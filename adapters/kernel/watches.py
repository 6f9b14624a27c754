"""Who watches the output of which container, and how far each has read: what the warden is told about that.

A hold is the position from which on a watcher needs the output. The warden is told the lowest of a container, not at
every step: when it has moved by `_STEP`, and at once after the warden has said that the container waits for it.
"""

import asyncio
from collections.abc import Callable

from adapters.kernel.supervisor.wire import Message

_STEP = 1 << 20


class Watch:
    """See `domain.ports.Watch`."""

    def __init__(self, hold: int | None, changed: Callable[[], None]) -> None:
        self.held = hold
        self.rung = asyncio.Event()
        self._changed = changed

    async def bell(self) -> None:
        """See the port."""
        await self.rung.wait()
        self.rung.clear()

    def ring(self) -> None:
        """See the port."""
        self.rung.set()

    def hold(self, position: int | None) -> None:
        """See the port."""
        if position != self.held:
            self.held = position
            self._changed()


class Watches:
    """All of one daemon. `tell` sends a message to the warden, which may be lost with the connection."""

    def __init__(self, tell: Callable[[Message], None]) -> None:
        self._tell = tell
        self._watches: dict[str, set[Watch]] = {}
        self._told: dict[str, int | None] = {}
        self._urged: set[str] = set()

    def add(self, id: str, hold: int | None) -> Watch:
        """A new one; the warden does not know yet (see `wish`)."""
        watch = Watch(hold, lambda: self._changed(id))
        self._watches.setdefault(id, set()).add(watch)
        return watch

    def discard(self, id: str, watch: Watch) -> Message | None:
        """It is over; what the warden is to be told."""
        watches = self._watches.get(id, set())
        watches.discard(watch)
        watch.held = None
        if watches:
            return self.wish(id) if self._told.get(id) != self._lowest(id) else None
        for forgotten in (self._watches, self._told):
            forgotten.pop(id, None)
        self._urged.discard(id)
        return {"op": "unwatch", "id": id}

    def ids(self) -> list[str]:
        """Of the containers that are watched."""
        return list(self._watches)

    def wish(self, id: str) -> Message | None:
        """What is wanted for a container, as the warden understands it; None if nothing is."""
        if id not in self._watches:
            return None
        self._told[id] = lowest = self._lowest(id)
        return {"op": "watch", "id": id} | ({} if lowest is None else {"hold": lowest})

    def with_start(self, id: str) -> Message:
        """The same as a part of the wish to start it."""
        wish = self.wish(id) or {"op": ""}
        return {"watch": wish.pop("op") == "watch"} | wish

    def ring(self, id: str) -> None:
        """There may be new output."""
        for watch in self._watches.get(id, ()):
            watch.rung.set()

    def urge(self, id: str) -> None:
        """The container waits for those who hold its output."""
        self._urged.add(id)
        self._changed(id)

    def _lowest(self, id: str) -> int | None:
        held = [watch.held for watch in self._watches.get(id, ()) if watch.held is not None]
        return min(held) if held else None

    def _changed(self, id: str) -> None:
        lowest, told = self._lowest(id), self._told.get(id)
        if lowest is not None and told is not None and told < lowest < told + _STEP and id not in self._urged:
            return
        if lowest != told and (message := self.wish(id)) is not None:
            self._tell(message)
