"""Servers whose files are not asyncio's, and whose ends nobody waits for."""

import asyncio
import os
import socket
from pathlib import Path

from adapters.listening import served


async def test_clients_do_not_hold_up_the_end_and_the_file_is_not_theirs_to_delete(tmp_path: Path) -> None:
    """Python 3.12 waits for all connections to end, and 3.13 deletes the file; neither may matter."""
    place = tmp_path / "s"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(place))
    let_in = asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        let_in.set()
        await reader.read()
        writer.close()

    async with asyncio.timeout(5):
        async with served(listening, connected):
            _, writer = await asyncio.open_unix_connection(place)
            await let_in.wait()
        assert place.is_socket()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as late:
            assert late.connect_ex(os.fspath(place)) != 0
        writer.close()
        await writer.wait_closed()
