"""Time, and the messages that others send."""

from collections.abc import Awaitable, Callable
from typing import Protocol


class Stop(Protocol):
    """Set when nobody wants the result any more; may be looked at and waited for by threads."""

    def is_set(self) -> bool:
        """Whether it is."""

    def wait(self, timeout: float) -> bool:
        """Wait for it that long (seconds); whether it was set."""


class Clock(Protocol):
    """Time and chance, so that tests own both."""

    def now(self) -> int:
        """Nanoseconds since the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Monotonic."""

    def new_id(self) -> str:
        """64 random hex digits."""

    def choice(self, bound: int) -> int:
        """A random number below `bound`."""


class Bus(Protocol):
    """Carries hints and work; never the record."""

    async def publish(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> None:
        """Fire and forget; lost while the server is away."""

    async def request(self, subject: str, payload: bytes, timeout: float) -> bytes:
        """Raises Unavailable when nobody answers in `timeout` seconds, NoResponders at once when nobody listens."""

    async def serve(self, subject: str, handler: "Callable[[Message], Awaitable[None]]", queue: str = "") -> None:
        """Call `handler` in a task of its own for every message."""


class Message(Protocol):
    """One message from the bus."""

    subject: str
    data: bytes
    headers: dict[str, str]
    reply: str

    async def respond(self, payload: bytes, headers: dict[str, str] | None = None) -> None:
        """Answer to the reply subject."""
