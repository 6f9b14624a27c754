"""Connections opened in advance: a client only gets one that somebody is at the other end of."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from adapters.control.upstream import Pool


@dataclass(frozen=True)
class Place:
    """Where a server is."""

    port: int
    host: str = "127.0.0.1"
    user: str = "proxy"
    password: str = "word"
    tls: bool = False
    server_name: str = ""


class Server:
    """Greets, and lets everybody in; `die` ends it as SIGKILL would: at once, without a word to any loop."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.place = Place(self._listener.getsockname()[1])
        self.connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def die(self) -> None:
        """Hang up on everybody."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            with suppress(OSError):  # it has gone again
                connection.sendall(b"INFO {}\r\n")
                heard = b""
                while b"PING" not in heard and (piece := connection.recv(4096)):
                    heard += piece
                connection.sendall(b"PONG\r\n")


@asynccontextmanager
async def filled(servers: list[Server], size: int) -> AsyncIterator[Pool]:
    """A pool that is full of connections to the last one of these."""

    async def locate(role: str) -> Place:
        return servers[-1].place

    pool = Pool(locate, size)
    pool.start()
    try:
        async with asyncio.timeout(5):
            while len(pool._idle) < size:
                await asyncio.sleep(0.002)
        yield pool
    finally:
        await pool.close()
        servers[-1].die()


async def test_a_connection_whose_server_has_just_died_is_given_to_nobody() -> None:
    """The loop may have had no time to hear of it; what a client says first would be lost."""
    servers = [Server()]
    async with filled(servers, 3) as pool:
        servers[0].die()
        servers.append(Server())
        assert pool.take() is None
        async with asyncio.timeout(5):
            upstream = await pool.wait()
        assert not upstream.hung_up
        upstream.close()


async def test_a_connection_is_given_to_one_client_only() -> None:
    """In the order in which they were opened, and never again."""
    servers = [Server()]
    async with filled(servers, 3) as pool:
        taken = [pool.take() for _ in range(3)]
        assert len({id(upstream) for upstream in taken}) == 3
        assert None not in taken
        for upstream in taken:
            assert upstream is not None
            upstream.close()
