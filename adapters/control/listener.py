"""The unix socket of the engine: proves who connects, and lets them speak to the bus in that name alone.

A client speaks the NATS protocol (adapters.control.frames) as to a nats-server that asks for no password. It is
answered by the real server, over a connection of its own; this module only decides and copies. Memory per client is
bounded in both directions: who reads slowly is read slowly, who sends faster than the bus takes waits.

The socket file is 0660 for the group `lading`, or 0600 where there is no such group. It is made in a directory that
nobody else can enter and moved into place, so there is no moment in which the umask decides who may connect, and no
moment without a socket when the file of a killed daemon is replaced.
"""

import asyncio
import contextlib
import grp
import hmac
import json
import logging
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from adapters.control.frames import MAX_PAYLOAD, Frames, Seams, Violation
from adapters.control.lending import Lending
from adapters.control.peers import Credentials, Mask, Names, Peers, credentials_of
from adapters.control.upstream import Locate, Pool, Upstream
from adapters.listening import KEEP_FILE
from domain.errors import Unavailable
from domain.messages import Actor

log = logging.getLogger(__name__)

GROUP = "lading"
_WRITE_HIGH = 1536 * 1024
"""More than a call may have in flight: a stopped client must not make the server wait, which would cut it off."""
_WRITE_LOW = 256 * 1024
_MOST_CLIENTS = 4096
_FIRST_WORD_SECONDS = 30.0
_BUS_SECONDS = 10.0
_LAST_WORD_SECONDS = 5.0


class ControlSocket:
    """Listens at `path`; `locate` leads to the bus, `mask` makes a command line fit for the log."""

    def __init__(self, path: Path, host: str, locate: Locate, mask: Mask, *, group: str = GROUP, pool: int = 8) -> None:
        self._path, self._host, self._group = path, host, group
        self._peers, self._names, self._pool = Peers(host, mask), Names(), Pool(locate, pool)
        self._server: asyncio.Server | None = None
        self._inode = (0, 0)
        self._clients: set[_Client] = set()
        self._numbered: dict[str, _Client] = {}
        self._gone: list[Callable[[str], None]] = []
        self._take: Callable[[str, str, bytes], bool] = lambda number, session, payload: False
        self._trusted = ""

    async def start(self) -> None:
        """Listen. Raises Unavailable (somebody else listens there, or the directory does not fit)."""
        await _refuse_if_taken(self._path)
        listening = _bind(self._path, self._group)
        state = self._path.lstat()
        self._inode = (state.st_dev, state.st_ino)
        self._pool.start()
        self._server = await asyncio.get_running_loop().create_unix_server(
            lambda: _Client(self), sock=listening, backlog=1024, **KEEP_FILE)

    async def close(self) -> None:
        """Stop listening, hang up every client, delete the socket file if it is still ours. Twice is fine."""
        if self._server is not None:
            # asyncio cannot close a server that is just accepting (its _attach fails): look away first, let that end.
            for listening in self._server.sockets:
                asyncio.get_running_loop().remove_reader(listening.fileno())
            await asyncio.sleep(0)
            self._server.close()
        with contextlib.suppress(OSError):
            state = self._path.lstat()
            if (state.st_dev, state.st_ino) == self._inode:
                self._path.unlink()
        # Three turns of the loop take a connection from accept to its last callback.
        for _ in range(3):
            for client in list(self._clients):
                client.hang_up()
            await asyncio.sleep(0)
        await self._pool.close()

    def identity(self, number: str) -> Actor:
        """Who `c<number>` is. Raises NotFound."""
        return self._peers.identity(number)

    def connected(self, number: str) -> bool:
        """Whether the client is still there."""
        return self._peers.connected(number)

    def on_gone(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the number of each client that hung up."""
        self._gone.append(listener)

    def on_part(self, take: Callable[[str, str, bytes], bool]) -> None:
        """Call `take` with number, session and payload of whatever a client says during a call, instead of bringing it
        to the bus; False brings it there all the same."""
        self._take = take

    async def say(self, number: str, subject: str, payload: bytes) -> bool:
        """Say something to `c<number>` as the bus would, without going there; returns when the client's side has room.
        False when it does not listen to exactly that subject."""
        client = self._numbered.get(number)
        return client is not None and await client.say(subject, payload)

    def trust(self, token: str) -> None:
        """Who knows the token, and is the same user as we are, may say for whom he speaks; empty: nobody may."""
        self._trusted = token

    def _vouched(self, number: str, said: bytes) -> None:
        """The client `number` speaks for somebody else. Raises Violation."""
        token, _, person = said.partition(b" ")
        trusted = self._trusted.encode()
        if self.identity(number).uid != os.geteuid() or not trusted or not hmac.compare_digest(token, trusted):
            raise Violation("Authorization Violation")
        self._peers.speak_for(number, person)

    @contextlib.contextmanager
    def borrow(self, number: str) -> Iterator[Callable[[], int]]:
        """While the block lasts, a file may come along with what `c<number>` says: what is given tells its descriptor,
        which the caller closes, or -1."""
        client = self._numbered.get(number)
        if client is None:
            yield lambda: -1
            return
        with client.borrow() as take:
            yield take

    def _full(self) -> bool:
        return len(self._clients) >= _MOST_CLIENTS

    def _left(self, number: str) -> None:
        self._numbered.pop(number, None)
        self._peers.leave(number)
        for listener in self._gone:
            listener(number)


class _Client(asyncio.Protocol):
    """One local connection, from the kernel's word on who it is to its last byte."""

    def __init__(self, control: ControlSocket) -> None:
        self._control = control
        self._number = ""
        self._frames: Frames | None = None
        self._upstream: Upstream | None = None
        self._held = b""
        self._seams = Seams()
        self._between: list[bytes] = []
        self._room = asyncio.Event()
        self._room.set()
        self._joining: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._lending: Lending | None = None
        self._slow = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the kernel who it is."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH, low=_WRITE_LOW)
        if self._control._full():
            self._refuse("Maximum Connections Exceeded")
            return
        self._control._clients.add(self)
        self._deadline = asyncio.get_running_loop().call_later(_FIRST_WORD_SECONDS, self._transport.abort)
        who = credentials_of(self._transport.get_extra_info("socket"))
        name = self._control._names.known(who.uid)
        if name is None:
            self._joining = asyncio.get_running_loop().create_task(self._find_name(who))
        else:
            self._admit(who, name)

    def data_received(self, data: bytes) -> None:
        """Judge, and pass on what may pass."""
        if self._frames is None:
            return
        try:
            allowed = self._frames.feed(data)
        except Violation as violation:
            who = self._control.identity(self._number)
            log.info("%s (uid %d, pid %d) was refused: %s", self._number, who.uid, who.pid, violation)
            self._refuse(str(violation))
            return
        if self._upstream is not None:
            self._upstream.write(allowed)
        elif allowed:
            self._held += allowed
            self._join()

    def connection_lost(self, error: Exception | None) -> None:
        """The client has gone: so does its connection, and what it asked for is called off."""
        self._control._clients.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()
        if self._joining is not None:
            self._joining.cancel()
        if self._upstream is not None:
            self._upstream.close()
        self._room.set()
        if self._number:
            self._control._left(self._number)

    def pause_writing(self) -> None:
        """The client does not read: let the server wait."""
        self._room.clear()
        if self._upstream is not None:
            self._upstream.pause(True)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._room.set()
        if self._upstream is not None:
            self._upstream.pause(False)

    def hear(self, data: bytes) -> None:
        """Pass on what the server said."""
        self._transport.write(data)
        self._seams.follow(data)
        if self._between and self._seams.here:
            self._transport.write(b"".join(self._between))
            self._between.clear()

    async def say(self, subject: str, payload: bytes) -> bool:
        """A frame of our own between those of the server."""
        number = self._frames.listens(subject) if self._frames is not None else ""
        if not number or self._transport.is_closing():
            return False
        frame = b"MSG %b %b %d\r\n%b\r\n" % (subject.encode(), number.encode(), len(payload), payload)
        if self._seams.here:
            self._transport.write(frame)
        else:
            self._between.append(frame)
        if not self._room.is_set():
            await self._room.wait()
        return True

    def lost(self) -> None:
        """The server died. What it had not passed on yet is lost, so the client must not believe it has heard all."""
        self._upstream = None
        self._refuse("The bus went away")

    def slow(self, slow: bool) -> None:
        """Take nothing more from the client while the server is slow."""
        self._slow = slow
        if self._lending is not None:
            self._lending.listen(not slow)
        elif not self._transport.is_closing():
            (self._transport.pause_reading if slow else self._transport.resume_reading)()

    @contextlib.contextmanager
    def borrow(self) -> Iterator[Callable[[], int]]:
        """See ControlSocket; one at a time."""
        if self._lending is not None or self._slow or self._transport.is_closing():
            yield lambda: -1
            return
        self._transport.pause_reading()
        self._lending = lending = Lending(
            self._transport.get_extra_info("socket").dup(), self, self._transport.resume_reading
        )
        try:
            yield lending.take
        finally:
            self._lending = None
            lending.close()
            self.slow(self._slow)

    def hang_up(self) -> None:
        """The daemon goes down."""
        self._transport.abort()

    async def _find_name(self, who: Credentials) -> None:
        """Nothing is read meanwhile. It is paused here and no sooner: asyncio before 3.11.4 reads on when
        `connection_made` has paused it, and what the client says first would be lost."""
        self._transport.pause_reading()
        name = await self._control._names.find(who.uid)
        if not self._transport.is_closing():
            self._admit(who, name)
            self._transport.resume_reading()

    def _admit(self, who: Credentials, name: str) -> None:
        self._number = self._control._peers.admit(who, name)
        self._control._numbered[self._number] = self
        self._frames = Frames(self._control._host, self._number, self._take, self._vouch)
        self._transport.write(_greeting(self._number, self._control._host))

    def _take(self, session: str, payload: bytes) -> bool:
        return self._control._take(self._number, session, payload)

    def _vouch(self, said: bytes) -> None:
        self._control._vouched(self._number, said)

    def _join(self) -> None:
        """The first frame that may pass: get a connection to the server for it."""
        if self._deadline is not None:
            self._deadline.cancel()
        upstream = self._control._pool.take()
        if upstream is not None:
            self._attach(upstream)
        elif self._joining is None or self._joining.done():
            self._transport.pause_reading()
            self._joining = asyncio.get_running_loop().create_task(self._wait_for_upstream())

    async def _wait_for_upstream(self) -> None:
        try:
            async with asyncio.timeout(_BUS_SECONDS):
                upstream = await self._control._pool.wait()
        except TimeoutError:
            self._refuse("The bus is away")
            return
        if self._transport.is_closing():
            upstream.close()
            return
        self._attach(upstream)
        self._transport.resume_reading()

    def _attach(self, upstream: Upstream) -> None:
        held, self._held = self._held, b""
        self._upstream = upstream
        upstream.give_to(self)
        upstream.write(held)

    def _refuse(self, reason: str) -> None:
        """One error line, then the end; the server hears nothing more of this client."""
        self._frames = None
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None
        if self._transport.is_closing():
            return
        self._transport.write(f"-ERR '{reason}'\r\n".encode())
        self._transport.close()
        asyncio.get_running_loop().call_later(_LAST_WORD_SECONDS, self._transport.abort)


def _greeting(number: str, host: str) -> bytes:
    """What a NATS client waits for before it speaks; `lading` tells it the names behind the marks."""
    info = {"server_id": "lading", "server_name": "lading", "version": "2.10.0", "proto": 1, "host": "", "port": 0,
            "headers": True, "max_payload": MAX_PAYLOAD, "client_id": int(number[1:]),
            "lading": {"who": number, "host": host}}
    return b"INFO " + json.dumps(info).encode() + b"\r\n"


async def _refuse_if_taken(path: Path) -> None:
    """A file that nobody listens at is a left-over; one that answers belongs to a daemon that lives."""
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return
    writer.close()
    raise Unavailable(f"another daemon listens at {path}")


def _bind(path: Path, group: str) -> socket.socket:
    run = path.parent
    state = run.stat()
    if state.st_uid != os.geteuid() or state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unavailable(f"{run} can be written by others", hint=f"chown root {run}; chmod 711 {run}")
    private = run / ".control"
    private.mkdir(mode=0o700, exist_ok=True)
    unfinished = private / "s"
    unfinished.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(unfinished))
        _open_to_group(unfinished, group)
        listening.listen(1024)
        unfinished.rename(path)
        private.rmdir()
    except OSError as error:
        listening.close()
        raise Unavailable(f"cannot listen at {path}: {error.strerror or error}") from error
    return listening


def _open_to_group(path: Path, group: str) -> None:
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError:
        path.chmod(0o600)
        return
    os.chown(path, -1, number)
    path.chmod(0o660)
