"""The daemon's lasting connection to the warden: asks, listens, and comes back when the warden was restarted.

A question that was not answered when the connection broke is asked again on the next one. All of them bear that: a
start is done once per attempt, an acknowledgement may be repeated, and a signal that arrives twice is better than none.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from adapters.kernel.supervisor import tree, wire
from adapters.kernel.supervisor.launch import SOCKET_NAME
from adapters.kernel.supervisor.wire import Message
from domain.errors import LadingError, Unavailable

log = logging.getLogger(__name__)
_CHUNK = 1 << 18
_PAUSES = (0.02, 0.1, 0.5, 2.0)


class Link:
    """`connected(rebuilt)` is awaited after each connect; `event` gets the messages that nobody asked for."""

    def __init__(self, run_dir: Path, data_root: Path, *, failpoints: str, event: Callable[[Message], None],
                 connected: Callable[[bool], Awaitable[None]]) -> None:
        self._run_dir, self._data_root, self._failpoints = run_dir, data_root, failpoints
        self._event, self._connected = event, connected
        self._open: dict[int, tuple[Message, asyncio.Future[Message]]] = {}
        self._number = 0
        self._writer: asyncio.StreamWriter | None = None
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
        return self._writer is not None

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
        if self._writer is not None:
            self._writer.write(wire.pack(message))

    async def _stay_connected(self, first: "asyncio.Future[None]") -> None:
        failures = 0
        while True:
            try:
                rebuilt, reader = await self._connect()
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
            await self._listen(reader)
            self._greeting.cancel()

    async def _connect(self) -> tuple[bool, asyncio.StreamReader]:
        rebuilt = await asyncio.to_thread(
            tree.ensure_warden, self._run_dir, self._data_root, failpoints=self._failpoints)
        reader, self._writer = await asyncio.open_unix_connection(str(self._run_dir / SOCKET_NAME))
        for message, _ in self._open.values():
            self._send(message)
        return rebuilt, reader

    async def _greet(self, rebuilt: bool, first: "asyncio.Future[None]") -> None:
        try:
            await self._connected(rebuilt)
        except LadingError as error:
            log.warning("after connecting to the supervisor: %s", error)
        if not first.done():
            first.set_result(None)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Until the connection ends."""
        splitter = wire.Splitter()
        try:
            while data := await reader.read(_CHUNK):
                for message in splitter.feed(data):
                    self._take(message)
        except (OSError, wire.Garbage) as error:
            log.warning("the connection to the supervisor broke: %s", error)
        finally:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

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
