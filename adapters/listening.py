"""Servers on Unix sockets, alike under every version of Python.

Since 3.13 asyncio deletes the socket's file when the server is closed (`cleanup_socket`), unless told not to: here the
files belong to whoever has bound them, and may have been replaced meanwhile. Since 3.12 waiting for the end of a server
means waiting for the end of every connection as well: nobody here does.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

KEEP_FILE: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
"""For `loop.create_unix_server` and `asyncio.start_unix_server`."""

Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_LIMIT = 1 << 16  # asyncio's own


@asynccontextmanager
async def served(listening: socket.socket, connected: Connected, *, limit: int = _LIMIT) -> AsyncIterator[None]:
    """Clients are let in as long as the block lasts; those who are there then stay."""
    server = await asyncio.start_unix_server(connected, sock=listening, limit=limit, **KEEP_FILE)
    try:
        yield
    finally:
        server.close()
