"""The daemon's side of a loan: descriptors of the supervisor's, used as if they were ours, until we close them.

`ask` is a question on a connection of its own, because descriptors come with the answer. `BorrowedInput` and
`BorrowedOutput` do with them what the ports promise.
"""

import array
import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from errno import ENOSYS
from pathlib import Path

from adapters.kernel import terminals
from adapters.kernel.supervisor import handover, wire
from adapters.kernel.supervisor.wire import Message
from domain.errors import KernelError, Refused, Unavailable
from domain.ports.logs import LogFrame

_PAUSES = (0.02, 0.1, 0.5, 1.0, 2.0)
_MOST_FDS = 8
_CHUNK = 1 << 18
_LARGEST_SIZE = (1 << 16) - 1
_STREAMS = {"stdout": 1, "terminal": 1, "stderr": 2}


async def ask(path: Path, message: Message) -> tuple[Message, list[int]]:
    """The answer and its descriptors, from this warden or the next; asked again when a connection breaks, so only for
    what may be done twice. Raises: Unavailable, KernelError for a warden that does not know what is asked."""
    refusals = 0
    for pause in _PAUSES:
        try:
            return await _ask_once(str(path), message)
        except ConnectionResetError:
            refusals += 1
        except (OSError, wire.Garbage):
            refusals = 0
        await asyncio.sleep(pause)
    if refusals == len(_PAUSES):
        raise KernelError("the supervisor is of an older version and cannot do this", errno=ENOSYS,
                          stage=str(message["op"]), hint="it is replaced when no container runs and it is shut down")
    raise Unavailable("the supervisor does not answer")


async def _ask_once(path: str, message: Message) -> tuple[Message, list[int]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as connection:
        connection.connect(path)  # to a local listener: at once or not at all
        await asyncio.get_running_loop().sock_sendall(connection, wire.pack({"n": 0, **message}))
        return await _receive(connection)


async def _receive(connection: socket.socket) -> tuple[Message, list[int]]:
    splitter, fds = wire.Splitter(), array.array("i")
    try:
        while True:
            await _readable(connection.fileno())
            data, ancillary, _, _ = connection.recvmsg(
                1 << 18, socket.CMSG_SPACE(_MOST_FDS * fds.itemsize), socket.MSG_CMSG_CLOEXEC)
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds.frombytes(content[:len(content) - len(content) % fds.itemsize])
            if not data:
                raise ConnectionResetError
            for answer in splitter.feed(data):
                return answer, fds.tolist()
    except BaseException:
        handover.close(fds.tolist())
        raise


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    news: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _set, news)
    try:
        await news
    finally:
        loop.remove_reader(fd)


def _set(news: "asyncio.Future[None] | None") -> None:
    if news is not None and not news.done():
        news.set_result(None)


class BorrowedInput:
    """See `domain.ports.Input`. `end` is called for the wish to end the input for everybody, `gone` once, when this one
    has been closed."""

    def __init__(self, fd: int, *, terminal: bool, end: Callable[[], Awaitable[None]],
                 gone: Callable[["BorrowedInput"], None]) -> None:
        self._fd, self._terminal, self._end, self._gone = fd, terminal, end, gone
        self._one_writes = asyncio.Lock()
        self._room: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        """See the port."""
        async with self._one_writes:
            rest = memoryview(data)
            while rest:
                rest = rest[await self._write_some(rest[:_CHUNK]):]

    async def end(self) -> None:
        """See the port."""
        if not self._terminal and self._fd >= 0:
            await self._end()

    async def resize(self, rows: int, cols: int) -> None:
        """See the port."""
        if self._terminal and self._fd >= 0:
            with suppress(OSError):  # it has hung up
                terminals.resize(self._fd, *within_limits(rows, cols))

    def close(self) -> None:
        """See the port."""
        if self._fd < 0:
            return
        self._stop_waiting()
        os.close(self._fd)
        self._fd = -1
        self._gone(self)

    async def _write_some(self, data: memoryview) -> int:
        while self._fd >= 0:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:
                await self._wait_for_room()
            except OSError as error:
                raise Refused("its process is gone") from error
        raise Refused("its input has ended")

    async def _wait_for_room(self) -> None:
        loop = asyncio.get_running_loop()
        self._room = loop.create_future()
        loop.add_writer(self._fd, self._stop_waiting)
        try:
            await self._room
        finally:
            self._stop_waiting()

    def _stop_waiting(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            asyncio.get_running_loop().remove_writer(self._fd)
            _set(room)


class BorrowedOutput:
    """What an exec writes. `name` is what the supervisor calls the exec, `asking` counts who is about to get it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asking = 0
        self.taken = False
        self._fds: dict[int, int] = {}  # descriptor → stream
        self._ended = False
        self._news: asyncio.Future[None] | None = None

    @property
    def open(self) -> bool:
        """Whether something may still come."""
        return bool(self._fds)

    @property
    def held(self) -> bool:
        """Whether the process is still looked after from here: its input must not end because it says no more."""
        return self.open or self.asking > 0 or (self.taken and not self._ended)

    def give(self, fds: dict[str, int]) -> None:
        """Descriptors by name; a second set of them is closed."""
        if self._fds or self.taken:
            return handover.close(list(fds.values()))
        self._fds = {fd: _STREAMS[name] for name, fd in fds.items()}
        return None

    def end(self) -> None:
        """The process is dead: what is there is all there will be, whoever else has the other end."""
        self._ended = True
        self._wake()

    def close(self) -> None:
        """Read no more."""
        for fd in list(self._fds):
            self._close(fd)

    async def frames(self) -> AsyncIterator[LogFrame]:
        """All of it, at the pace of the one who asks, to the end of the process: one that has closed its outputs may
        still want its input."""
        while self._fds or not self._ended:
            found = False
            for fd, stream in list(self._fds.items()):
                data = self._read(fd)
                found = found or bool(data)
                if data:
                    yield LogFrame(time.time_ns(), stream, data)
            if not found and self._ended:
                self.close()
            elif not found:
                await self._wait()

    def _read(self, fd: int) -> bytes:
        """What is there; nothing if that is nothing at the moment, or if it has ended and is closed now."""
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""  # a terminal that has hung up
        if not data:
            self._close(fd)
        return data

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._news = loop.create_future()
        waiting = list(self._fds)
        for fd in waiting:
            loop.add_reader(fd, self._wake)
        try:
            await self._news
        finally:
            for fd in self._fds.keys() & waiting:  # one that was closed is not watched any more
                loop.remove_reader(fd)
            self._news = None

    def _wake(self) -> None:
        _set(self._news)

    def _close(self, fd: int) -> None:
        del self._fds[fd]
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)
        self._wake()


def within_limits(rows: int, cols: int) -> tuple[int, int]:
    """A size as a terminal can have it."""
    return min(max(rows, 0), _LARGEST_SIZE), min(max(cols, 0), _LARGEST_SIZE)
