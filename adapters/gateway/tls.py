"""TLS over streams, with directions that end one by one.

asyncio's own TLS ends a whole connection when the peer has nothing more to say (close_notify), but a hijacked
connection goes on in the other direction, for as long as a command writes. So OpenSSL works on memory here, and the
streams carry what it makes (RFC 8446, section 6.1).
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

_PIECE = 64 * 1024


class TlsStream:
    """Reads and writes like a pair of asyncio's streams, over such a pair; made by `accept`."""

    _over = False

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
        self._reader, self._writer = reader, writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    @classmethod
    async def accept(
        cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
    ) -> "TlsStream":
        """Raises: OSError (which ssl.SSLError is) when the client cannot prove itself."""
        stream = cls(reader, writer, context)
        try:
            while True:
                try:
                    stream._tls.do_handshake()
                    return stream
                except ssl.SSLWantReadError:
                    await stream._exchange()
        finally:
            stream._send()

    @property
    def certificate(self) -> Mapping[str, Any]:
        """The client's, as `SSLObject.getpeercert` tells it."""
        return self._tls.getpeercert() or {}

    async def read(self, size: int) -> bytes:
        """Something from the client; nothing when it has said that nothing more comes. After `write_eof` it is only
        there to be thrown away. Raises: OSError."""
        if self._over:
            return await self._reader.read(size)
        while True:
            try:
                data = self._tls.read(size)
                self._send()
                return data
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                await self._exchange()

    def write(self, data: bytes) -> None:
        """Something for the client. Raises: OSError."""
        if data:
            self._tls.write(data)
            self._send()

    async def drain(self) -> None:
        """Waits while the client is slow."""
        await self._writer.drain()

    def write_eof(self) -> None:
        """Nothing more comes from here."""
        self._over = True
        try:
            self._tls.unwrap()
        except (ssl.SSLError, ValueError):
            pass  # the client has not said that it is done, too
        self._send()

    def close(self) -> None:
        """Nothing more comes from here, and nothing more is read."""
        self.write_eof()
        self._writer.close()

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self._writer.is_closing()

    def get_extra_info(self, name: str) -> Any:
        """As asyncio's."""
        return self._writer.get_extra_info(name)

    @property
    def transport(self) -> asyncio.WriteTransport:
        """What knows how much waits to be heard."""
        return self._writer.transport

    async def _exchange(self) -> None:
        """What OpenSSL has to say goes out, and what the client says comes in: who does not read our output may still
        have something to say."""
        if self._send():
            await self._writer.drain()
        data = await self._reader.read(_PIECE)
        if not data:
            raise ConnectionResetError("the client hung up without a word")
        self._incoming.write(data)

    def _send(self) -> bool:
        """Whether there was anything to say."""
        if (data := self._outgoing.read()) and not self._writer.is_closing():
            self._writer.write(data)
        return bool(data)
