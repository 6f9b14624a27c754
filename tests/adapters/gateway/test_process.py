"""The gateway's process: who may connect, when it ends, and that the daemon starts it again."""

import asyncio
import grp
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.gateway import process
from adapters.gateway.driver import GatewayProcess
from domain.errors import Refused, Unavailable
from tests.house.tree import ROOT

COMMAND = (sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv[0] = 'gateway'; "
                                 "from adapters.gateway.process import main; sys.exit(main(sys.argv[1:]))")


class Trusting:
    """The engine's socket: keeps the tokens."""

    def __init__(self) -> None:
        self.tokens: list[str] = []

    def __call__(self, token: str) -> None:
        self.tokens.append(token)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayProcess]:
    """A gateway whose engine is away."""
    settings = {"engine": str(tmp_path / "engine.sock"), "group": "no such group"}
    driver = GatewayProcess(COMMAND, settings, Trusting(), tmp_path / "gateway.log")
    yield driver
    await driver.stop()


async def _asked(path: Path) -> bytes:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
    return answer


def test_a_socket_is_opened_to_its_group_and_takes_the_place_of_a_left_over(tmp_path: Path) -> None:
    """In one step; a program that listens there keeps it."""
    path = tmp_path / "docker.sock"
    path.write_text("left over")
    group = grp.getgrgid(os.getgid()).gr_name
    listening = process.bind(str(path), group)
    listening.listen()
    assert (path.stat().st_mode & 0o777, path.stat().st_gid) == (0o660, os.getgid())
    with pytest.raises(OSError, match="another program"):
        process.bind(str(path), group)
    listening.close()
    process.bind(str(path), "no such group").close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["docker.sock"]


@pytest.mark.slow
async def test_it_serves_dies_and_serves_again(gateway: GatewayProcess, tmp_path: Path) -> None:
    """With another token each time; a second place is refused, and nothing is left at the end."""
    path = tmp_path / "docker.sock"
    await gateway.start(path)
    await gateway.start(path)
    assert b" 503 " in await _asked(path)
    with pytest.raises(Refused):
        await gateway.start(tmp_path / "other.sock")
    first = gateway.pid
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(20):
        while gateway.pid in (0, first) or not path.exists():
            await asyncio.sleep(0.02)
        while b" 503 " not in await _answer_or_nothing(path):
            await asyncio.sleep(0.02)
    await gateway.stop()
    assert (gateway.pid, gateway.path, path.exists()) == (0, "", False)
    assert isinstance(gateway._trust, Trusting)
    assert len(set(gateway._trust.tokens)) == 3
    assert gateway._trust.tokens[-1] == ""


async def _answer_or_nothing(path: Path) -> bytes:
    try:
        return await _asked(path)
    except OSError:
        return b""


@pytest.mark.slow
async def test_a_place_that_cannot_be_listened_at_is_named(gateway: GatewayProcess, tmp_path: Path) -> None:
    """And it is not tried again."""
    with pytest.raises(Unavailable, match="nowhere"):
        await gateway.start(tmp_path / "nowhere" / "docker.sock")
    assert (gateway.path, gateway.pid) == ("", 0)


@pytest.mark.slow
async def test_it_ends_with_the_daemon(tmp_path: Path) -> None:
    """Whose end it sees at once, however that came."""
    settings = {"engine": "", "group": "", "path": str(tmp_path / "docker.sock")}
    alone = await asyncio.create_subprocess_exec(
        *COMMAND, json.dumps(settings), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    assert alone.stdin is not None
    assert alone.stdout is not None
    alone.stdin.write(b"token\n")
    async with asyncio.timeout(20):
        assert await alone.stdout.readline() == b"ready\n"
        alone.stdin.close()
        assert await alone.wait() == 0
    assert not (tmp_path / "docker.sock").exists()


def test_it_steps_back_and_forth_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes go first while many are told, and only then."""
    set_to: list[int] = []
    monkeypatch.setattr(os, "getpriority", lambda which, who: 3)
    monkeypatch.setattr(os, "setpriority", lambda which, who, priority: set_to.append(priority))
    manners = process.Manners()
    set_to.clear()
    manners(True)
    manners(False)
    assert set_to == [13, 3]


def test_it_stays_where_there_is_no_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without CAP_SYS_NICE a process can only step back."""
    now = [0]

    def set_to(which: int, who: int, priority: int) -> None:
        if priority < now[0]:
            raise PermissionError
        now[0] = priority

    monkeypatch.setattr(os, "getpriority", lambda which, who: now[0])
    monkeypatch.setattr(os, "setpriority", set_to)
    process.Manners()(True)
    assert now == [1]


def test_what_it_imports_is_small() -> None:
    """It knows neither the events nor the engine: pydantic alone would cost as much memory as a thousand listeners."""
    code = ("import sys; import adapters.gateway.process; "
            "print(*({'pydantic', 'sqlalchemy', 'nats', 'domain.messages'} & sys.modules.keys()))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
