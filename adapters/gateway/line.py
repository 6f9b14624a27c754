r"""A client's own connection to the engine's socket: requests out, frames of their answers in.

    FOR TOKEN {"via":"socket","user":"ann","uid":1000,"gid":1000,"pid":4242}\r\n
    CONNECT {"verbose":false}\r\nSUB _INBOX.@.1 1\r\n
    PUB lading.@.call.@ _INBOX.@.1 96\r\n1\0api=1\0session=1\0\0GET\0/_ping\0Host: docker\0\0\0\r\n

One request at a time. Neither side has more than `WINDOW` bytes of a stream on the way.
"""

import asyncio
import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import cast

from domain.errors import Unavailable

WINDOW = 1024 * 1024
_MOST_LINE = 4096
_ACKNOWLEDGE = 128 * 1024
Person = Mapping[str, str | int]
"""Who the client is: `via`, `user`, `uid`, `gid`, `pid`."""
Frame = tuple[bytes, bytes]
"""The kind of a frame (`A H O E I X`) and the rest of it."""


class Lost(Unavailable):
    """The engine has hung up, or does not answer."""


class Line(asyncio.Protocol):
    """One connection; made by `connect`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._frames: deque[Frame] = deque()
        self._news = asyncio.Event()
        self._reason = ""
        self._session = 0
        self._sent = self._taken = 0
        self._room = asyncio.Event()
        self._heard = self._told = 0

    @classmethod
    async def connect(cls, path: str, token: str, person: Person) -> "Line":
        """Raises: Lost."""
        try:
            _, line = await asyncio.get_running_loop().create_unix_connection(cls, path)
        except OSError as error:
            raise Lost(f"the engine does not listen at {path}: {error.strerror or error}") from error
        said = json.dumps(dict(person), separators=(",", ":"))
        line._write(f'FOR {token} {said}\r\nCONNECT {{"verbose":false}}\r\nSUB _INBOX.@.1 1\r\n'.encode())
        return line

    @property
    def lost(self) -> bool:
        """Whether another request needs another connection."""
        return bool(self._reason)

    def begin(self, words: Sequence[str], body: bytes | None) -> None:
        """Ask; `words` are method, target and header lines, `body` None is one that the engine will ask for."""
        self._session += 1
        self._sent = self._taken = self._heard = self._told = 0
        head = f"1\0api=1\0session={self._session}\0" + ("" if body is not None else "body=stream\0") + "\0"
        text = head + "".join(f"{word}\0" for word in words) + "\0"
        payload = text.encode("utf-8", "surrogateescape") + (body or b"") + b"\0"
        self._write(b"PUB lading.@.call.@ _INBOX.@.1 %d\r\n%b\r\n" % (len(payload), payload))

    @property
    def waiting(self) -> int:
        """How many frames have come and were not taken."""
        return len(self._frames)

    @property
    def ends(self) -> bool:
        """Whether the next frame is the last one."""
        return bool(self._frames) and self._frames[0][0] == b"X"

    async def next(self) -> Frame:
        """The next frame of the answer. Raises: Lost."""
        while not self._frames:
            if self._reason:
                raise Lost(self._reason)
            self._news.clear()
            await self._news.wait()
        return self._frames.popleft()

    def taken(self, size: int) -> None:
        """So many bytes of the answer have reached the client."""
        self._heard += size
        if self._heard - self._told >= _ACKNOWLEDGE:
            self._told = self._heard
            self._say(b"w%d" % self._heard)

    async def stream(self, piece: bytes) -> None:
        """A piece of what the engine has asked for; waits while it takes no more. Raises: Lost."""
        while self._sent - self._taken + len(piece) > WINDOW:
            if self._reason:
                raise Lost(self._reason)
            self._room.clear()
            await self._room.wait()
        self._sent += len(piece)
        self._say(b"d" + piece)

    def end_stream(self, failure: str = "") -> None:
        """The client says no more, or (with a reason) broke off."""
        self._say(b"f" + failure.encode() if failure else b"e")

    def leave(self) -> None:
        """Hang up once everything that was said here is on its way."""
        if self._transport is not None:
            self._transport.close()
        self._fail("the client went away")

    def close(self) -> None:
        """Hang up: what is being done for the client is called off."""
        if self._transport is not None:
            self._transport.abort()
        self._fail("the client went away")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The engine greets, and is answered without reading that."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Some of what the engine says."""
        self._buffer += data
        while self._take():
            pass

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing more comes."""
        self._fail("the engine went away")

    def _take(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > _MOST_LINE:
                self._break("the engine speaks another protocol")
            return False
        words = bytes(self._buffer[:end]).split()
        if words[:1] in ([b"MSG"], [b"HMSG"]):
            size = int(words[-1])
            if len(self._buffer) < end + 2 + size + 2:
                return False
            head = int(words[-2]) if words[0] == b"HMSG" else 0
            payload = bytes(self._buffer[end + 2 + head:end + 2 + size])
            del self._buffer[:end + 2 + size + 2]
            self._hear(payload, answered=not head)
            return True
        line = bytes(self._buffer[:end])
        del self._buffer[:end + 2]
        if line[:4] == b"PING":
            self._write(b"PONG\r\n")
        elif line[:4] == b"-ERR":
            self._break(line[5:].decode("ascii", "replace").strip("'"))
        return True

    def _hear(self, payload: bytes, *, answered: bool) -> None:
        kind, rest = payload[:1], payload[1:]
        if not answered or not kind:
            self._break("the engine does not answer at the moment")  # the bus says that nobody listens
        elif kind == b"w":
            self._taken = int(rest)
            self._room.set()
        else:
            self._frames.append((kind, rest))
            self._news.set()

    def _say(self, data: bytes) -> None:
        self._write(b"PUB lading.@.io.@.%d %d\r\n%b\r\n" % (self._session, len(data), data))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _break(self, reason: str) -> None:
        self._fail(reason)
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, reason: str) -> None:
        self._reason = self._reason or reason
        self._news.set()
        self._room.set()
