"""One epoll loop: descriptors, timers, and what has to happen after each batch of events."""

import heapq
import os
import select
import time
from collections.abc import Callable

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
HANGUP = select.EPOLLHUP | select.EPOLLERR

Handler = Callable[[int], None]


class Loop:
    """Handlers get the event bits. A descriptor is closed after the batch: its number, used again within the batch,
    would get an event that was meant for the old one."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._closing: list[int] = []

    def watch(self, fd: int, handler: Handler, events: int = READ) -> None:
        """Call `handler` when one of `events`, or a hang-up, is there; again for another handler or other events."""
        if fd in self._handlers:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Watch it no more."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def close(self, fd: int) -> None:
        """Forget it and close it soon."""
        self.forget(fd)
        self._closing.append(fd)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Call `action` once, after `seconds`."""
        self._sequence += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._sequence, action))

    def turn(self) -> None:
        """Wait for something to happen and handle it."""
        for fd, events in self._epoll.poll(self._patience()):
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(events)
        self._ring()
        closing, self._closing = self._closing, []
        for fd in closing:
            os.close(fd)

    def _patience(self) -> float:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1

    def _ring(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
