"""A socket of a program in a container that wants to ask somebody's agent of ssh."""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from adapters.listening import served
from domain.agents import FAILURE, LARGEST, Ask, allowed
from domain.errors import LadingError, StorageError

_MOST = 32
"""Connections at a time; programs open one for each use of a key."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@asynccontextmanager
async def agent_socket(
    folder: Path, mark: str, ask: Ask, *, mode: int = 0o600, uid: int = 0, gid: int = 0
) -> AsyncIterator[Path]:
    """A socket in `folder`, with a name that begins with `mark`, on which `ask` answers for as long as the block lasts.

    Raises: StorageError.
    """
    path = folder / f"{mark}{secrets.token_hex(8)}"
    listening = _bound(path, mode, uid, gid)
    try:
        async with served(listening, _Clients(ask).serve):
            yield path
    finally:
        listening.close()
        path.unlink(missing_ok=True)


def _bound(path: Path, mode: int, uid: int, gid: int) -> socket.socket:
    """By way of its folder's descriptor: an address has room for 108 bytes only. See unix(7)."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    folder = -1
    try:
        folder = os.open(path.parent, _DIRECTORY)
        listening.bind(f"/proc/self/fd/{folder}/{path.name}")
        path.chmod(mode)
        os.chown(path, uid, gid)
    except OSError as error:
        listening.close()
        raise StorageError(f"a socket for an agent cannot be made: {error.strerror}") from error
    finally:
        if folder >= 0:
            os.close(folder)
    return listening


class _Clients:
    """Everybody who has connected: programs of a build, which are nobody's friends."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it is closed."""
        self._open += 1
        try:
            if self._open <= _MOST:
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    await self._answer(reader, writer)
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readexactly(4)
            size = int.from_bytes(head, "big")
            if not 0 < size <= LARGEST:
                return
            message = head + await reader.readexactly(size)
            writer.write(await self._asked(message) if allowed(message) else FAILURE)
            await writer.drain()

    async def _asked(self, message: bytes) -> bytes:
        try:
            return await self._ask(message)
        except LadingError:
            return FAILURE  # the client is gone, or its agent is
