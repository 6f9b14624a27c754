"""Who may command the engine: not a container, not another user, nobody in another's name; and garbage ends nothing."""

import json
import os
import random
import resource
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.security.conftest import Look
from tests.tutorial.engine import Engine, until
from tests.tutorial.line import Line, Refusal

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

NOBODY = 65534
HELLO = b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n'
MOST_CLIENTS = 4096
OURS = ("store/layers", "store/stubs", "/upper")  # what lies there belongs to images and containers

AS_NOBODY = """
import json, os, socket, sys
def why(act):
    try: act()
    except OSError as error: return type(error).__name__
    return "ok"
def connect(path):
    with socket.socket(socket.AF_UNIX) as connection: connection.connect(path)
sockets, folders, pids = json.loads(sys.argv[1])
print(json.dumps([why(lambda: connect(path)) for path in sockets] + [why(lambda: os.listdir(path)) for path in folders]
    + [why(lambda: open(f"/proc/{pid}/{name}", "rb").read(1)) for pid in pids for name in ("environ", "mem")]
    + [why(lambda: os.listdir(f"/proc/{pid}/fd")) for pid in pids]))
"""


def test_a_container_in_the_hosts_network_gets_no_word_with_the_engine(engine: Engine, look: Look) -> None:
    """It sees the port of the bus and is refused there; it cannot listen in on those who are let in."""
    sockets = [str(engine.socket), str(engine.run_dir / "warden.sock")]
    users = ["daemon", "proxy", "worker", "reader", "SYS", "engine"]
    told = look("network", json.dumps(sockets), json.dumps(users), options=("--network", "host"))
    port = _bus_port(engine)
    assert told["buses"][str(port)]
    for answers in told["buses"].values():
        assert all("Authorization Violation" in answer for answer in answers), answers
    assert set(told["raw"].values()) == {"EPERM"}
    assert told["packet"] == "EPERM"
    assert told["unix"] == []


def test_no_part_of_the_engine_listens_on_an_abstract_socket(engine: Engine) -> None:
    """Those have no file modes, and whoever shares the network may connect (CVE-2020-15257)."""
    ours = {_target(entry) for pid in engine.processes().everyone() for entry in _descriptors(pid)}
    with open("/proc/net/unix") as lines:
        rows = [line.split() for line in lines]
    abstract = {f"socket:[{words[6]}]" for words in rows if len(words) > 7 and words[7].startswith("@")}
    assert not abstract & ours


def test_another_user_can_neither_connect_nor_read(engine: Engine) -> None:
    """Sockets, data root, run directory, and the processes themselves.

    CVE-2014-3499.
    """
    processes = engine.processes()
    pids = [processes[role] for role in ("daemon", "keeper", "warden", "zygote", "nats")]
    assert all(pids)
    sockets = [str(engine.socket), str(engine.run_dir / "warden.sock")]
    folders = [str(engine.data), str(engine.run_dir), *(str(path) for path in engine.data.iterdir() if path.is_dir())]
    done = subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "/usr/bin/env", "-i", _system_python(),
         "-I", "-S", "-c", AS_NOBODY, json.dumps([sockets, folders, pids])],
        capture_output=True, text=True, check=True, timeout=30)
    assert set(json.loads(done.stdout)) == {"PermissionError"}


def test_no_file_of_the_engine_is_open_to_others_whatever_the_umask_was(engine: Engine) -> None:
    """The daemon of this folder was started with umask 0.

    CVE-2021-41091, CVE-2021-41103, CVE-2024-25621.
    """
    engine.ok("run", "-d", "--name", "it", "-e", "A=1", "busybox", "sleep", "100")
    engine.cli("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert stat.S_IMODE(engine.data.stat().st_mode) == 0o710
    assert stat.S_IMODE(engine.run_dir.stat().st_mode) & 0o066 == 0
    open_to_others = [
        path for root in (engine.data, engine.run_dir) for path in _below(root)
        if path.lstat().st_mode & 0o007 and not any(part in str(path) for part in OURS)
        and not stat.S_ISLNK(path.lstat().st_mode)]
    closed_above = [path for path in open_to_others if stat.S_IMODE(_top(engine, path).stat().st_mode) & 0o077]
    assert closed_above == []
    assert [path for path in open_to_others if path.lstat().st_mode & 0o002] == []


@pytest.mark.parametrize("frame", [
    "SUB > 1", "SUB lading.> 1", "SUB lading.box.call.> 1", "SUB lading.@.work.> 1", "SUB _INBOX.> 1",
    "SUB _INBOX.daemon.> 1", "SUB _INBOX.local.c1.> 1", "SUB $SYS.> 1", "SUB lading.@.ev.> queue 1",
    "PUB lading.box.call.c1 3\r\nabc", "PUB lading.@.call.c1 3\r\nabc", "PUB lading.@.call.root 3\r\nabc",
    "PUB lading.@.work.start-requested 2\r\n{}", "PUB lading.@.done.1 2\r\n{}", "PUB _INBOX.@.1 1\r\nx",
    "PUB lading.@.ev.container.x.removed 2\r\n{}", "PUB lading.@.call.@ lading.box.work.x 1\r\nx",
    "PUB lading.@.call.@ _INBOX.daemon.1 1\r\nx", "PUB $SYS.REQ.SERVER.PING 0\r\n",
    "PUB lading.@.call.@ 3\r\nabcdPUB lading.box.done.1 0\r\n", "HPUB lading.@.call.@ 9 3\r\nabc",
])
def test_a_client_speaks_and_hears_in_its_own_name_only(engine: Engine, frame: str) -> None:
    """The proxy judges each frame before the bus sees it.

    CVE-2024-41110, CVE-2026-34040.
    """
    with closing(_connect(engine)) as connection:
        connection.sendall(HELLO + frame.encode() + b"\r\nPING\r\n")
        said = _all(connection)
        assert b"-ERR" in said
        assert b"PONG" not in said


@pytest.mark.parametrize(("role", "frame"), [
    (role, frame) for role, frames in {
        "reader": ["SUB > 1", "SUB lading.box.work.> 1", "SUB lading.box.q.> 1", "SUB lading.box.io.> 1",
                   "SUB _INBOX.> 1", "SUB $SYS.> 1", "PUB lading.box.cmd.reader.kill 2\r\n{}",
                   "PUB lading.box.call.reader 2\r\n{}", "PUB lading.box.q.c1.containers 2\r\n{}",
                   "PUB lading.box.ev.container.x.removed 2\r\n{}", "PUB _INBOX.daemon.1 2\r\n{}",
                   "PUB $SYS.REQ.SERVER.PING 0\r\n"],
        "worker": ["SUB > 1", "SUB lading.box.ev.> 1", "SUB _INBOX.local.> 1", "PUB lading.box.cmd.worker.kill 2\r\n{}",
                   "PUB lading.box.call.worker 2\r\n{}", "PUB lading.box.ev.container.x.removed 2\r\n{}"],
    }.items() for frame in frames])
def test_a_user_of_the_bus_has_the_rights_of_its_role_only(engine: Engine, role: str, frame: str) -> None:
    """The server itself refuses, whatever our code would do."""
    access = json.loads((engine.run_dir / "nats" / f"{role}.json").read_text())
    words = json.dumps({"user": access["user"], "pass": access["password"], "verbose": False})
    with socket.create_connection(("127.0.0.1", _bus_port(engine)), 5) as connection:
        connection.sendall(f"CONNECT {words}\r\n{frame}\r\nPING\r\n".encode())
        said = b""
        while b"PONG" not in said:
            said += connection.recv(1 << 16)
        assert b"Permissions Violation" in said


def test_the_actor_is_what_the_kernel_says_whatever_a_request_says(engine: Engine) -> None:
    """Fields that would claim another are no fields."""
    for claim in ("actor", "by", "user_id", "uid"):
        answer = engine.ask("create", request={"image": "busybox", "command": ["true"], claim: "mallory"})
        assert not answer["ok"]
        payload: dict[str, Any] = {"image": "busybox", claim: "mallory"}
        answer = engine.ask("create", **payload)
        assert not answer["ok"]
    id = engine.ok("create", "busybox", "true")
    row, *_ = engine.ok("audit", "--format", "{{json .}}", id).splitlines()
    assert "mallory" not in row
    assert "root" in row


def test_garbage_ends_connections_and_nothing_else(engine: Engine) -> None:
    """On all three doors: the control socket, the port of the bus, the supervisor's socket."""
    before = engine.processes().roles
    dice = random.Random(1)
    lines = [b"GET / HTTP/1.1\r\n\r\n", b"A" * 60_000, b"\0" * 100, b"CONNECT " + b"[" * 3000, b"\xff" * 4,
             (8 << 20).to_bytes(4), b"\0\0\0\2[]", b"PUB x -1\r\n", b"PUB lading.@.call.@ 99999999\r\n", b"\r\n" * 99]
    lines += [dice.randbytes(dice.randrange(1, 2000)) for _ in range(40)]
    port = _bus_port(engine)
    for line in lines:
        for family, place in ((socket.AF_UNIX, str(engine.socket)), (socket.AF_INET, ("127.0.0.1", port)),
                              (socket.AF_UNIX, str(engine.run_dir / "warden.sock"))):
            with socket.socket(family) as connection, suppress(OSError):
                connection.settimeout(5)
                connection.connect(place)
                connection.sendall(line)
    assert engine.ok("run", "--rm", "busybox", "echo", "alive") == "alive"
    assert engine.processes().roles == before


def test_requests_that_mean_nothing_are_answered_with_an_error(engine: Engine) -> None:
    """Deep, long, of the wrong kind, or SQL."""
    with closing(Line(engine.socket)) as line:
        for verb, payload in (
                ("create", b"[" * 200_000), ("create", b"null"), ("kill", b"\xff"), ("nosuch", b"{}"),
                ("stop", b'{"container":"' + b"x" * 900_000 + b'"}'), ("start", b'{"container":"a\\u0000b"}'),
                ("remove", b'{"container":"\' OR 1=1; DROP TABLE events; --"}'), ("kill", b'{"container":"%"}'),
                ("stop", b'{"container":"x","timeout":1e308}'), ("stop", b'{"container":"x","timeout":NaN}')):
            answer = line.ask(f"lading.@.cmd.@.{verb}", payload)
            assert answer["ok"] is False, verb
            assert "Traceback" not in answer["message"]
    assert engine.everything() == []


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many descriptors as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < MOST_CLIENTS + 1000:
        pytest.skip("needs more descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_thousands_of_silent_clients_cost_little_and_leave_nothing(engine: Engine, many_files: None) -> None:
    """Those beyond the limit are told so; when they are gone, everything is as before."""
    daemon = engine.processes()["daemon"]
    open_before = len(os.listdir(f"/proc/{daemon}/fd"))
    memory_before = _memory(daemon)
    clients = [_connect(engine) for _ in range(MOST_CLIENTS + 20)]
    try:
        until(lambda: len(os.listdir(f"/proc/{daemon}/fd")) >= open_before + MOST_CLIENTS - 100, "they are admitted")
        with pytest.raises((Refusal, ConnectionError)), closing(Line(engine.socket)) as line:
            line.ask("lading.@.q.@.containers", {})
        assert _memory(daemon) - memory_before < 100 << 20
    finally:
        for client in clients:
            client.close()
    until(lambda: len(os.listdir(f"/proc/{daemon}/fd")) <= open_before + 20, "their descriptors are closed")
    assert engine.everything() == []


def test_clients_that_do_not_read_fill_no_memory(engine: Engine) -> None:
    """Twenty wish for megabytes of output and take none of it; the others are served, the container is not held up."""
    engine.ok("run", "--name", "it", "busybox", "sh", "-c", "yes 01234567890123456789012345678 | head -c 20000000 >&2")
    daemon, bus = (engine.processes()[role] for role in ("daemon", "nats"))
    before = _memory(daemon), _memory(bus)
    clients = []
    try:
        for _ in range(20):
            client = _connect(engine)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(HELLO + b"SUB _INBOX.@.x 1\r\nPUB lading.@.call.@ _INBOX.@.x 11\r\n1\0\0logs\0it\0\r\n")
            clients.append(client)
        for _ in range(10):
            assert engine.ok("ps", "-q") == ""
            time.sleep(0.1)
        assert _memory(daemon) - before[0] < 100 << 20
        assert _memory(bus) - before[1] < 100 << 20
    finally:
        for client in clients:
            client.close()


def _system_python() -> str:
    """One that another user may execute; ours may lie in root's home."""
    for path in ("/usr/bin/python3", "/usr/local/bin/python3"):
        if os.path.exists(path) and not os.path.realpath(path).startswith("/root/"):
            return path
    pytest.skip("needs a Python outside of root's home")


def _bus_port(engine: Engine) -> int:
    access = json.loads((engine.run_dir / "nats" / "reader.json").read_text())
    return int(access["url"].rpartition(":")[2])


def _connect(engine: Engine) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(engine.socket))
    return connection


def _all(connection: socket.socket) -> bytes:
    connection.settimeout(10)
    said = b""
    with suppress(ConnectionError):
        while data := connection.recv(1 << 16):
            said += data
    return said


def _memory(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize()


def _descriptors(pid: int) -> Iterator[str]:
    with suppress(OSError):
        yield from (f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd"))


def _target(link: str) -> str:
    """Empty for a descriptor that is closed by now."""
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""


def _below(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        yield from (Path(folder) / name for name in (*folders, *files))


def _top(engine: Engine, path: Path) -> Path:
    """The entry of the data root or the run directory that holds `path`: what is closed there is closed below."""
    root = engine.data if path.is_relative_to(engine.data) else engine.run_dir
    return root / path.relative_to(root).parts[0]
