"""One call of the thin client as the console's verbs see it, and its answer."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from adapters.control.console import Call as Wire
from adapters.control.console import Gone
from adapters.control.console import Terminal as WireTerminal
from domain.errors import LadingError
from domain.messages import Actor
from domain.redact import redacted
from workers.console.dispatch import dispatch
from workers.console.engine import Engine
from workers.mover import Caller

log = logging.getLogger(__name__)
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Terminal:
    """The client's terminal in the words of the console."""

    cols: int
    rows: int
    stdin_tty: bool
    stdout_tty: bool
    stderr_tty: bool

    @staticmethod
    def of(wire: WireTerminal) -> "Terminal":
        """The same, as the control socket tells it."""
        return Terminal(wire.columns, wire.rows, wire.stdin, wire.stdout, wire.stderr)


class TerminalCall:
    """Implements `workers.console.call.Call`; writing to a client that is gone is not an error here."""

    def __init__(self, wire: Wire, who: Caller) -> None:
        self._wire, self.who = wire, who
        self.argv: Sequence[str] = wire.argv
        self.terminal = Terminal.of(wire.terminal)
        self.cwd = wire.cwd
        self.closed = wire.gone

    async def out(self, data: bytes) -> None:
        """To stdout."""
        with contextlib.suppress(Gone):
            await self._wire.out(data)

    async def err(self, data: bytes) -> None:
        """To stderr."""
        with contextlib.suppress(Gone):
            await self._wire.err(data)

    async def getenv(self, names: Sequence[str]) -> dict[str, str]:
        """The client's variables."""
        return await self._wire.getenv(names)

    def open_file(self, path: str) -> AsyncIterator[bytes]:
        """A file of the client."""
        return self._wire.open_file(path)

    def stdin(self) -> AsyncIterator[bytes]:
        """The client's standard input."""
        return self._wire.stdin()

    async def create_file(self, path: str, mode: int, content: bytes) -> None:
        """A new file of the client."""
        await self._wire.create_file(path, content, mode)

    async def unlink(self, path: str) -> None:
        """Delete a file of the client."""
        await self._wire.unlink(path)

    async def ask(self, text: str) -> str:
        """A line from the person on the terminal."""
        return await self._wire.ask(text)

    async def forward_signals(self, callback: Callable[[int], Awaitable[None]]) -> None:
        """Signals go to the callback."""
        await self._wire.forward_signals(callback)


class Calls:
    """Answers calls: proves who asks, runs the verb, ends the call with its status."""

    def __init__(self, engine: Engine, identify: Callable[[str], Actor]) -> None:
        self._engine, self._identify = engine, identify

    async def answer(self, wire: Wire) -> None:
        """The handler of the control socket's console."""
        try:
            status = await dispatch(TerminalCall(wire, self._caller(wire)), self._engine)
        except Gone:
            return
        except LadingError as error:
            with contextlib.suppress(Gone):
                await wire.err(f"lading: {error.message}\n".encode())
            status = 1
        except asyncio.CancelledError:
            if wire.interrupted:
                await wire.exit(INTERRUPTED)
            raise
        await wire.exit(status)

    def _caller(self, wire: Wire) -> Caller:
        """The command line of a local client is what the kernel shows, which holds the interpreter; the words after it
        are those of the call itself."""
        actor = self._identify(wire.actor_id)
        command = f"lading {redacted(wire.argv)}".strip()
        return Caller(
            Actor(
                via=actor.via,
                user=actor.user,
                uid=actor.uid,
                gid=actor.gid,
                pid=actor.pid,
                command=command,
                host=actor.host,
            )
        )
