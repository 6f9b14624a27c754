"""A NATS client of a few lines, which shows what the server really says."""

import asyncio
import json
from types import TracebackType

from adapters.nats.access import Access


class Wire:
    """A logged-in connection: `async with Wire(access) as wire`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self.answered = False

    async def __aenter__(self) -> "Wire":
        self._reader, self._writer = await asyncio.open_connection(self._access.host, self._access.port)
        await self._reader.readline()
        options = {"user": self._access.user, "pass": self._access.password, "verbose": False, "headers": True,
                   "no_responders": True, "protocol": 1}
        self._writer.write(f"CONNECT {json.dumps(options)}\r\n".encode())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        self._writer.close()

    async def say(self, text: str) -> list[str]:
        """Send it, and return every line before the answer to a PING; `answered` is whether that came."""
        self._writer.write(text.encode() + b"PING\r\n")
        lines = []
        async with asyncio.timeout(5):
            while (line := await self._line()) and line != "PONG\r\n":
                if line == "PING\r\n":
                    self._writer.write(b"PONG\r\n")
                elif line.strip():
                    lines.append(line.strip())
        self.answered = line == "PONG\r\n"
        return lines

    async def _line(self) -> str:
        """The next line; none when the server hung up, which it may do with a reset."""
        try:
            return (await self._reader.readline()).decode()
        except ConnectionError:
            return ""
