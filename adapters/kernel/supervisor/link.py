"""The daemon's lasting connection to the warden: asks, listens, and comes back when the warden was restarted.

A question that was not answered when the connection broke is asked again on the next one. All of them bear that: a
start is done once per attempt, an acknowledgement may be repeated, and a signal that arrives twice is better than none.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

from adapters.kernel.supervisor import tree, wire
from adapters.kernel.supervisor.launch import SOCKET_NAME
from adapters.kernel.supervisor.wire import Message
from domain.errors import LadingError, Unavailable

log = logging.getLogger(__name__)
_PAUSES = (0.02, 0.1, 0.5, 2.0)


class _Line(asyncio.Protocol):
    """One connection: `take` gets each message in the same turn of the loop in which it came, for bells are what people
    at terminals wait for. `over` ends with the connection, with an error if there was one."""

    def __init__(self, take: Callable[[Message], None]) -> None:
        self._take = take
        self._splitter = wire.Splitter()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Whole messages, as they come."""
        try:
            for message in self._splitter.feed(data):
                self._take(message)
        except wire.Garbage as error:
            self._end(error)

    def connection_lost(self, error: Exception | None) -> None:
        """The warden hung up, or we did."""
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        if self.over.done():
            return
        if error is None:
            self.over.set_result(None)
        else:
            self.over.set_exception(error)


class Link:
    """`connected(rebuilt)` is awaited after each connect; `event` gets the messages that nobody asked for."""

    def __init__(self, run_dir: Path, data_root: Path, *, failpoints: str, event: Callable[[Message], None],
                 connected: Callable[[bool], Awaitable[None]]) -> None:
        self._run_dir, self._data_root, self._failpoints = run_dir, data_root, failpoints
        self._event, self._connected = event, connected
        self._open: dict[int, tuple[Message, asyncio.Future[Message]]] = {}
        self._number = 0
        self._line: _Line | None = None
        self._task: asyncio.Task[None] | None = None
        self._greeting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, with a new tree if there is none. Raises: Unavailable."""
        loop = asyncio.get_running_loop()
        first: asyncio.Future[None] = loop.create_future()
        self._task = loop.create_task(self._stay_connected(first))
        await first

    @property
    def connected(self) -> bool:
        """Whether a warden can be asked at this moment."""
        return self._line is not None

    async def stop(self) -> None:
        """Disconnect; the warden goes on. Open questions end with Unavailable."""
        for task in (self._task, self._greeting):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._task = None
        self._fail_open()

    async def ask(self, message: Message) -> Message:
        """The answer, from this warden or the next. Raises: Unavailable."""
        if self._task is None or self._task.done():
            raise Unavailable("the supervisor is not connected")
        self._number += 1
        number = self._number
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        message = {"n": number, **message}
        self._open[number] = message, answer
        try:
            self._send(message)
            return await answer
        finally:
            self._open.pop(number, None)

    def tell(self, message: Message) -> None:
        """Say something whose answer nobody needs, and which the next warden does not have to hear."""
        self._send({"n": 0, **message})

    def _send(self, message: Message) -> None:
        if self._line is not None:
            self._line.transport.write(wire.pack(message))

    async def _stay_connected(self, first: "asyncio.Future[None]") -> None:
        failures = 0
        while True:
            try:
                rebuilt, line = await self._connect()
            except (LadingError, OSError) as error:
                if not first.done():
                    first.set_exception(error if isinstance(error, LadingError) else Unavailable(str(error)))
                    return
                log.warning("the supervisor is away: %s", error)
                failures += 1
                if failures >= len(_PAUSES):
                    self._fail_open()
                await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES)) - 1])
                continue
            failures = 0
            self._greeting = asyncio.get_running_loop().create_task(self._greet(rebuilt and first.done(), first))
            await self._listen(line)
            self._greeting.cancel()

    async def _connect(self) -> tuple[bool, "_Line"]:
        rebuilt = await asyncio.to_thread(
            tree.ensure_warden, self._run_dir, self._data_root, failpoints=self._failpoints)
        _, line = await asyncio.get_running_loop().create_unix_connection(
            lambda: _Line(self._take), str(self._run_dir / SOCKET_NAME))
        self._line = line
        for message, _ in self._open.values():
            self._send(message)
        return rebuilt, line

    async def _greet(self, rebuilt: bool, first: "asyncio.Future[None]") -> None:
        try:
            await self._connected(rebuilt)
        except LadingError as error:
            log.warning("after connecting to the supervisor: %s", error)
        if not first.done():
            first.set_result(None)

    async def _listen(self, line: "_Line") -> None:
        """Until the connection ends."""
        try:
            await line.over
        except (OSError, wire.Garbage) as error:
            log.warning("the connection to the supervisor broke: %s", error)
        finally:
            line.transport.abort()
            self._line = None

    def _take(self, message: Message) -> None:
        if "re" not in message:
            self._event(message)
            return
        _, answer = self._open.get(message["re"], (None, None))
        if answer is not None and not answer.done():
            answer.set_result(message)

    def _fail_open(self) -> None:
        for _, answer in self._open.values():
            if not answer.done():
                answer.set_exception(Unavailable("the supervisor does not answer"))
