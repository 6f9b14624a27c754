"""The line from nats-py to the server: waits while the server is down, shows the password only to the right one."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from urllib.parse import ParseResult

from nats.aio.transport import TcpTransport

from adapters.nats.access import Access

Locate = Callable[[str], Awaitable[Access]]


class Line(TcpTransport):
    """A transport whose address is asked for anew at each connect: `uri` is what nats-py believes, and is ignored.

    nats-py asks a transport for its truth to see whether it may use it; a fresh one of the base class says no and would
    be replaced.
    """

    def __init__(self, locate: Locate, role: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # nats-py annotates in part
        self._locate, self._role = locate, role
        self._access = Access("", 0)
        self._greeted = False

    def __bool__(self) -> bool:
        return True

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """Wait for the server to be up, then connect. Raises OSError, TimeoutError."""
        self._access, self._greeted = await self._locate(self._role), False
        opening = asyncio.open_connection(self._access.host, self._access.port, limit=buffer_size)
        reader, writer = await asyncio.wait_for(opening, connect_timeout)
        self._bare_io_reader = self._io_reader = reader
        self._bare_io_writer = self._io_writer = writer

    async def readline(self) -> bytes:
        """A line; the first one is the server's greeting, and the last chance to hang up. Raises ConnectionError."""
        line: bytes = await super().readline()  # type: ignore[no-untyped-call]
        if not self._greeted:
            check_greeting(line, self._access)
            self._greeted = True
        return line

    def writelines(self, payload: list[bytes]) -> None:
        """As one piece: asyncio's own, in Python 3.12 and 3.13 before it was mended, never says that its buffer is
        full, and whatever is published while the server stands still would be kept in memory."""
        self.write(b"".join(payload))  # type: ignore[no-untyped-call]

    def abort(self) -> None:
        """Cut the line without waiting for anybody."""
        transport = self._bare_io_writer.transport if self._bare_io_writer is not None else None
        # asyncio's transports cannot be aborted once they are closed and have nothing more to send.
        if transport is not None and (not transport.is_closing() or transport.get_write_buffer_size()):
            transport.abort()


def check_greeting(line: bytes, access: Access) -> None:
    """Raises ConnectionError unless `line` is the INFO of the server that `access` means."""
    try:
        info = json.loads(line.removeprefix(b"INFO "))
        name, tls = info.get("server_name"), bool(info.get("tls_required"))
    except (ValueError, AttributeError) as error:
        raise ConnectionError("the bus does not greet as a nats-server does") from error
    if access.server_name and name != access.server_name:
        raise ConnectionError("a stranger listens in the place of nats-server")
    if access.tls and not tls:
        raise ConnectionError("the bus does not speak TLS")


def tls_context(access: Access) -> ssl.SSLContext | None:
    """What nats-py needs for a `tls://` address."""
    return ssl.create_default_context() if access.tls else None
