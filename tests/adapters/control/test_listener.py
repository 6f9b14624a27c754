"""The control socket: who may connect, as whom they speak, and what garbage, sloth and death do to it."""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from adapters.control import listener
from adapters.control.listener import ControlSocket
from adapters.control.peers import Names, command_of, spoken
from adapters.control.upstream import Locate
from adapters.nats.access import Access
from domain import subjects
from domain.errors import NotFound, Unavailable
from domain.ports.bus import Message
from tests.adapters.control.engine import HOST, Engine

HELLO = b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB _INBOX.@.> 1\r\n'
CALL = b"PUB lading.@.call.@ _INBOX.@.1 %d\r\n%b\r\n"
HEAD = b"1\0session=1\0\0"
NOBODY = 65534


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


def call(*argv: bytes) -> bytes:
    """The first words of a client."""
    payload = HEAD + b"".join(word + b"\0" for word in argv)
    return HELLO + CALL % (len(payload), payload)


async def talk(daemon: Engine, data: bytes, until_seen: bytes = b"") -> bytes:
    """Everything a fresh client hears, up to `until_seen` or the end."""
    reader, writer = await asyncio.open_unix_connection(daemon.socket)
    writer.write(data)
    heard = b""
    async with asyncio.timeout(10):
        while not until_seen or until_seen not in heard:
            piece = await reader.read(65536)
            if not piece:
                break
            heard += piece
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return heard


async def is_fine(daemon: Engine) -> bool:
    """Whether a new client gets its answer."""
    return b"Ohello" in await talk(daemon, call(b"echo", b"hello"), b"X0")


async def test_a_call_is_answered(daemon: Engine) -> None:
    """The whole way: socket, proxy, server, daemon and back."""
    heard = await talk(daemon, call(b"echo", b"hello"), b"X0")
    assert heard.startswith(b"INFO ")
    assert b"MSG _INBOX.local.c1.1 1 7\r\nOhello\n\r\n" in heard


async def test_what_a_client_says_before_it_is_known_is_heard(
    daemon: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one of a user: all of the call is there when it is accepted, and its name must be looked up."""
    known = Names.find

    async def slowly(names: Names, uid: int) -> str:
        for _ in range(10):
            await asyncio.sleep(0.01)
        return await known(names, uid)

    monkeypatch.setattr(Names, "find", slowly)
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(daemon.socket))
    client.sendall(call(b"echo", b"hello"))
    client.setblocking(False)
    heard = b""
    async with asyncio.timeout(10):
        while b"X0" not in heard:
            heard += await asyncio.get_running_loop().sock_recv(client, 65536)
    client.close()
    assert b"Ohello" in heard


async def test_the_greeting_tells_a_client_its_name(daemon: Engine) -> None:
    """NATS clients that cannot write marks in their inbox prefix need it."""
    heard = await talk(daemon, HELLO + b"PING\r\n", b"PONG")
    info = json.loads(heard.split(b"\r\n")[0].removeprefix(b"INFO "))
    assert info["lading"] == {"who": "c1", "host": HOST}
    assert not info.get("auth_required")


@pytest.mark.kernel
async def test_the_actor_is_who_the_kernel_says(daemon: Engine) -> None:
    """Two users through the same code: a child that has become somebody else is recorded as that one."""
    daemon.socket.chmod(0o666)
    for directory in (daemon.run, *daemon.run.parents):
        if directory != Path("/") and not directory.stat().st_mode & 0o001:
            directory.chmod(directory.stat().st_mode | 0o011)
    program = (f"import os, socket, sys\nos.setgroups([]); os.setgid({NOBODY}); os.setuid(int(sys.argv[1]))\n"
               f"s = socket.socket(socket.AF_UNIX); s.connect({str(daemon.socket)!r})\n"
               f"s.sendall({call(b'who')!r})\nheard = b''\n"
               "while b'X0' not in heard:\n    heard += s.recv(65536)\n"
               "sys.stdout.buffer.write(heard)\n")
    for uid, name in ((0, "root"), (NOBODY, "nobody"), (54321, "54321")):
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(uid), stdout=subprocess.PIPE)
        heard, _ = await asyncio.wait_for(child.communicate(), 10)
        assert f"O{uid} {name} socket ".encode() in heard


async def test_the_actor_has_pid_group_and_command(daemon: Engine) -> None:
    """What `why` shows of the one who asked."""
    _, writer = await asyncio.open_unix_connection(daemon.socket)
    await until(lambda: daemon.control.connected("c1"))
    actor = daemon.control.identity("c1")
    assert (actor.pid, actor.uid, actor.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert actor.command == " ".join(spoken(command_of(os.getpid())))
    assert actor.host == HOST
    writer.close()
    await until(lambda: not daemon.control.connected("c1"))
    assert daemon.control.identity("c1") == actor


def test_nobody_has_a_number_that_was_not_given() -> None:
    """An actor is never made up."""
    async def nowhere(role: str) -> Access:
        raise AssertionError

    with pytest.raises(NotFound):
        ControlSocket(Path("/nonexistent"), HOST, nowhere, " ".join).identity("c1")


@pytest.mark.parametrize(("argv", "words"), [
    (["/usr/bin/python3.11", "-IS", "/usr/local/bin/lading", "run", "-e", "A=1"], ["lading", "run", "-e", "A=1"]),
    (["/usr/bin/lading", "ps"], ["lading", "ps"]), (["python3", "-c"], ["python3", "-c"]), ([], []),
])
def test_the_interpreter_is_not_what_was_typed(argv: list[str], words: list[str]) -> None:
    """Masking looks for the verb near the front; a path to Python would hide it."""
    assert spoken(argv) == words


@pytest.mark.parametrize("frame", [
    b"PUB lading.@.call.c5 _INBOX.@.1 0\r\n\r\n", b"PUB lading.box.cmd.c5.rm 0\r\n\r\n", b"SUB _INBOX.local.c5.> 2\r\n",
    b"SUB _INBOX.> 2\r\n", b"SUB lading.@.call.> 2\r\n", b"PUB lading.@.q.@.x lading.box.work.x 0\r\n\r\n",
    b"PUB $SYS.REQ.SERVER.PING _INBOX.@.1 0\r\n\r\n",
])
async def test_a_forged_subject_ends_the_connection(daemon: Engine, frame: bytes) -> None:
    """With the reason in an error line, and without a word to the server."""
    heard: list[str] = []

    async def hear(message: Message) -> None:
        heard.append(message.subject)

    await daemon.bus.serve("lading.>", hear)
    assert b"-ERR 'Permissions Violation" in await talk(daemon, HELLO + frame)
    assert await is_fine(daemon)
    assert not [subject for subject in heard if "c5" in subject or "work" in subject]


async def test_who_tries_to_speak_as_another_is_noted_by_user_and_process(
        daemon: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """A number that nobody can look up later would tell nothing."""
    with caplog.at_level("INFO", logger="adapters.control.listener"):
        await talk(daemon, HELLO + b"PUB lading.@.call.root 0\r\n\r\n")
    assert f"(uid {os.geteuid()}, pid {os.getpid()}) was refused: Permissions Violation" in caplog.text


@pytest.mark.parametrize("garbage", [
    b"\0" * 100_000, random.Random(7).randbytes(65536), b"A" * 60_000, b"PUB lading.@.call.@ -5\r\n", b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    HELLO + b"HPUB lading.@.call.@ _INBOX.@.1 60000 60001\r\n" + b"NATS/1.0\r\n" + b"x" * 59_990 + b"y\r\n",
    HELLO + b"PUB lading.@.call.@ _INBOX.@.1 3\r\nabc\r\n", HELLO + b"PUB lading.@.call.@ 100\r\nhalf", b"P",
    HELLO * 500,
    HELLO + b"PUB lading.@.io.@.nothing 2\r\nxx\r\n" * 1000,
], ids=lambda garbage: ascii(garbage[:20]))
async def test_garbage_hurts_only_who_sends_it(daemon: Engine, garbage: bytes) -> None:
    """Half frames, negative lengths, 60 kB headers, other protocols."""
    reader, writer = await asyncio.open_unix_connection(daemon.socket)
    with contextlib.suppress(OSError):
        writer.write(garbage)
        await writer.drain()
    assert await is_fine(daemon)
    writer.close()
    assert reader is not None


async def test_a_call_that_cannot_be_read_is_answered(daemon: Engine) -> None:
    """A client of another version gets one line and a status, not silence."""
    for payload in (b"", b"2\0\0ps\0", b"1\0cols=80\0ps\0", b"{}"):
        heard = await talk(daemon, HELLO + CALL % (len(payload), payload), b"X125")
        assert b"another protocol" in heard


async def test_the_file_is_for_root_alone_without_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the daemon was started with umask 0."""
    assert await _mode(tmp_path, "no-such-group") == (0o600, os.getegid())


@pytest.mark.kernel
async def test_the_file_is_for_the_group_where_there_is_one(tmp_path: Path) -> None:
    """Members need no sudo; everybody else is refused by the file system."""
    assert await _mode(tmp_path, "nogroup") == (0o660, NOBODY)


async def _mode(tmp_path: Path, group: str) -> tuple[int, int]:
    async def nowhere(role: str) -> Access:
        await asyncio.sleep(60)
        raise AssertionError

    before = os.umask(0)
    try:
        control = ControlSocket(tmp_path / "lading.sock", HOST, nowhere, " ".join, group=group)
        tmp_path.chmod(0o711)
        await control.start()
    finally:
        os.umask(before)
    state = (tmp_path / "lading.sock").stat()
    await control.close()
    assert not list(tmp_path.iterdir())
    return stat.S_IMODE(state.st_mode), state.st_gid


async def test_the_file_of_a_killed_daemon_is_replaced(daemon: Engine, tmp_path: Path) -> None:
    """Nobody listens there any more."""
    dead = socket.socket(socket.AF_UNIX)
    path = tmp_path / "run" / "other.sock"
    dead.bind(str(path))
    dead.close()
    control = ControlSocket(path, HOST, daemon.server.locate, " ".join)
    await control.start()
    _, writer = await asyncio.open_unix_connection(path)
    writer.close()
    await control.close()
    assert not path.exists()


async def test_a_link_in_its_place_is_replaced_not_followed(daemon: Engine, tmp_path: Path) -> None:
    """A link in the run directory must not make root write elsewhere."""
    victim, path = tmp_path / "victim", tmp_path / "run" / "other.sock"
    victim.write_text("precious")
    path.symlink_to(victim)
    control = ControlSocket(path, HOST, daemon.server.locate, " ".join)
    await control.start()
    assert stat.S_ISSOCK(path.lstat().st_mode)
    await control.close()
    assert victim.read_text() == "precious"


async def test_the_socket_of_a_living_daemon_is_left_alone(daemon: Engine) -> None:
    """The second one gives up."""
    with pytest.raises(Unavailable, match="another daemon"):
        await ControlSocket(daemon.socket, HOST, daemon.server.locate, " ".join).start()
    assert await is_fine(daemon)


async def test_a_directory_that_others_can_write_is_refused(tmp_path: Path, daemon: Engine) -> None:
    """They could put another socket in its place."""
    tmp_path.chmod(0o777)
    with pytest.raises(Unavailable, match="written by others"):
        await ControlSocket(tmp_path / "x.sock", HOST, daemon.server.locate, " ".join).start()


async def test_when_the_server_dies_its_clients_are_told(daemon: Engine) -> None:
    """They must not believe to have heard everything; new ones are served as soon as it is back."""
    reader, writer = await asyncio.open_unix_connection(daemon.socket)
    writer.write(call(b"sleep"))
    while b"asleep" not in await reader.readline():
        pass
    os.kill(daemon.server.pid, signal.SIGKILL)
    assert b"-ERR 'The bus went away'" in await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await until(lambda: daemon.bus.connected)
    assert await is_fine(daemon)
    assert daemon.cancelled == ["sleep"]


async def test_a_client_that_hangs_up_ends_its_call(daemon: Engine) -> None:
    """And only its own."""
    connections = [await asyncio.open_unix_connection(daemon.socket) for _ in range(2)]
    for reader, writer in connections:
        writer.write(call(b"sleep"))
        while b"asleep" not in await reader.readline():
            pass
    assert daemon.console.running == 2
    connections[0][1].close()
    await until(lambda: daemon.cancelled == ["sleep"])
    assert daemon.console.running == 1
    connections[1][1].close()
    await until(lambda: daemon.console.running == 0)


@pytest.mark.slow
async def test_a_client_that_does_not_read_costs_little(daemon: Engine) -> None:
    """Events for a listener that stands still wait in the server until that one gives it up, not in the daemon."""
    reader, writer = await asyncio.open_unix_connection(daemon.socket, limit=1024)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(b"CONNECT {}\r\nSUB lading.@.ev.> 1\r\nPING\r\n")
    await until(lambda: daemon.control.connected("c1"))
    assert await is_fine(daemon)
    before = _memory()
    for _ in range(512):
        await daemon.bus.publish(subjects.event(HOST, "container", "x", "exited.v1"), bytes(128 * 1024))
    assert await is_fine(daemon)
    assert _memory() - before < 32 * 1024 * 1024
    writer.close()
    assert reader is not None


class Impostor:
    """Somebody who listens where nats-server should: says each line when it is spoken to, and notes what it hears."""

    def __init__(self, *lines: bytes) -> None:
        self._lines = lines
        self.heard = b""
        self.met = self.left = 0

    async def __aenter__(self) -> "Impostor":
        self._server = await asyncio.start_server(self._greet, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await until(lambda: self.left == self.met)
        self._server.close()
        await self._server.wait_closed()

    def access(self, server_name: str) -> Access:
        """How the proxy is led there."""
        return Access("127.0.0.1", self._server.sockets[0].getsockname()[1], "proxy", "secret", server_name=server_name)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.met += 1
        with contextlib.suppress(ConnectionError):
            for line in self._lines:
                writer.write(line)
                self.heard += await reader.read(1000)
            while piece := await reader.read(1000):
                self.heard += piece
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.left += 1


async def _asking(path: Path, locate: Locate) -> tuple[ControlSocket, asyncio.StreamWriter]:
    """A control socket, and a client that has asked for something."""
    path.parent.chmod(0o711)
    control = ControlSocket(path, HOST, locate, " ".join)
    await control.start()
    _, writer = await asyncio.open_unix_connection(path)
    writer.write(b"CONNECT {}\r\nPUB lading.@.call.@ 6\r\nsecret\r\n")
    return control, writer


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def test_a_client_waits_for_a_bus_that_is_away(tmp_path: Path) -> None:
    """Without a connection to give it, it is not read from, and gets an answer when there is one."""
    ready = asyncio.Event()
    async with Impostor(b'INFO {"server_name":"x"}\r\n', b"PONG\r\n") as server:

        async def locate(role: str) -> Access:
            await ready.wait()
            return server.access("x")

        control, writer = await _asking(tmp_path / "s", locate)
        await until(lambda: control.connected("c1"))
        ready.set()
        await until(lambda: b"PUB lading.box.call.c1 6\r\nsecret\r\n" in server.heard)
        writer.close()
        await control.close()


async def test_a_bus_that_stays_away_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in silence, and not for ever."""
    monkeypatch.setattr(listener, "_BUS_SECONDS", 0.05)

    async def nowhere(role: str) -> Access:
        await asyncio.sleep(60)
        raise AssertionError

    tmp_path.chmod(0o711)
    control = ControlSocket(tmp_path / "s", HOST, nowhere, " ".join)
    await control.start()
    reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
    writer.write(b"CONNECT {}\r\nPING\r\n")
    assert b"-ERR 'The bus is away'" in await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await control.close()


async def test_a_stranger_in_the_server_s_place_hears_nothing_of_the_proxy(tmp_path: Path) -> None:
    """Neither the password nor a client's words."""
    async with Impostor(b'INFO {"server_name":"guess"}\r\n') as stranger:

        async def locate(role: str) -> Access:
            return stranger.access("real")

        control, writer = await _asking(tmp_path / "s", locate)
        await until(lambda: stranger.left > 8)
        writer.close()
        await control.close()
    assert stranger.heard == b""


async def test_many_clients_at_once(daemon: Engine) -> None:
    """More than the pool holds, each with its own number and its own answer."""
    async def one(number: int) -> bytes:
        return await talk(daemon, call(b"echo", b"%d" % number), b"X0")

    work: list[Awaitable[bytes]] = [one(number) for number in range(100)]
    for number, heard in enumerate(await asyncio.gather(*work)):
        assert b"O%d\n" % number in heard


async def test_a_gateway_speaks_for_its_clients_if_it_knows_the_token(daemon: Engine) -> None:
    """In its first line; whoever else says such a thing is hung up on, and so is everybody once nobody is trusted."""
    person = b'{"via":"socket","user":"ann","uid":1000,"gid":1000,"pid":0}\r\n'
    assert b"-ERR" in await talk(daemon, b"FOR  " + person + call(b"who"))
    daemon.control.trust("secret")
    assert b"O1000 ann socket \n" in await talk(daemon, b"FOR secret " + person + call(b"who"), b"X0")
    for said in (b"FOR wrong " + person, b"FOR secret {}\r\n", HELLO + b"FOR secret " + person):
        assert b"-ERR" in await talk(daemon, said + call(b"who"))
    daemon.control.trust("")
    assert b"-ERR" in await talk(daemon, b"FOR secret " + person + call(b"who"))
    assert await is_fine(daemon)


async def test_a_request_of_the_api_is_a_call_with_a_head(daemon: Engine) -> None:
    """Its body may hold anything, and its answer says where its head ends."""
    payload = b"1\0api=1\0session=1\0\0GET\0/x\0Host: y\0\0a\0b\0"
    heard = await talk(daemon, HELLO + CALL % (len(payload), payload), b"X0")
    assert b"A200\0Content-Type: text/plain" in heard
    assert b"O/x Host: y a.b\r\n" in heard
