"""Connections from the control socket to the bus: opened in advance, each used for one client and then thrown away.

A connection is never used twice, because subscriptions and half-sent frames of one client must not reach the next.
"""

import asyncio
import json
import logging
import select
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

log = logging.getLogger(__name__)

_WRITE_HIGH = 256 * 1024
_RETRY_SECONDS = 0.1
_REFILL_SECONDS = 0.2
"""Longer than most commands take: what is opened in advance must not slow down what is being done."""
_HANDSHAKE_SECONDS = 5.0
_MOST_OPENING = 32


class Endpoint(Protocol):
    """Where the bus is and how the proxy logs in; `server_name` is what the server must call itself, if not empty."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def user(self) -> str: ...
    @property
    def password(self) -> str: ...
    @property
    def tls(self) -> bool: ...
    @property
    def server_name(self) -> str: ...


Locate = Callable[[str], Awaitable[Endpoint]]


class Downstream(Protocol):
    """The client that got a connection."""

    def hear(self, data: bytes) -> None:
        """The server sent this."""

    def lost(self) -> None:
        """The server is gone."""

    def slow(self, slow: bool) -> None:
        """The server cannot take more for the moment (or can again)."""


class Upstream(asyncio.Protocol):
    """One connection to the server: greeted and logged in (`ready`), kept alive in the pool, then given to a client."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._transport: asyncio.Transport | None = None
        self._client: Downstream | None = None
        self._line = bytearray()
        self._steps = deque((self._greeted, self._logged_in))
        self._securing: asyncio.Task[None] | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Whoever waited may have given up before the connection failed: then nobody asks, and that is fine.
        self.ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())
        self.when_lost: Callable[[Upstream], None] = lambda _: None
        self._gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The line is there; the server speaks first."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH)

    def data_received(self, data: bytes) -> None:
        """To the client, once there is one."""
        if self._client is not None:
            self._client.hear(data)
            return
        self._line += data
        while (end := self._line.find(b"\n")) >= 0 and self._client is None:
            line = bytes(self._line[:end + 1])
            del self._line[:end + 1]
            self._take_line(line)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever relies on it."""
        self._gone = True
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("the bus hung up"))
        self.when_lost(self)
        if self._client is not None:
            self._client.lost()

    def pause_writing(self) -> None:
        """The server reads too slowly."""
        if self._client is not None:
            self._client.slow(True)

    def resume_writing(self) -> None:
        """The server has caught up."""
        if self._client is not None:
            self._client.slow(False)

    @property
    def hung_up(self) -> bool:
        """Whether the server has ended the connection, also if the loop has not had the time to hear of it."""
        if self._gone or self._transport is None or (fd := self._transport.get_extra_info("socket").fileno()) < 0:
            return True
        look = select.poll()
        look.register(fd, select.POLLRDHUP)
        return bool(look.poll(0))

    def give_to(self, client: Downstream) -> None:
        """From now on everything the server says is for `client`."""
        self._client = client
        if self._gone:
            client.lost()
        elif self._line:
            client.hear(bytes(self._line))
            self._line.clear()

    def write(self, data: bytes) -> None:
        """Pass on to the server."""
        if self._transport is not None and data:
            self._transport.write(data)

    def pause(self, pause: bool) -> None:
        """Stop (or go on) reading from the server: the client reads too slowly."""
        if self._transport is not None and not self._transport.is_closing():
            (self._transport.pause_reading if pause else self._transport.resume_reading)()

    def close(self) -> None:
        """Hang up at once; the client does not want to hear more."""
        self._client = None
        if self._securing is not None:
            self._securing.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _take_line(self, line: bytes) -> None:
        if line.startswith(b"PING"):
            self.write(b"PONG\r\n")
        elif self._steps:
            try:
                self._steps.popleft()(line)
            except (ValueError, AttributeError, ConnectionError) as error:
                self._fail(error)

    def _greeted(self, line: bytes) -> None:
        """The greeting tells whether this is our server; only then it gets the password."""
        info = json.loads(line.removeprefix(b"INFO "))
        if self._endpoint.server_name and info.get("server_name") != self._endpoint.server_name:
            raise ConnectionError("a stranger listens in the place of nats-server")
        if self._endpoint.tls:
            if not info.get("tls_required"):
                raise ConnectionError("the bus does not speak TLS")
            self._securing = asyncio.get_running_loop().create_task(self._secure())
        else:
            self._log_in()

    async def _secure(self) -> None:
        try:
            transport = await asyncio.get_running_loop().start_tls(
                cast(asyncio.Transport, self._transport), self, ssl.create_default_context(),
                server_hostname=self._endpoint.host)
        except (OSError, TimeoutError) as error:
            self._fail(error)
            return
        self._transport = transport
        self._log_in()

    def _log_in(self) -> None:
        options = {"user": self._endpoint.user, "pass": self._endpoint.password, "name": "lading proxy",
                   "lang": "lading", "version": "1", "protocol": 1, "verbose": False, "pedantic": False,
                   "headers": True, "no_responders": True}
        self.write(b"CONNECT " + json.dumps(options).encode() + b"\r\nPING\r\n")

    def _logged_in(self, line: bytes) -> None:
        if not line.startswith(b"PONG"):
            raise ConnectionError(f"the bus refused the proxy: {line!a}")
        if not self.ready.done():
            self.ready.set_result(None)

    def _fail(self, error: Exception) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(str(error)))
        self.close()


class Pool:
    """A few connections that are logged in already, so that a client does not wait for the handshake."""

    def __init__(self, locate: Locate, size: int = 8) -> None:
        self._locate, self._size = locate, size
        self._idle: deque[Upstream] = deque()
        self._waiting: deque[asyncio.Future[Upstream]] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._later: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to open connections."""
        self._refill()

    async def close(self) -> None:
        """Hang up every idle connection; clients that wait get none."""
        self._closed = True
        if self._later is not None:
            self._later.cancel()
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for future in self._waiting:
            future.cancel()
        for upstream in list(self._idle):
            upstream.close()

    def take(self) -> Upstream | None:
        """A connection that is ready and still there, if there is one: what is written to a dead one is lost."""
        while self._idle:
            upstream = self._idle.popleft()
            upstream.when_lost = lambda _: None
            if not upstream.hung_up:
                self._refill_soon()
                return upstream
            upstream.close()
        return None

    async def wait(self) -> Upstream:
        """The next connection that gets ready."""
        future: asyncio.Future[Upstream] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._refill()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                future.result().close()
            raise

    def _refill_soon(self) -> None:
        """Not now: opening a connection takes both processes longer than answering a call, which is waiting."""
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(_REFILL_SECONDS, self._refill)

    def _refill(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        wanted = self._size + len(self._waiting) - len(self._idle) - len(self._opening)
        if self._closed:
            return
        for _ in range(min(wanted, _MOST_OPENING - len(self._opening))):
            task = asyncio.get_running_loop().create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        self._refill()

    async def _open(self) -> None:
        endpoint = await self._locate("proxy")
        upstream = Upstream(endpoint)
        try:
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                await asyncio.get_running_loop().create_connection(lambda: upstream, endpoint.host, endpoint.port)
                await upstream.ready
        except (OSError, TimeoutError) as error:
            upstream.close()
            log.debug("cannot open a connection to the bus: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)
            return
        except asyncio.CancelledError:
            upstream.close()
            raise
        self._hand_out(upstream)

    def _hand_out(self, upstream: Upstream) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(upstream)
                return
        upstream.when_lost = self._drop
        self._idle.append(upstream)

    def _drop(self, upstream: Upstream) -> None:
        if upstream in self._idle:
            self._idle.remove(upstream)
        self._refill()
