"""What one call of the thin client offers to the verb that answers it; the control socket implements it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from workers.mover import Caller


class Terminal(Protocol):
    """The client's terminal: size, and which of its standard streams are one."""

    @property
    def cols(self) -> int:
        """Columns; 0 when nobody knows."""

    @property
    def rows(self) -> int:
        """Rows; 0 when nobody knows."""

    @property
    def stdin_tty(self) -> bool:
        """Whether a person can type."""

    @property
    def stdout_tty(self) -> bool:
        """Whether a person reads the output."""

    @property
    def stderr_tty(self) -> bool:
        """Whether a person reads the notes."""


class Call(Protocol):
    """One command line and the client that typed it. Nothing raises because the client is gone: see `closed`."""

    @property
    def argv(self) -> Sequence[str]:
        """What follows `lading`; bytes that are not UTF-8 are surrogates."""

    @property
    def terminal(self) -> Terminal:
        """Where the output goes."""

    @property
    def who(self) -> Caller:
        """Who asks, as the system proved it, and the identity of the request."""

    @property
    def closed(self) -> asyncio.Event:
        """Set when the client is gone."""

    @property
    def deserted(self) -> bool:
        """Whether it went by itself, and not because the engine goes down."""

    async def out(self, data: bytes) -> None:
        """Write to the client's stdout; waits while the client is slow."""

    async def err(self, data: bytes) -> None:
        """Write to the client's stderr."""

    async def getenv(self, names: Sequence[str]) -> dict[str, str]:
        """The client's values of these variables; unset ones are absent."""

    def open_file(self, path: str) -> AsyncIterator[bytes]:
        """The content of a file of the client. Raises Refused when it cannot be read."""

    async def lend_file(self, path: str) -> int:
        """The descriptor of a regular file of the client, which the caller closes; -1 when it has to be streamed.
        Raises Refused when it cannot be read."""

    def stdin(self) -> AsyncIterator[bytes]:
        """The client's standard input until its end."""

    async def create_file(self, path: str, mode: int, content: bytes) -> None:
        """Make a file that must not exist. Raises Refused."""

    async def unlink(self, path: str) -> None:
        """Delete a file of the client, if it is there."""

    @property
    def cwd(self) -> str:
        """The client's working directory; empty when it has none."""

    async def look(self, path: str, *, follow: bool) -> tuple[str, str]:
        """What one of the client's paths is (a `Kind` of `domain.copying`), and where a link that is followed leads."""

    async def look_all(self, paths: Sequence[tuple[str, bool]]) -> list[tuple[str, str]]:
        """The same of several paths, each with whether it is followed."""

    @property
    def is_near(self) -> bool:
        """Whether the client and its files are on this machine."""

    def pack(
        self, path: str, name: str, options: str, ignored: str = "", known: bytes | None = None
    ) -> AsyncIterator[bytes]:
        """One of the client's files or trees as a tar, called `name` there, without what the text of a `.dockerignore`
        hides, and without files that are `known` (see `adapters.tar.unchanged`). Raises Refused."""

    async def spread(self, directory: str, content: AsyncIterator[bytes], options: str) -> tuple[int, int]:
        """Make the files of a tar in one of the client's directories; how many, and how many it did not want.

        Raises Refused.
        """

    async def write_file(
        self, path: str, mode: int, content: AsyncIterator[bytes], *, parents: bool = False
    ) -> None:
        """Write a file of the client, in the place of one that is there: whole or not at all; with `parents` its
        directory is made, too. Raises Refused."""

    async def ask(self, text: str, *, hidden: bool = False) -> str:
        """The line that whoever uses the client answers to a question; empty at the end of its input. It is not shown
        while it is typed if it is to be `hidden`."""

    async def credential_helper(self, name: str, verb: str, text: str) -> bytes:
        """What `docker-credential-NAME VERB` of the client, with `text` for its input, has printed. Raises Refused."""

    async def agent(self, path: str, message: bytes) -> bytes:
        """What the agent of ssh behind one of the client's sockets answers to a message. Raises Refused."""

    async def forward_signals(self, callback: Callable[[int], Awaitable[None]]) -> None:
        """From now on signals do not end the client: `callback` gets their numbers."""

    async def use_terminal(self, resized: Callable[[int, int], Awaitable[None]], *, raw: bool) -> None:
        """From now on `resized` gets rows and columns of the terminal, first what they are now; with `raw` every key
        comes through `stdin`."""

    async def release_terminal(self) -> None:
        """The client's terminal is as it was before."""
