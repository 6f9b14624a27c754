"""One epoll loop: descriptors, timers, and what has to happen after each batch of events."""

import heapq
import os
import select
import time
from collections.abc import Callable

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
HANGUP = select.EPOLLHUP | select.EPOLLERR

Handler = Callable[[int], None]


class Timer:
    """Something that is to be done at a moment; those of one moment in the order in which they were asked for."""

    __slots__ = ("action", "number", "when")

    def __init__(self, when: float, number: int, action: Callable[[], None]) -> None:
        self.when, self.number = when, number
        self.action: Callable[[], None] | None = action

    def __lt__(self, other: "Timer") -> bool:
        return (self.when, self.number) < (other.when, other.number)


class Loop:
    """Handlers get the event bits. A descriptor is closed after the batch: its number, used again within the batch,
    would get an event that was meant for the old one."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[Timer] = []
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

    def later(self, seconds: float, action: Callable[[], None]) -> "Timer":
        """Call `action` once, after `seconds`; what is returned can be given to `cancel`."""
        self._sequence += 1
        timer = Timer(time.monotonic() + seconds, self._sequence, action)
        heapq.heappush(self._timers, timer)
        return timer

    def cancel(self, timer: "Timer | None") -> None:
        """Call it no more, and let go at once of what it would have needed."""
        if timer is not None:
            timer.action = None

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
        return max(0.0, self._timers[0].when - time.monotonic()) if self._timers else -1

    def _ring(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0].when <= now:
            action = heapq.heappop(self._timers).action
            if action is not None:
                action()
