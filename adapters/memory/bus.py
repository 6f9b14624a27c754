"""The Bus port within one process: subjects, wildcards, queues and inboxes as on the real bus, without a server."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from domain import subjects
from domain.errors import InvalidValue, NoResponders, Unavailable
from domain.ports.bus import Message

log = logging.getLogger(__name__)

Handler = Callable[[Message], Awaitable[None]]

MAX_PAYLOAD = 1024 * 1024


@dataclass(slots=True)
class MemoryMessage:
    """One message (domain.ports.Message)."""

    subject: str
    data: bytes
    headers: dict[str, str]
    reply: str
    _bus: "MemoryBus" = field(repr=False)

    async def respond(self, payload: bytes, headers: dict[str, str] | None = None) -> None:
        """Answer to the reply subject, if that is one the asker may choose."""
        asker = subjects.who(self.subject)
        if subjects.answers_to(self.reply, asker) if asker else self.reply.startswith("_INBOX."):
            await self._bus.publish(self.reply, payload, headers)


class MemoryBus:
    """What one of these carries stays in the process. `inbox` is whose answers its requests get."""

    def __init__(self, role: str = "daemon") -> None:
        self._inbox = f"{subjects.inbox(role)}.memory"
        self._served: list[tuple[str, str, Handler]] = []
        self._answers: dict[str, asyncio.Future[bytes]] = {}
        self._numbers, self._turns = itertools.count(1), itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Cancel the handlers that run; requests that wait fail."""
        for future in self._answers.values():
            if not future.done():
                future.set_exception(Unavailable("the connection to the bus broke before an answer came"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def publish(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> None:
        """Fire and forget. Raises InvalidValue."""
        self._send(subject, payload, "", headers)

    async def request(self, subject: str, payload: bytes, timeout: float,
                      headers: dict[str, str] | None = None) -> bytes:
        """The first answer. Raises Unavailable, InvalidValue."""
        reply = f"{self._inbox}.{next(self._numbers)}"
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answers[reply] = future
        try:
            if not self._send(subject, payload, reply, headers):
                raise NoResponders(f"nobody answers on {subject}")
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError as error:
            raise Unavailable(f"no answer on {subject} within {timeout:g} s") from error
        finally:
            del self._answers[reply]
            future.cancel()

    async def serve(self, subject: str, handler: Handler, queue: str = "") -> None:
        """Call `handler` in a task of its own for every message, begun in the order of arrival."""
        self._served.append((subject, queue, handler))

    def _send(self, subject: str, payload: bytes, reply: str, headers: dict[str, str] | None) -> int:
        """How many heard it."""
        if len(payload) > MAX_PAYLOAD:
            raise InvalidValue(f"a message of {len(payload)} bytes does not fit on the bus")
        if not subjects.is_subject(subject):
            raise InvalidValue(f"{subject!r} is not a subject")
        if subject in self._answers:
            future = self._answers[subject]
            if not future.done():
                future.set_result(payload)
            return 1
        handlers = self._hearing(subject)
        for handler in handlers:
            self._start(handler, MemoryMessage(subject, payload, dict(headers or {}), reply, self))
        return len(handlers)

    def _hearing(self, subject: str) -> list[Handler]:
        """Everybody without a queue, and one of each queue in turn."""
        heard = [(queue, handler) for pattern, queue, handler in self._served if subjects.matches(pattern, subject)]
        queues: dict[str, list[Handler]] = {}
        for queue, handler in heard:
            if queue:
                queues.setdefault(queue, []).append(handler)
        turn = next(self._turns)
        return [handler for queue, handler in heard if not queue] + [q[turn % len(q)] for q in queues.values()]

    def _start(self, handler: Handler, message: MemoryMessage) -> None:
        async def run() -> None:
            try:
                await handler(message)
            except Exception:
                log.exception("the handler of %s failed", message.subject)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
