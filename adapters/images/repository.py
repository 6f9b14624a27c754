"""Repositories of git as contexts, with the host's own git where there is one.

    https://host/path/app.git#v1.2:docker     the tree of a branch, tag or commit (HEAD), and a directory in it

Git is run without the configuration, the hooks and the questions of whoever started the engine, and may speak http,
https, git and ssh only: nothing in an address can name a program or a file of this host. What it writes is a directory
that is packed at once, without following anything, and deleted. Over ssh it has the keys of the client's agent, and
nobody else's, and talks to hosts only that the client knows.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from adapters.tar.pack import CLOSED, KEPT, Packer, Sink, Unreadable
from domain.errors import Refused, Unavailable
from domain.text.safe import safe

_PROTOCOLS = "http:https:git"
_BEHIND_SSH = ("git@", "ssh://")
_TIMEOUT = 600.0
_NOWHERE = "/nonexistent"
"""Git looks for its user's settings at home: not in a tree that somebody else has written."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def is_repository(text: str) -> bool:
    """Whether a place is one that git has to be asked for."""
    place = text.partition("#")[0]
    if place.startswith(("git://", "git@", "ssh://", "github.com/")):
        return True
    return place.startswith(("http://", "https://")) and place.endswith(".git")


def is_behind_ssh(text: str) -> bool:
    """Whether the keys of an agent are needed for it."""
    return text.startswith(_BEHIND_SSH)


@dataclass(frozen=True, slots=True)
class Ssh:
    """The socket of an agent, and a file of the hosts that may be talked to (see sshd(8), known_hosts)."""

    agent: Path
    known_hosts: Path

    def environment(self) -> dict[str, str]:
        """What git and ssh are told; ssh reads no configuration, no keys of the engine, and asks nothing."""
        options = (
            "BatchMode=yes", "StrictHostKeyChecking=yes", "IdentityFile=none", "UpdateHostKeys=no",
            f"UserKnownHostsFile={self.known_hosts}",
        )
        command = " ".join(("ssh", "-F", "none", *(f"-o {option}" for option in options)))
        return {"SSH_AUTH_SOCK": str(self.agent), "GIT_SSH_COMMAND": command, "GIT_SSH_VARIANT": "ssh",
                "GIT_ALLOW_PROTOCOL": f"{_PROTOCOLS}:ssh"}


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
        if reference.startswith("-") or any(ord(c) < 33 for c in address + reference):
            raise Refused(f"{safe(text)} cannot be the name of a repository")
        parts = [part for part in directory.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise Refused(f"{safe(text)}: the directory would lead out of the repository")
        return cls(address, reference or "HEAD", "/".join(parts))

    async def fetch(self, folder: Path, ssh: Ssh | None = None) -> None:
        """Its tree, without a history, in a fresh directory. Raises: Refused, Unavailable."""
        if is_behind_ssh(self.address) and ssh is None:
            raise Refused(f"{safe(self.address)} is behind ssh, and there is no agent to ask for keys",
                          hint="start one (ssh-agent), add your key, and give it with --ssh default")
        for program in ("git", "ssh") if ssh is not None else ("git",):
            if shutil.which(program) is None:
                raise Refused(f"this repository needs {program}, and this host has none",
                              hint=f"clone it elsewhere, or install {program}")
        more = ssh.environment() if ssh is not None else {}
        await self._git(more, folder, "init", "--quiet", "--template=", ".")
        await self._git(more, folder, "fetch", "--quiet", "--depth=1", "--", self.address, self.reference)
        await self._git(more, folder, "checkout", "--quiet", "--detach", "FETCH_HEAD")

    async def _git(self, more: Mapping[str, str], folder: Path, *words: str) -> None:
        environment = {
            "PATH": os.defpath, "HOME": _NOWHERE, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": _PROTOCOLS, "GIT_ASKPASS": "/bin/false", "LC_ALL": "C",
        } | {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")} | dict(more)
        argv = ("git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0", *words)
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
            reason = _reason(said)
            raise Unavailable(f"{safe(self.address)}#{safe(self.reference)}: git: {reason}",
                              hint="ssh-keyscan HOST >> ~/.ssh/known_hosts, if you trust it" * ("Host key" in reason))

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


def _reason(said: bytes) -> str:
    """The last line, or what ssh says before git's advice about it."""
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()] or ["it says nothing"]
    advice = next((at for at, line in enumerate(lines) if line.startswith("fatal: Could not read from remote")), 0)
    return safe(lines[advice - 1])[:300]


def _without_history(name: bytes) -> int:
    return CLOSED if name == b".git" else KEPT
