"""What is said on a hijacked connection, past asyncio: its transport, once it could not write, also forgets what the
client has said before it went, read or not. Here nothing comes of that but silence.
"""

import asyncio
import socket
from typing import Any, Protocol

_PAUSE = 0.0005


class Writer(Protocol):
    """What a client hears until then."""

    def write(self, data: bytes, /) -> None:
        """Something for it."""

    async def drain(self) -> None:
        """Waits while it is slow."""

    def get_extra_info(self, name: str, /) -> Any:
        """`socket`: the connection."""

    @property
    def transport(self) -> asyncio.WriteTransport:
        """What knows how much waits to be heard."""


class Voice:
    """Speaks to one client until `close`; `unheard` once that has become impossible."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._socket: socket.socket | None = None
        self.unheard = False

    async def begin(self) -> None:
        """Returns when everything that was written before is on its way. With TLS, whose bytes are made elsewhere, the
        writer goes on."""
        if not isinstance(self._writer, asyncio.StreamWriter):
            return
        while self._writer.transport.get_write_buffer_size():
            await asyncio.sleep(_PAUSE)
        try:
            self._socket = self._writer.get_extra_info("socket").dup()
        except OSError:
            self.unheard = True

    async def say(self, data: bytes) -> None:
        """Waits while the client is slow; to one that has gone nothing is said."""
        if self.unheard:
            return
        try:
            if self._socket is not None:
                await asyncio.get_running_loop().sock_sendall(self._socket, data)
            else:
                self._writer.write(data)
                await self._writer.drain()
        except OSError:  # an ssl.SSLError is one
            self.unheard = True

    def close(self) -> None:
        """Say no more."""
        if self._socket is not None:
            self._socket.close()
