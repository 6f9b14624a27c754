r"""HTTP for clients of the Docker Engine API: one connection of theirs, and all that may go wrong with it.

    POST /v1.50/exec/91ab/start HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 29\r\n\r\n{"Detach":…
    HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n…\r\n\r\n      and from here on bytes, both ways

h11 reads and writes the text of HTTP; who takes too long with a request is told so and hung up, who does not read is
waited for, at the cost of a few hundred kilobytes. A body that fits into a message travels with the request, a longer
one when the engine asks for it. A client that has closed only its own direction is still answered.
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import select
import socket
import struct
import termios
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol

import h11

from adapters.gateway.line import Line, Lost
from adapters.gateway.sharing import Hall, Wish, unmarked, wish
from adapters.gateway.voice import Voice

log = logging.getLogger(__name__)
LONGEST_HEAD = 64 * 1024
INLINE = 256 * 1024
"""Bytes of a body that is sent with its request."""
_PIECE = 64 * 1024
_IDLE_SECONDS = 900.0
_HEAD_SECONDS = 30.0
_BODY_SECONDS = 300.0
_LOOK_SECONDS = 2.0
_LAST_WORDS_SECONDS = 10.0
_FAREWELL_SECONDS = 2.0
_MOST_UNREAD = 1024 * 1024
_LOOKS, _LOOK_AGAIN_SECONDS = 500, 0.0005
_NOTHING = bytes(4)
_UCRED = struct.Struct("3i")
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus} | {101: b"UPGRADED"}
Connect = Callable[[], Awaitable[Line]]
"""Opens the client's own connection to the engine; raises Lost."""


class Bad(Exception):
    """The request cannot be answered by the engine: `status`, and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def _told(error: h11.ProtocolError) -> str:
    """What is wrong, without the bytes as Python writes them."""
    return str(error).partition(": bytearray(")[0]


class _Gone(Exception):
    """The client hung up."""


class Reader(Protocol):
    """What a client says."""

    async def read(self, size: int, /) -> bytes:
        """Something; nothing at the end."""


class Writer(Protocol):
    """What a client hears."""

    def write(self, data: bytes, /) -> None:
        """Something for it."""

    async def drain(self) -> None:
        """Waits while it is slow."""

    def write_eof(self) -> None:
        """Nothing more for it comes."""

    def close(self) -> None:
        """Hang up."""

    def is_closing(self) -> bool:
        """Whether that was done."""

    def get_extra_info(self, name: str, /) -> Any:
        """`socket`: the connection."""

    @property
    def transport(self) -> asyncio.WriteTransport:
        """What knows how much waits to be heard."""


class Conversation:
    """Everything that one client says on one connection, answered one request after the other."""

    def __init__(self, reader: Reader, writer: Writer, connect: Connect, hall: Hall) -> None:
        self._reader, self._writer, self._connect, self._hall = reader, writer, connect, hall
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=LONGEST_HEAD)
        self._line: Line | None = None
        self._wanted = asyncio.Event()
        self._raw = self._begun = self._bodiless = self._upgrades = self.chunked = False
        self._over: asyncio.Future[bool] | None = None
        self._voice: Voice | None = None

    async def run(self) -> None:
        """Until one side hangs up."""
        try:
            await self._converse()
            self._let_go()
            await self._farewell()
        finally:
            self._let_go()
            self._writer.close()

    async def _converse(self) -> None:
        try:
            while (request := await self._request()) is not None:
                await self._answer(request)
                if self._raw or self._http.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                    break
                self._http.start_next_cycle()
        except Bad as error:
            await self._refuse(error)
        except (h11.RemoteProtocolError, h11.LocalProtocolError) as error:
            await self._refuse(Bad(error.error_status_hint, f"bad request: {_told(error)}"))
        except (_Gone, OSError):
            pass

    def _let_go(self) -> None:
        """Of the engine, and of what was only for this connection."""
        for each in (self._line, self._voice):
            if each is not None:
                each.close()
        self._line = self._voice = None

    async def _farewell(self) -> None:
        """Say that nothing more comes, and hear what the client still says for a moment: to close a connection with
        something unread is to reset it, and the client hears of that in the place of our last words (RFC 9112, 9.6)."""
        if not self._raw and self._http.their_state in (h11.IDLE, h11.DONE, h11.MUST_CLOSE, h11.CLOSED):
            return
        with contextlib.suppress(OSError, TimeoutError):
            self._writer.write_eof()
            async with asyncio.timeout(_FAREWELL_SECONDS):
                while await self._reader.read(_PIECE):
                    pass

    # A request -------------------------------------------------------------------------------------------------------

    async def _request(self) -> h11.Request | None:
        """The head of the next request; None when the client has nothing more to say."""
        waited = _IDLE_SECONDS
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                return event
            if event is not h11.NEED_DATA:
                return None
            try:
                async with asyncio.timeout(waited):
                    data = await self._reader.read(_PIECE)
            except TimeoutError:
                if waited == _IDLE_SECONDS:
                    return None
                raise Bad(408, "the request's head did not come in time") from None
            self._http.receive_data(data)
            waited = _HEAD_SECONDS

    async def _body(self, request: h11.Request) -> bytes | None:
        """All of a short body, None for one that is longer or of unknown length."""
        length = next((int(value) for name, value in request.headers if name == b"content-length"), 0)
        chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
        if chunked or length > INLINE:
            return None
        found = bytearray()
        while (piece := await self._piece()) is not None:
            found += piece
        return bytes(found)

    async def _piece(self) -> bytes | None:
        """The next piece of the body; None at its end. Raises: Bad, h11.RemoteProtocolError, _Gone."""
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if event is not h11.NEED_DATA:
                return None
            if self._http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                await self._write(self._http.send(go_on) or b"")
            try:
                async with asyncio.timeout(_BODY_SECONDS):
                    self._http.receive_data(await self._reader.read(_PIECE))
            except TimeoutError:
                raise Bad(408, "the request's body did not come in time") from None

    # Its answer ------------------------------------------------------------------------------------------------------

    async def _answer(self, request: h11.Request) -> None:
        self._wanted, self._begun, self._bodiless = asyncio.Event(), False, request.method == b"HEAD"
        self._upgrades = any(name == b"upgrade" for name, _ in request.headers)
        body = await self._body(request)
        words = [request.method.decode("ascii"), request.target.decode("latin-1")]
        words += [f"{name.decode('ascii')}: {value.decode('latin-1')}" for name, value in request.headers]
        if request.http_version not in (b"1.0", b"1.1"):
            raise Bad(505, f"bad request: HTTP/{request.http_version.decode('ascii')} is not spoken here")
        if any("\0" in word for word in words):
            raise Bad(400, "bad request: a NUL byte in its head")
        shared = wish(words[0], words[1]) if body == b"" else None
        try:
            if shared is not None:
                return await self._together(self._attend(shared, words), self._watch(), None)
            line = await self._engine()
            line.begin(words, body)
            await self._together(self._pass_on(line), self._feed(line) if body is None else self._watch(), line)
        except Lost as error:
            self._line = None
            if self._begun:
                raise _Gone from error
            raise Bad(503, error.message) from error

    async def _engine(self) -> Line:
        if self._line is None or self._line.lost:
            self._line = await self._connect()
        return self._line

    async def _together(
        self, answering: Coroutine[None, None, bool], hearing: Coroutine[None, None, None], line: Line | None
    ) -> None:
        """Listen to the client while it is answered; what comes of the answer may be a stream in both directions."""
        passing, listening = asyncio.ensure_future(answering), asyncio.ensure_future(hearing)
        try:
            await asyncio.wait({passing, listening}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done() and not passing.done():
                listening.result()  # raises when the client is gone, or has said nonsense
                await passing
            if not passing.result() or line is None:
                return
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await self._hijacked(line)
        finally:
            for task in (passing, listening):
                task.cancel()
            await asyncio.gather(passing, listening, return_exceptions=True)

    async def _hijacked(self, line: Line) -> None:
        """Bytes in both directions, until the engine ends it or the client is gone. Nobody else reads any more."""
        passing = asyncio.ensure_future(self._pass_on(line))
        feeding = asyncio.ensure_future(self._feed_raw(line))
        gone = asyncio.ensure_future(self._until_gone())
        works = (passing, feeding, gone)
        try:
            await asyncio.wait({passing, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not passing.done():
                await self._last_words(line, passing, feeding)
        finally:
            for task in works:
                task.cancel()
            await asyncio.gather(*works, return_exceptions=True)

    async def _last_words(
        self, line: Line, passing: "asyncio.Future[bool]", feeding: "asyncio.Future[None]"
    ) -> None:
        """The client is gone. What it has said before that is still told to the engine, for as long as that wants it; a
        container that has not been started yet gets a moment for that."""
        either: set[asyncio.Future[Any]] = {passing, feeding}
        await asyncio.wait(either, timeout=_LAST_WORDS_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if self._wanted.is_set():
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not passing.done():
            self._line = None
            line.leave()

    async def _pass_on(self, line: Line) -> bool:
        """The engine's frames to the client, to the end of the answer; or to where it becomes a stream in both
        directions: whether it does."""
        told = b""
        while True:
            kind, rest = await line.next()
            if kind == b"O":
                if self._voice is not None:
                    await self._voice.say(rest)
                else:
                    await self._write(self._http.send(h11.Data(data=rest)) or b"")
                line.taken(len(rest))
            elif kind == b"A":
                self._begin(unmarked(rest)[0])
            elif kind == b"H":
                await self._take_over(rest)
                return True
            elif kind == b"I":
                self._wanted.set()
            elif kind == b"E":
                told += rest
                line.taken(len(rest))
            elif kind == b"X":
                await self._end(int(rest), told)
                return False

    async def _attend(self, shared: Wish, words: list[str]) -> bool:
        """Hear what others hear, too, until that ends; what the engine does not share is asked for as everything."""
        self._over = asyncio.get_running_loop().create_future()
        self.chunked = self._http.their_http_version != b"1.0"
        broadcast = self._hall.enter(shared.path, self._connect)
        first = broadcast.join(self, shared)
        try:
            if (head := await broadcast.head()) is not None:
                self._begin(head)
                await self._writer.drain()
                if not first:
                    self._hall.tell(shared.path, _program(self._writer.get_extra_info("socket")), self._connect)
                if not await self._over:
                    raise _Gone
        finally:
            broadcast.leave(self, shared)
            self._over = None
        if head is None:
            line = await self._engine()
            line.begin(words, b"")
            return await self._pass_on(line)
        await self._write(self._http.send(h11.EndOfMessage()) or b"")
        return False

    def hear(self, data: bytes) -> None:
        """A piece of what others hear, too, as h11 would write it; who does not take it is not waited for."""
        if self._begun and self._over is not None and not self._over.done():
            self._writer.write(data)
            if self._writer.transport.get_write_buffer_size() > _MOST_UNREAD:
                self.end(whole=False)

    def end(self, *, whole: bool) -> None:
        """Nothing more of it comes."""
        if self._over is not None and not self._over.done():
            self._over.set_result(whole)

    def _begin(self, head: bytes) -> None:
        status, headers = _head(head)
        headers.append((b"Date", formatdate(usegmt=True).encode()))  # RFC 9110, section 6.6.1
        self._begun = True
        reason = _REASONS.get(status, b"")
        data = self._http.send(h11.Response(status_code=status, headers=headers, reason=reason)) or b""
        self._writer.write(data)

    async def _take_over(self, head: bytes) -> None:
        """The head of a hijacked answer is written as it is: from here on there is no HTTP on this connection."""
        status, headers = _head(head)
        self._begun = self._raw = True
        self._voice = Voice(self._writer)
        await self._voice.begin()
        lines = [b"HTTP/1.1 %d %b" % (status, _REASONS.get(status, b"OK")), *(b"%b: %b" % pair for pair in headers)]
        await self._voice.say(b"\r\n".join(lines) + b"\r\n\r\n")
        await _taken(self._writer.get_extra_info("socket"))

    async def _end(self, status: int, told: bytes) -> None:
        if self._raw:
            return
        if not self._begun:
            message = told.decode("utf-8", "replace").strip().removeprefix("lading: ")
            raise Bad(500, message or "the engine has failed")
        if status:
            raise _Gone  # half of an answer must not look like a whole one
        await self._write(self._http.send(h11.EndOfMessage()) or b"")

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    # The client meanwhile --------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Notice that the client hangs up; what it says already belongs to the next request, or to a stream that this
        one asks for: then it is still to be told."""
        while len(self._http.trailing_data[0]) <= LONGEST_HEAD:
            try:
                data = await self._reader.read(_PIECE)
            except OSError:
                if not (self._upgrades and self._http.trailing_data[0]):
                    raise
                return
            if not data:
                return None if self._upgrades and self._http.trailing_data[0] else await self._until_gone()
            self._http.receive_data(data)

    async def _feed(self, line: Line) -> None:
        """The body, when the engine asks for it."""
        await self._wanted.wait()
        try:
            while (piece := await self._piece()) is not None:
                for at in range(0, len(piece), _PIECE):
                    await line.stream(piece[at:at + _PIECE])
        except (Bad, h11.RemoteProtocolError) as error:
            line.end_stream(error.message if isinstance(error, Bad) else f"bad request: {_told(error)}")
            return
        line.end_stream()
        await self._watch()

    async def _feed_raw(self, line: Line) -> None:
        """What the client says, and first what it has said already. One that is gone without a word is not asked."""
        connection = self._writer.get_extra_info("socket")
        data = bytes(self._http.trailing_data[0]) or await self._reader.read(_PIECE)
        if data or not _hung_up(connection):
            await self._wanted.wait()
        while data:
            await line.stream(data)
            data = await self._reader.read(_PIECE)
        if not _hung_up(connection):
            line.end_stream()

    async def _until_gone(self) -> None:
        """The client says no more: is it only that, or does it not hear, either? Raises: _Gone."""
        connection = self._writer.get_extra_info("socket")
        while not self._writer.is_closing() and not _hung_up(connection):
            await asyncio.sleep(_LOOK_SECONDS)
        raise _Gone

    async def _refuse(self, error: Bad) -> None:
        """The last answer on this connection."""
        body = json.dumps({"message": error.message}).encode() + b"\n"
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
        with contextlib.suppress(h11.LocalProtocolError, OSError):
            data = self._http.send(h11.Response(
                status_code=error.status, headers=headers, reason=_REASONS.get(error.status, b""))) or b""
            data += b"" if self._bodiless else self._http.send(h11.Data(data=body)) or b""
            await self._write(data + (self._http.send(h11.EndOfMessage()) or b""))


def _head(words: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
    """`200\\0name: value\\0…`."""
    status, *lines = words.split(b"\0")
    return int(status), [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


async def _taken(connection: socket.socket) -> None:
    """Returns when the client has read what it was sent, or does not hurry: docker-py reads a head through a buffer
    that it throws away, with whatever came along. What the other end has not read yet is told by SIOCOUTQ (unix(7))."""
    for _ in range(_LOOKS):
        if connection.fileno() < 0 or fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, _NOTHING) == _NOTHING:
            return
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)


def credentials(connection: socket.socket) -> tuple[int, int, int]:
    """Pid, uid and gid of who has connected, as the kernel says (SO_PEERCRED, unix(7))."""
    pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return pid, uid, gid


def _program(connection: socket.socket) -> Hashable:
    """The program at the other end as the kernel knows it; where it does not, nothing is equal to it."""
    if connection.family != socket.AF_UNIX:
        return object()
    return credentials(connection)


def _hung_up(connection: socket.socket) -> bool:
    """Whether the other end is closed in both directions: a half-closed one is not reported as hung up (poll(2))."""
    if connection.fileno() < 0:
        return True
    look = select.poll()
    look.register(connection.fileno(), 0)
    return bool(look.poll(0))
