"""The console without an engine: help, and the client's part of `version` and `info`, when no daemon answers.

`python -I -m lading_engine offline REASON [ARGUMENT …]` is what the thin client becomes then. REASON says why nobody
answers; it is the answer to everything that needs the engine.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, cast

from domain.messages import Actor
from workers.accesses import Unrecorded
from workers.console.dispatch import dispatch
from workers.console.engine import Engine
from workers.console.errors import Unreachable
from workers.mover import Caller
from workers.version import VERSION


class _Nobody:
    """Stands where the engine would be; only the client's own version is known."""

    version, accesses = VERSION, Unrecorded()

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> NoReturn:
        raise Unreachable(self._reason)


@dataclass(frozen=True, slots=True)
class _NoTerminal:
    cols: int = 0
    rows: int = 0
    stdin_tty: bool = False
    stdout_tty: bool = False
    stderr_tty: bool = False


@dataclass
class _Here:
    """A call that is answered in the client's own process: only its output is needed."""

    argv: Sequence[str]
    terminal: _NoTerminal = field(default_factory=_NoTerminal)
    who: Caller = field(default_factory=lambda: Caller(Actor()))
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    deserted: bool = False
    cwd: str = ""
    is_near: bool = False

    async def out(self, data: bytes) -> None:
        _write(1, data)

    async def err(self, data: bytes) -> None:
        _write(2, data)

    async def getenv(self, names: Sequence[str]) -> dict[str, str]:
        return {}

    async def open_file(self, path: str) -> AsyncIterator[bytes]:
        yield b""

    async def lend_file(self, path: str) -> int:
        return -1

    async def stdin(self) -> AsyncIterator[bytes]:
        yield b""

    async def create_file(self, path: str, mode: int, content: bytes) -> None:
        return None

    async def unlink(self, path: str) -> None:
        return None

    async def look(self, path: str, *, follow: bool) -> tuple[str, str]:
        return "missing", path

    async def look_all(self, paths: Sequence[tuple[str, bool]]) -> list[tuple[str, str]]:
        return [("missing", path) for path, _ in paths]

    async def pack(
        self, path: str, name: str, options: str, ignored: str = "", known: bytes | None = None
    ) -> AsyncIterator[bytes]:
        yield b""

    async def spread(self, directory: str, content: AsyncIterator[bytes], options: str) -> tuple[int, int]:
        return 0, 0

    async def write_file(
        self, path: str, mode: int, content: AsyncIterator[bytes], *, parents: bool = False
    ) -> None:
        return None

    async def ask(self, text: str, *, hidden: bool = False) -> str:
        return ""

    async def credential_helper(self, name: str, verb: str, text: str) -> bytes:
        return b""

    async def agent(self, path: str, message: bytes) -> bytes:
        return b""

    async def forward_signals(self, callback: Callable[[int], Awaitable[None]]) -> None:
        return None

    async def use_terminal(self, resized: Callable[[int, int], Awaitable[None]], *, raw: bool) -> None:
        return None

    async def release_terminal(self) -> None:
        return None


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def main(words: Sequence[str]) -> int:
    """The exit status; `words` are the reason and the arguments of `lading`."""
    reason, *argv = words
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return asyncio.run(dispatch(_Here(argv), cast(Engine, _Nobody(reason)), time.time_ns))
    except OSError as error:
        sys.stderr.write(f"lading: write error: {error.strerror}\n")
        return 1
