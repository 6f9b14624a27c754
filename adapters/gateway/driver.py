"""The daemon's side of the gateway: it starts the process, starts it again when it dies, and ends it.

The process can do the daemon no harm: it has a socket to it, as every client, and a token to say for whom it speaks.
"""

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from domain.errors import Refused, Unavailable

log = logging.getLogger(__name__)
_START_SECONDS = 20.0
_END_SECONDS = 5.0
_PAUSE, _LONGEST_PAUSE, _LONG_LIFE = 0.1, 10.0, 60.0


class GatewayProcess:
    """`command` starts the process, `settings` go to it; `trust` tells the engine's socket its token."""

    def __init__(
        self, command: Sequence[str], settings: Mapping[str, str], trust: Callable[[str], None], log_file: Path
    ) -> None:
        self._command, self._settings, self._trust, self._log = tuple(command), dict(settings), trust, log_file
        self._process: asyncio.subprocess.Process | None = None
        self._minding: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self.path = ""
        """Where it listens; empty while it is not wanted."""

    @property
    def pid(self) -> int:
        """Its process; 0 while there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    async def start(self, path: Path) -> None:
        """Returns when clients can connect. Raises: Refused (it serves another path), Unavailable."""
        async with self._changing:
            if self.path == str(path):
                return
            if self.path:
                raise Refused(f"the gateway serves {self.path} already", hint="lading gateway stop")
            self.path = str(path)
            try:
                await self._launch(self.path)
            except BaseException:
                self.path = ""
                raise
            self._minding = asyncio.get_running_loop().create_task(self._mind())

    async def stop(self) -> None:
        """End it, with the requests that it serves. Twice is fine."""
        async with self._changing:
            self.path = ""
            self._trust("")
            if self._minding is not None:
                self._minding.cancel()
                await asyncio.gather(self._minding, return_exceptions=True)
                self._minding = None
            if self._process is not None:
                await _end(self._process)
                self._process = None

    async def _launch(self, path: str) -> None:
        token = secrets.token_urlsafe(32)
        with self._log.open("ab") as errors:
            self._process = process = await asyncio.create_subprocess_exec(
                *self._command, json.dumps({**self._settings, "path": path}), stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, stderr=errors, env={}, cwd="/")
        self._trust(token)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(token.encode() + b"\n")
        try:
            async with asyncio.timeout(_START_SECONDS):
                said = await process.stdout.readline()
        except TimeoutError:
            said = b""
        if said != b"ready\n":
            await _end(process)
            raise Unavailable(f"the gateway cannot listen at {path}: {_last_line(self._log)}")

    async def _mind(self) -> None:
        """It is there for as long as it is wanted."""
        pause, clock = _PAUSE, asyncio.get_running_loop().time
        while True:
            begun = clock()
            if self._process is not None:
                status = await self._process.wait()
                log.warning("the gateway ended with status %d", status)
            pause = _PAUSE if clock() - begun > _LONG_LIFE else min(2 * pause, _LONGEST_PAUSE)
            await asyncio.sleep(pause)
            try:
                await self._launch(self.path)
            except (Unavailable, OSError) as error:
                log.warning("%s", error)


async def _end(process: asyncio.subprocess.Process) -> None:
    """By the end of its input, and otherwise by force."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _last_line(path: Path) -> str:
    return path.read_text(errors="replace").strip().rpartition("\n")[2][-300:] or "see the daemon's log"
