"""The gateway's process.

    python -I -m lading_engine gateway '{"path":"/run/docker.sock","engine":"/run/lading/lading.sock",…}'

Its standard input is a pipe from the daemon: the first line is the token with which it may say for whom it speaks, and
its end is the daemon's, with whom it ends. It says `ready` on its standard output once clients can connect.
"""

import asyncio
import contextlib
import grp
import json
import logging
import os
import pwd
import socket
import ssl
import sys
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from adapters.gateway.line import Line, Person
from adapters.gateway.server import Conversation, credentials
from adapters.gateway.sharing import Hall
from adapters.gateway.tls import TlsStream
from adapters.listening import KEEP_FILE

log = logging.getLogger(__name__)
_MOST_CLIENTS = 3500
"""Fewer than the engine's socket takes, so that the command line finds a place there."""
_HANDSHAKE_SECONDS = 30.0
_TRIES, _PAUSE = 30, 0.1
_LIMIT = 128 * 1024
_STEPS_BACK = 10


def main(arguments: list[str]) -> int:
    """Serve until the daemon ends; the exit status."""
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    Path("/proc/self/comm").write_text("lading-gateway"[:15])
    token = sys.stdin.readline().strip()
    try:
        asyncio.run(Gateway(token, **json.loads(arguments[0])).serve())
    except OSError as error:
        sys.stderr.write(f"{error.strerror or error}: {error.filename or ''}".rstrip(": ") + "\n")
        return 1
    return 0


class Gateway:
    """Listens at `path`, and at `listen` (`ADDRESS:PORT`) for clients with a certificate that `authority` has signed;
    `certificate` and `key` are its own. `engine` is the engine's socket, `group` may use `path`."""

    def __init__(
        self, token: str, *, path: str, engine: str, group: str, listen: str = "", certificate: str = "", key: str = "",
        authority: str = "",
    ) -> None:
        self._token, self._path, self._engine, self._group = token, path, engine, group
        self._listen, self._certificates = listen, (certificate, key, authority)
        self._clients: set[asyncio.Task[None]] = set()
        self._hall = Hall(Manners())
        self._names = {0: "root"}

    async def serve(self) -> None:
        """Until standard input ends. Raises: OSError."""
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(0, _until_closed, ended)
        listening = await _bound(self._path, self._group)
        mine = os.lstat(self._path)
        servers: list[asyncio.Server] = [
            await asyncio.start_unix_server(
                self._connected, sock=listening, limit=_LIMIT, backlog=1024, **KEEP_FILE)
        ]
        if self._listen:
            host, _, port = self._listen.rpartition(":")
            servers.append(await asyncio.start_server(
                partial(self._secured, _mutual(*self._certificates)), host.strip("[]"), int(port), limit=_LIMIT))
        os.write(1, b"ready\n")
        await ended.wait()
        for server in servers:
            server.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        with contextlib.suppress(OSError):
            if os.path.samestat(mine, os.lstat(self._path)):
                os.unlink(self._path)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve(writer, Conversation(reader, writer, lambda: self._local(writer), self._hall).run())

    async def _secured(
        self, context: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await self._serve(writer, self._encrypted(context, reader, writer))

    async def _encrypted(
        self, context: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                stream = await TlsStream.accept(reader, writer, context)
        except OSError as error:  # TimeoutError, too
            log.warning("a client could not prove itself: %s", error)
            with contextlib.suppress(OSError):
                await writer.drain()
            writer.close()
            return
        person: Person = {"via": "tls", "user": _common_name(stream.certificate)}
        await Conversation(stream, stream, partial(self._line, person), self._hall).run()

    async def _serve(self, writer: asyncio.StreamWriter, work: Coroutine[None, None, None]) -> None:
        if len(self._clients) >= _MOST_CLIENTS:
            work.close()
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            await work
        except asyncio.CancelledError:
            pass  # the daemon has ended
        except Exception:
            log.exception("a client's connection broke")
        finally:
            self._clients.discard(task)

    async def _local(self, writer: asyncio.StreamWriter) -> Line:
        return await self._line(await self._person(writer.get_extra_info("socket")))

    async def _line(self, person: Person) -> Line:
        return await Line.connect(self._engine, self._token, person)

    async def _person(self, connection: socket.socket) -> Person:
        """Who is at the other end, as the kernel says."""
        pid, uid, gid = credentials(connection)
        return {"via": "socket", "user": await self._name(uid), "uid": uid, "gid": gid, "pid": pid}

    async def _name(self, uid: int) -> str:
        """The user's name, or the number where it has none; asked for once, and not from the event loop: the name
        service may be a network away."""
        if uid not in self._names:
            try:
                self._names[uid] = (await asyncio.to_thread(pwd.getpwuid, uid)).pw_name
            except (KeyError, OSError):
                return str(uid)
        return self._names[uid]


class Manners:
    """Lets other processes go first for a while; not where there would be no way back (no CAP_SYS_NICE)."""

    def __init__(self) -> None:
        self._usual = os.getpriority(os.PRIO_PROCESS, 0)
        self._may = self._set(self._usual + 1) and self._set(self._usual)

    def __call__(self, back: bool) -> None:
        """Step back, or stand where we stood."""
        if self._may:
            self._set(self._usual + _STEPS_BACK if back else self._usual)

    def _set(self, priority: int) -> bool:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, priority)
        except OSError:
            return False
        return True


def _common_name(certificate: Mapping[str, Any]) -> str:
    """The client's name in its certificate."""
    parts: Sequence[Sequence[tuple[str, str]]] = certificate.get("subject", ())
    names = [value for part in parts for key, value in part if key == "commonName"]
    return names[0] if names else "a certificate without a name"


def _mutual(certificate: str, key: str, authority: str) -> ssl.SSLContext:
    """TLS in which the client has to prove itself, too. Raises: OSError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    # Since Python 3.13 certificates without every extension of RFC 5280 are refused; those for this are made by hand.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


async def _bound(path: str, group: str) -> socket.socket:
    """A gateway of a daemon that was killed is just going; others stay. Raises: OSError."""
    for _ in range(_TRIES):
        if not _answers(path):
            break
        await asyncio.sleep(_PAUSE)
    return bind(path, group)


def bind(path: str, group: str) -> socket.socket:
    """A socket file, 0660 for the group or 0600 where there is none, that takes the place of a left-over in one step:
    it is made in a directory that nobody else can enter. Raises: OSError."""
    if _answers(path):
        raise OSError(98, "another program listens there", path)
    private = Path(f"{path}.new")
    private.mkdir(mode=0o700, exist_ok=True)
    unfinished = private / "s"
    unfinished.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listening.bind(str(unfinished))
    _open_to_group(unfinished, group)
    unfinished.rename(path)
    private.rmdir()
    return listening


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == 0


def _open_to_group(path: Path, group: str) -> None:
    try:
        os.chown(path, -1, grp.getgrnam(group).gr_gid)
    except KeyError:
        path.chmod(0o600)
        return
    path.chmod(0o660)


def _until_closed(ended: asyncio.Event) -> None:
    if not os.read(0, 4096):
        asyncio.get_running_loop().remove_reader(0)
        ended.set()
