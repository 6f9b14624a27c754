"""The Bus port over nats-py.

What nats-py would do by itself and must not: give up after two minutes (here: it comes back for ever), run the handlers
of a subscription one after the other (here: each message has its own task, at most `_MOST_HANDLERS` at a time), swallow
the cancellation of a publisher that waits for a server which does not read (here: nobody waits inside nats-py; room is
awaited outside), and stay closed after an error line of the server (here: a new client takes over the subscriptions).

A request that was on its way when the connection broke fails at once with Unavailable: nobody can know whether it
arrived. One that starts while the server is away waits for it, within its own time limit.
"""

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

from adapters.nats.transport import Line, Locate, tls_context
from domain import subjects
from domain.errors import InvalidValue, NoResponders, Unavailable
from domain.ports.bus import Message

log = logging.getLogger(__name__)

Handler = Callable[[Message], Awaitable[None]]
Listener = Callable[[], Awaitable[None]]

_RECONNECT_SECONDS = 0.1
_CLOSE_SECONDS = 1.0
_PENDING_MESSAGES = 65536
_PENDING_BYTES = 64 * 1024 * 1024
_MOST_HANDLERS = 4096
_ROOM = 4 * 1024 * 1024
_NATS_BUFFER = 2 * _ROOM
"""nats-py blocks above this, uncancellably; `_ROOM` plus one message stays below it."""


@dataclass(slots=True)
class NatsMessage:
    """One message from the bus (domain.ports.Message)."""

    subject: str
    data: bytes
    headers: dict[str, str]
    reply: str
    _bus: "NatsBus" = field(repr=False)

    async def respond(self, payload: bytes, headers: dict[str, str] | None = None) -> None:
        """Answer to the reply subject, if that is one the asker may choose."""
        if self._may_answer():
            await self._bus.publish(self.reply, payload, headers)
        elif self.reply:
            log.warning("%s asked for an answer on %s, which is not its inbox", self.subject, ascii(self.reply))

    def _may_answer(self) -> bool:
        asker = subjects.who(self.subject)
        return subjects.answers_to(self.reply, asker) if asker else self.reply.startswith("_INBOX.")


@dataclass(frozen=True, slots=True)
class _Served:
    subject: str
    queue: str
    deliver: Callable[[Msg], Coroutine[object, object, None]]


class NatsBus:
    """A connection that comes back by itself; `locate` says where the server is and waits while it is down."""

    def __init__(self, locate: Locate, role: str = "daemon") -> None:
        self._locate, self._role = locate, role
        self._inbox = f"{subjects.inbox(role)}.{secrets.token_hex(8)}"
        self._line: Line | None = None
        self._client: Client | None = None
        self._connected = asyncio.Event()
        self._closing = False
        self._served: list[_Served] = []
        self._answers: dict[str, asyncio.Future[Msg]] = {}
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._reconnect_listeners: list[Listener] = []
        self._disconnect_listeners: list[Listener] = []

    @property
    def connected(self) -> bool:
        """Whether the server hears us at the moment."""
        return self._connected.is_set()

    def on_reconnect(self, listener: Listener) -> None:
        """Await `listener` each time the connection is back: what was told in between is lost and has to be read."""
        self._reconnect_listeners.append(listener)

    def on_disconnect(self, listener: Listener) -> None:
        """Await `listener` each time the connection is lost."""
        self._disconnect_listeners.append(listener)

    async def connect(self, timeout: float = 10.0) -> None:
        """Connect for the first time. Raises Unavailable."""
        try:
            async with asyncio.timeout(timeout):
                await self._open()
        except (TimeoutError, OSError, Error) as error:
            await self.close()
            raise Unavailable(f"cannot connect to the bus: {error or 'no answer'}") from error

    async def close(self) -> None:
        """Cut the connection; handlers that run are cancelled, requests that wait fail. Twice is fine."""
        self._closing = True
        self._connected.clear()
        self._fail_requests()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        client, self._client = self._client, None
        if client is not None:
            # In a task of its own: nats-py swallows cancellation while the server does not read, so a time limit around
            # it would do nothing. Cutting the line does.
            closing = asyncio.get_running_loop().create_task(client.close())
            for _ in range(2):
                await asyncio.wait([closing], timeout=_CLOSE_SECONDS)
                if self._line is not None:
                    self._line.abort()
            if closing.done() and closing.exception() is not None:
                log.debug("the bus was cut off: %s", closing.exception())

    async def publish(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> None:
        """Fire and forget; lost while the server is away. Raises InvalidValue."""
        try:
            await self._send(subject, payload, "", headers)
        except Unavailable:
            log.debug("nobody heard %s: the bus is away", subject)
            await asyncio.sleep(0)  # a caller that publishes in a loop must let the connection come back

    async def request(self, subject: str, payload: bytes, timeout: float,
                      headers: dict[str, str] | None = None) -> bytes:
        """The first answer. Raises Unavailable (nobody serves that, nobody answered in `timeout` seconds, or the
        connection broke meanwhile), InvalidValue."""
        token = str(next(self._numbers))
        future: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._answers[token] = future
        try:
            async with asyncio.timeout(timeout):
                await self._connected.wait()
                await self._send(subject, payload, f"{self._inbox}.{token}", headers)
                answer = await future
        except TimeoutError as error:
            raise Unavailable(f"no answer on {subject} within {timeout:g} s") from error
        finally:
            del self._answers[token]
            future.cancel()
        if not answer.data and (answer.headers or {}).get("Status") == "503":
            raise NoResponders(f"nobody answers on {subject}")
        return answer.data

    async def serve(self, subject: str, handler: Handler, queue: str = "") -> None:
        """Call `handler` in a task of its own for every message, begun in the order of arrival; the server knows of it
        when this returns. Raises Unavailable."""
        served = _Served(subject, queue, self._deliverer(handler))
        self._served.append(served)
        client = self._require_client()
        try:
            await self._subscribe(client, served)
            await client.flush()
        except Error as error:
            raise Unavailable(f"cannot serve {subject}: {error}") from error

    def _require_client(self) -> Client:
        if self._client is None:
            raise Unavailable("the bus is not connected")
        return self._client

    async def _open(self) -> None:
        """A new client with all subscriptions."""
        line = self._line = Line(self._locate, self._role)
        client = Client()
        client._transport = line  # nats-py offers no other way to bring a transport along
        access = await self._locate(self._role)
        await client.connect(
            "nats://bus:4222", user=access.user or None, password=access.password or None,
            tls=tls_context(access), tls_hostname=access.host if access.tls else None, name=f"lading {self._role}",
            inbox_prefix=self._inbox, pending_size=_NATS_BUFFER, flush_timeout=10.0,
            allow_reconnect=True, max_reconnect_attempts=-1, reconnect_time_wait=_RECONNECT_SECONDS,  # type: ignore[arg-type]
            connect_timeout=5, ping_interval=60, error_cb=self._on_error, disconnected_cb=self._on_disconnect,
            reconnected_cb=self._on_reconnect, closed_cb=self._on_closed)
        self._client = client
        await self._subscribe(client, _Served(f"{self._inbox}.*", "", self._take_answer))
        for served in self._served:
            await self._subscribe(client, served)
        await client.flush()
        self._connected.set()

    async def _subscribe(self, client: Client, served: _Served) -> None:
        await client.subscribe(served.subject, served.queue, cb=served.deliver,
                               pending_msgs_limit=_PENDING_MESSAGES, pending_bytes_limit=_PENDING_BYTES)

    async def _send(self, subject: str, payload: bytes, reply: str, headers: dict[str, str] | None) -> None:
        client = self._require_client()
        if len(payload) > client.max_payload:
            raise InvalidValue(f"a message of {len(payload)} bytes does not fit on the bus")
        while client.pending_data_size > _ROOM and self.connected:
            await asyncio.sleep(0.002)
        if not self.connected:
            raise Unavailable("the bus is away")
        try:
            # Below _ROOM this returns without waiting, so there is nothing in it to be cancelled.
            await client.publish(subject, payload, reply, headers)
        except Error as error:
            raise Unavailable(f"cannot publish {subject}: {error}") from error

    async def _take_answer(self, message: Msg) -> None:
        future = self._answers.get(message.subject.rpartition(".")[2])
        if future is not None and not future.done():
            future.set_result(message)

    def _deliverer(self, handler: Handler) -> Callable[[Msg], Coroutine[object, object, None]]:
        places = asyncio.Semaphore(_MOST_HANDLERS)

        async def deliver(message: Msg) -> None:
            await places.acquire()
            task = asyncio.get_running_loop().create_task(self._handle(handler, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: places.release())

        return deliver

    async def _handle(self, handler: Handler, message: Msg) -> None:
        try:
            await handler(NatsMessage(message.subject, message.data, message.headers or {}, message.reply, self))
        except Exception:
            log.exception("the handler of %s failed", message.subject)

    def _fail_requests(self) -> None:
        for future in self._answers.values():
            if not future.done():
                future.set_exception(Unavailable("the connection to the bus broke before an answer came"))

    async def _on_error(self, error: Exception) -> None:
        log.log(logging.DEBUG if isinstance(error, OSError) else logging.WARNING, "bus: %s", error)

    async def _on_disconnect(self) -> None:
        if self._connected.is_set():
            self._connected.clear()
            self._fail_requests()
            self._tell(self._disconnect_listeners)

    async def _on_reconnect(self) -> None:
        self._connected.set()
        self._tell(self._reconnect_listeners)

    async def _on_closed(self) -> None:
        """nats-py closes for good on any error line but a refused permission."""
        await self._on_disconnect()
        if not self._closing and self._client is not None:
            log.error("the bus closed the connection: %s", self._client.last_error)
            self._keep(self._reopen())

    async def _reopen(self) -> None:
        while not self._closing:
            await asyncio.sleep(_RECONNECT_SECONDS)
            with contextlib.suppress(OSError, Error, TimeoutError):
                await self._open()
                self._tell(self._reconnect_listeners)
                return

    def _tell(self, listeners: list[Listener]) -> None:
        if not self._closing:
            for listener in listeners:
                self._keep(listener())

    def _keep(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            try:
                await work
            except Exception:
                log.exception("a listener of the bus failed")

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
