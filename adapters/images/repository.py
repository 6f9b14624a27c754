"""Repositories of git as contexts, with the host's own git where there is one.

    https://host/path/app.git#v1.2:docker     the tree of a branch, tag or commit (HEAD), and a directory in it

Git is run without the configuration, the hooks and the questions of whoever started the engine, and may speak http,
https and git only: nothing in an address can name a program or a file of this host. What it writes is a directory that
is packed at once, without following anything, and deleted.
"""

import asyncio
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from adapters.tar.pack import CLOSED, KEPT, Packer, Sink, Unreadable
from domain.errors import Refused, Unavailable
from domain.text.safe import safe

_PROTOCOLS = "http:https:git"
_TIMEOUT = 600.0
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def is_repository(text: str) -> bool:
    """Whether a place is one that git has to be asked for."""
    place = text.partition("#")[0]
    if place.startswith(("git://", "git@", "ssh://", "github.com/")):
        return True
    return place.startswith(("http://", "https://")) and place.endswith(".git")


@dataclass(frozen=True, slots=True)
class Repository:
    """`reference` is a branch, tag or commit; `directory` a place in the tree."""

    address: str
    reference: str
    directory: str

    @classmethod
    def of(cls, text: str) -> "Repository":
        """Raises: Refused."""
        address, _, fragment = text.partition("#")
        reference, _, directory = fragment.partition(":")
        if address.startswith("github.com/"):
            address = f"https://{address}"
        if address.startswith(("git@", "ssh://")):
            raise Refused(f"{safe(address)}: repositories behind ssh cannot be reached by the engine",
                          hint="name its https address, or clone it and name the directory")
        if reference.startswith("-") or any(ord(c) < 33 for c in address + reference):
            raise Refused(f"{safe(text)} cannot be the name of a repository")
        parts = [part for part in directory.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise Refused(f"{safe(text)}: the directory would lead out of the repository")
        return cls(address, reference or "HEAD", "/".join(parts))

    async def fetch(self, folder: Path) -> None:
        """Its tree, without a history, in a fresh directory. Raises: Refused, Unavailable."""
        git = shutil.which("git")
        if git is None:
            raise Refused("repositories need git, and this host has none", hint="clone it elsewhere, or install git")
        await self._git(git, folder, "init", "--quiet", "--template=", ".")
        await self._git(git, folder, "fetch", "--quiet", "--depth=1", "--", self.address, self.reference)
        await self._git(git, folder, "checkout", "--quiet", "--detach", "FETCH_HEAD")

    async def _git(self, git: str, folder: Path, *words: str) -> None:
        environment = {
            "PATH": os.defpath, "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": _PROTOCOLS, "GIT_ASKPASS": "/bin/false", "LC_ALL": "C",
        } | {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
        argv = (git, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0", *words)
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=folder, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_TIMEOUT):
                _, said = await process.communicate()
        except TimeoutError as error:
            raise Unavailable(f"{safe(self.address)} does not answer") from error
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            reason = said.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it says nothing"]
            raise Unavailable(f"{safe(self.address)}#{safe(self.reference)}: git: {safe(reason[0])[:300]}")

    def pack(self, folder: Path, put: Callable[[bytes], None], *, keep: bool) -> None:
        """The tree as a tar; `keep` takes `.git` along. Blocking. Raises: Refused."""
        fds = [os.open(folder, _DIRECTORY)]
        try:
            for part in self.directory.split("/") if self.directory else ():
                fds.append(os.open(part, _DIRECTORY, dir_fd=fds[-1]))
            packer = Packer(Sink(put), judge=None if keep else _without_history)
            packer.add(fds[-1], b".", b".")
            packer.end()
        except OSError as error:
            raise Refused(f"{safe(self.address)} has no directory {safe(self.directory)}") from error
        except Unreadable as error:
            raise Refused(f"{safe(self.address)}: {error.reason}") from error
        finally:
            for fd in fds:
                os.close(fd)


def _without_history(name: bytes) -> int:
    return CLOSED if name == b".git" else KEPT
