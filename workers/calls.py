"""One call of the thin client as the console's verbs see it, and its answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from adapters.control.console import Call as Wire
from domain.redact import redacted
from workers.console.dispatch import dispatch
from workers.console.engine import Engine
from workers.mover import Caller

if TYPE_CHECKING:
    from workers.gateway.dispatch import Api


class TerminalCall:
    """Implements `workers.console.call.Call` over the control socket's.

    The kernel shows the command line of the interpreter; what was typed are the words of the call itself.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        actor = replace(wire.actor, command=f"lading {redacted(wire.argv)}".strip())
        self.who = Caller(actor, wire.call_id)
        self.argv: Sequence[str] = wire.argv
        self.terminal = wire.terminal
        self.cwd = wire.cwd

    @property
    def closed(self) -> asyncio.Event:
        """Set when the client is gone."""
        return self._wire.closed

    @property
    def deserted(self) -> bool:
        """Whether the client went by itself."""
        return self._wire.deserted

    async def out(self, data: bytes) -> None:
        """To stdout."""
        await self._wire.out(data)

    async def err(self, data: bytes) -> None:
        """To stderr."""
        await self._wire.err(data)

    async def getenv(self, names: Sequence[str]) -> dict[str, str]:
        """The client's variables."""
        return await self._wire.getenv(names)

    def open_file(self, path: str) -> AsyncIterator[bytes]:
        """A file of the client."""
        return self._wire.open_file(path)

    async def lend_file(self, path: str) -> int:
        """A file of the client, lent."""
        return await self._wire.lend_file(path)

    def stdin(self) -> AsyncIterator[bytes]:
        """The client's standard input."""
        return self._wire.stdin()

    async def create_file(self, path: str, mode: int, content: bytes) -> None:
        """A new file of the client."""
        await self._wire.create_file(path, mode, content)

    async def unlink(self, path: str) -> None:
        """Delete a file of the client."""
        await self._wire.unlink(path)

    async def look(self, path: str, *, follow: bool) -> tuple[str, str]:
        """What one of the client's paths is."""
        return await self._wire.look(path, follow=follow)

    async def look_all(self, paths: Sequence[tuple[str, bool]]) -> list[tuple[str, str]]:
        """The same of several."""
        return await self._wire.look_all(paths)

    @property
    def is_near(self) -> bool:
        """Whether the client and its files are on this machine."""
        return self._wire.is_near

    def pack(
        self, path: str, name: str, options: str, ignored: str = "", known: bytes | None = None
    ) -> AsyncIterator[bytes]:
        """A tree of the client as a tar."""
        return self._wire.pack(path, name, options, ignored, known)

    async def spread(self, directory: str, content: AsyncIterator[bytes], options: str) -> tuple[int, int]:
        """A tar as a tree of the client."""
        return await self._wire.spread(directory, content, options)

    async def write_file(
        self, path: str, mode: int, content: AsyncIterator[bytes], *, parents: bool = False
    ) -> None:
        """A file of the client, whole or not at all."""
        await self._wire.write_file(path, mode, content, parents=parents)

    async def ask(self, text: str, *, hidden: bool = False) -> str:
        """A line from the person on the terminal."""
        return await self._wire.ask(text, hidden=hidden)

    async def agent(self, path: str, message: bytes) -> bytes:
        """An answer of one of the client's agents."""
        return await self._wire.agent(path, message)

    async def credential_helper(self, name: str, verb: str, text: str) -> bytes:
        """A program of the client's."""
        return await self._wire.credential_helper(name, verb, text)

    async def forward_signals(self, callback: Callable[[int], Awaitable[None]]) -> None:
        """Signals go to the callback."""
        await self._wire.forward_signals(callback)

    async def use_terminal(self, resized: Callable[[int, int], Awaitable[None]], *, raw: bool) -> None:
        """Sizes go to the callback, and keys come as bytes."""
        await self._wire.use_terminal(resized, raw=raw)

    async def release_terminal(self) -> None:
        """As it was."""
        await self._wire.release_terminal()


def answering(engine: Engine) -> Callable[[Wire], Awaitable[None]]:
    """The handler of all calls: run the verb, end the call with its status."""

    api: Api | None = None

    async def answer(wire: Wire) -> None:
        nonlocal api
        if wire.api:
            if api is None:
                from workers.gateway.dispatch import Api  # nobody pays for what nobody uses

                api = Api(engine)
            return await api.answer(wire)
        await wire.exit(await dispatch(TerminalCall(wire), engine))

    return answer
