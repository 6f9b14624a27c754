"""Who is at the other end of a local connection, as the kernel says; and the numbers under which the bus knows them."""

import asyncio
import json
import logging
import os
import pwd
import socket
import struct
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from adapters.control.frames import Violation
from domain.errors import NotFound
from domain.messages import Actor

log = logging.getLogger(__name__)

Mask = Callable[[Sequence[str]], str]

_UCRED = struct.Struct("3i")
_MOST_COMMAND = 64 * 1024
_REMEMBERED = 4096
_NAME_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """What SO_PEERCRED returns: of the moment of connect(2), not changed by a later setuid or exec (unix(7))."""

    pid: int
    uid: int
    gid: int


def credentials_of(connection: socket.socket) -> Credentials:
    """Who connected."""
    return Credentials(*_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))


def command_of(pid: int) -> list[str]:
    """The command line of a process; empty when it has ended. A process may write there what it likes: this tells a
    story, it proves nothing."""
    try:
        file = os.open(f"/proc/{pid}/cmdline", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        words = os.read(file, _MOST_COMMAND)
    except OSError:
        return []
    finally:
        os.close(file)
    return [word.decode("utf-8", "surrogateescape") for word in words.rstrip(b"\0").split(b"\0")] if words else []


def spoken(argv: Sequence[str]) -> list[str]:
    """What was typed: `python -IS /usr/bin/lading run …` is the program `lading`, whose interpreter interests nobody
    (and whose verb must stand where the masking of secrets looks for it)."""
    words = list(argv)
    if words and words[0].rpartition("/")[2].startswith("python"):
        script = next((at for at, word in enumerate(words[1:], 1) if word[:1] != "-"), 0)
        words = words[script:]
    return [words[0].rpartition("/")[2], *words[1:]] if words else []


class Names:
    """User names, asked for once: the name service may be a network away, so it is never asked from the event loop."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def known(self, uid: int) -> str | None:
        """The name, if it was found before."""
        return self._known.get(uid)

    async def find(self, uid: int) -> str:
        """The name, or the number as text for a user without one, or when the name service does not answer in time."""
        try:
            async with asyncio.timeout(_NAME_SECONDS):
                name = await asyncio.to_thread(lambda: pwd.getpwuid(uid).pw_name)
        except (KeyError, OSError):
            name = str(uid)
        except TimeoutError:
            log.warning("the name service does not say who user %d is", uid)
            return str(uid)
        self._known[uid] = name
        return name


class Peers:
    """Local clients by number (`c1`, `c2`, …), each with the actor it is in the log.

    Those who left are remembered for a while, because what they asked may still be on its way.
    """

    def __init__(self, host: str, mask: Mask) -> None:
        self._host, self._mask = host, mask
        self._last = 0
        self._actors: OrderedDict[str, Actor] = OrderedDict()
        self._here: set[str] = set()

    def admit(self, who: Credentials, user: str) -> str:
        """Give a number to a new client."""
        self._last += 1
        number = f"c{self._last}"
        command = self._mask(spoken(command_of(who.pid)))
        self._actors[number] = Actor("socket", user, who.uid, who.gid, who.pid, command, self._host)
        self._here.add(number)
        return number

    def speak_for(self, number: str, person: bytes) -> None:
        """The client is a gateway, and this is whom it serves: `{"via":"socket","user":"ann","uid":1000,"gid":1000,
        "pid":4242}`. Raises Violation."""
        try:
            words = json.loads(person)
            uid, gid, pid = (int(words.get(name, -1)) for name in ("uid", "gid", "pid"))
            via, user = str(words["via"]), str(words["user"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise Violation("Parser Error") from error
        command = self._mask(spoken(command_of(pid))) if pid > 0 else ""
        self._actors[number] = Actor(via, user, uid, gid, max(pid, 0), command, self._host)

    def leave(self, number: str) -> None:
        """The client has gone."""
        self._here.discard(number)
        while len(self._actors) - len(self._here) > _REMEMBERED:
            del self._actors[next(gone for gone in self._actors if gone not in self._here)]

    def identity(self, number: str) -> Actor:
        """Who has the number. Raises NotFound."""
        actor = self._actors.get(number)
        if actor is None:
            raise NotFound(f"no local client has the number {number}")
        return actor

    def connected(self, number: str) -> bool:
        """Whether the client is still there."""
        return number in self._here
