"""WebSockets (RFC 6455) over a hijacked connection: binary messages both ways, pings answered, fragments joined.

The client masks what it sends, the server does not; more than `MOST` bytes in one message end the conversation.
"""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator

from domain.errors import Refused
from workers.gateway.call import Duplex

MOST = 1024 * 1024
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_FINAL, _MASKED = 0x80, 0x80


def accepted(key: str) -> str:
    """What proves that we speak it."""
    return base64.b64encode(hashlib.sha1(key.strip().encode() + _MAGIC).digest()).decode()


class WebSocket(Duplex):
    """A connection whose bytes travel in messages."""

    def __init__(self, duplex: Duplex) -> None:
        self._duplex = duplex
        self._closed = False

    @property
    def closed(self) -> asyncio.Event:
        """Set when the client is gone."""
        return self._duplex.closed

    @property
    def deserted(self) -> bool:
        """Whether it went by itself."""
        return self._duplex.deserted

    async def begin(self) -> None:
        """From now on it is a stream."""
        await self._duplex.begin()

    async def read(self) -> AsyncIterator[bytes]:
        """What the client sends, until it closes. Raises: Refused for what is no WebSocket."""
        buffer = bytearray()
        async for piece in self._duplex.read():
            buffer += piece
            while (found := _message(buffer)) is not None:
                kind, data = found
                if kind == _CLOSE:
                    return
                if kind == _PING:
                    await self._send(_PONG, data)
                elif kind in (_CONTINUATION, _TEXT, _BINARY) and data:
                    yield data

    async def write(self, data: bytes) -> None:
        """One message."""
        await self._send(_BINARY, data)

    async def close(self) -> None:
        """Say that nothing more comes. Twice is fine."""
        if not self._closed:
            self._closed = True
            await self._send(_CLOSE, (1000).to_bytes(2, "big"))

    async def _send(self, kind: int, data: bytes) -> None:
        await self._duplex.write(bytes([_FINAL | kind]) + _length(len(data)) + data)


def _length(size: int) -> bytes:
    if size < 126:
        return bytes([size])
    return b"\x7e" + size.to_bytes(2, "big") if size < 1 << 16 else b"\x7f" + size.to_bytes(8, "big")


def _message(buffer: bytearray) -> tuple[int, bytes] | None:
    """The first message, taken off the buffer; None while it is not whole. Raises: Refused."""
    if len(buffer) < 2:
        return None
    size, at = buffer[1] & 0x7F, 2
    if size >= 126:
        width = 2 if size == 126 else 8
        if len(buffer) < at + width:
            return None
        size, at = int.from_bytes(buffer[at:at + width], "big"), at + width
    if not buffer[1] & _MASKED or size > MOST:
        raise Refused("the client does not speak as a WebSocket does")
    if len(buffer) < at + 4 + size:
        return None
    mask, data = buffer[at:at + 4], buffer[at + 4:at + 4 + size]
    kind = buffer[0] & 0x0F
    whole = int.from_bytes(data, "big") ^ int.from_bytes((bytes(mask) * (size // 4 + 1))[:size], "big")
    del buffer[:at + 4 + size]
    return kind, whole.to_bytes(size, "big")
