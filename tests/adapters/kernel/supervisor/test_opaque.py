"""What a container, or a user of the host, can learn from the small processes or do to them: nothing."""

import asyncio
import fcntl
import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from adapters.kernel.child import crossing
from adapters.kernel.supervisor import tree, wire
from adapters.kernel.supervisor.clients import admitted
from domain.errors import InUse, Unavailable
from tests.adapters.kernel.supervisor.machine import Machine, processes_of, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]
ROLES = ("keeper", "warden", "zygote")


async def test_the_small_processes_are_opaque(machine: Machine) -> None:
    """Next to no environment, no way to write their interpreter, a mask that lets nobody in, a session of their own."""
    async with machine.connected() as runtime:
        for pid in map(machine.pid, ROLES):
            status = Path(f"/proc/{pid}/status").read_text()
            settings = [f"{name}={value}\0" for name, value in crossing.SETTINGS.items()]
            allowed = "".join(settings) if pid == machine.pid("zygote") else ""
            assert Path(f"/proc/{pid}/environ").read_text() == allowed
            assert "Umask:\t0077" in status
            assert os.readlink(f"/proc/{pid}/cwd") == "/"
            assert os.getsid(pid) == machine.pid("keeper")
            assert "lading-python" in os.readlink(f"/proc/{pid}/exe")
            with open(f"/proc/{pid}/exe", "rb") as program:
                assert fcntl.fcntl(program, fcntl.F_GET_SEALS) & (fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL)
        id, process = await machine.start("sleep 1000")
        variables = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")[:-1]
        assert {item.split(b"=")[0] for item in variables} <= {b"PATH", b"HOSTNAME", b"HOME", b"SHLVL", b"PWD"}
        await runtime.kill_all(id)
        await machine.end(id)


async def test_an_unprivileged_user_cannot_look_at_them(machine: Machine) -> None:
    """Dumpable 0 makes everything below /proc/PID root's."""
    async with machine.connected():
        for pid in map(machine.pid, ROLES):
            assert os.stat(f"/proc/{pid}/environ").st_uid == 0
            argv = ["/usr/bin/env", "cat", f"/proc/{pid}/maps"]
            tried = await asyncio.to_thread(subprocess.run, argv, user=65534, capture_output=True, check=False)
            assert tried.returncode != 0


async def test_a_container_inherits_nothing(machine: Machine) -> None:
    """Descriptors, signals, mask, priority: as if a kernel had started it."""
    async with machine.connected():
        id, _ = await machine.start("ls -l /proc/self/fd | wc -l; grep -E 'SigBlk|SigIgn|Umask' /proc/self/status; "
                                    "cat /proc/self/oom_score_adj")
        assert (await machine.end(id)).code == 0
        assert (await machine.output(id)).split() == [
            b"5", b"Umask:", b"0022", b"SigBlk:", b"0" * 16, b"SigIgn:", b"0" * 16, b"0"]


async def test_the_socket_and_the_files_are_the_owners_alone(machine: Machine) -> None:
    """Whoever may write to the socket is root."""
    async with machine.connected():
        await machine.end((await machine.start("echo secret"))[0])
        assert stat.S_IMODE((machine.run_dir / "warden.sock").stat().st_mode) == 0o600
        for path in [machine.data / "state", *(machine.data / "state").iterdir(), *(machine.data / "logs").rglob("*")]:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


_START = {"id": "ab", "attempt": 1, "flags": 0, "host": [], "child": "[]", "logs": "/dev/null", "log": ["local", 1, 1]}


async def test_the_warden_survives_garbage(machine: Machine) -> None:
    """Half frames, huge lengths, no JSON, no object, unknown words: closed, or answered with an error."""
    async with machine.connected() as runtime:
        warden = machine.pid("warden")
        bad = [b"\xff\xff\xff\xff", b"\0\0\0\2{}", b"\0\0\0\1[", b"\0\0\0\3[1]", b"GET / HTTP/1.1\r\n\r\n",
               os.urandom(5000), wire.pack({"n": 1, "op": "none"}), wire.pack({"n": "x", "op": "list"}),
               b"\0\0\0\4[[[[", b"\0\0", b"\0\1\x86\xa0" + b"[" * 100_000]
        for data in bad:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect(str(machine.run_dir / "warden.sock"))
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                assert connection.recv(100) == b""
        for request in ({"op": "start"}, {"op": "start", "id": "../x"}, {"op": "signal", "id": "ab", "signal": 0},
                        {"op": "signal", "id": "ab", "signal": True}, {"op": "ack", "keys": 5}, {"op": "watch"},
                        {"op": "ack", "keys": [[[], {}]]}, {"op": "ack", "keys": [["ab"]]},
                        {"op": "watch", "id": "a" * 65}, {"op": "start", **_START, "attempt": 1 << 31},
                        {"op": "start", **_START, "flags": 1 << 64}, {"op": "start", **_START, "logs": "/tmp/\0"}):
            reply = tree._ask(machine.run_dir, request, 5)
            assert reply is not None
            assert "not understood" in reply["error"]["text"]
        for host in ([5], [["None"]], [["MakeGroup"]], [["MakeGroup", "ab", 1, {}], ["WriteFile", 1]]):
            reply = tree._ask(machine.run_dir, {"op": "start", **_START, "host": host}, 5)
            assert reply is not None
            assert reply["error"]["stage"] == "plan"
        assert machine.pid("warden") == warden
        assert await runtime.running() == {}


async def test_a_client_that_does_not_read_stalls_nobody(machine: Machine) -> None:
    """Its bells are dropped; the container and other clients go on."""
    async with machine.connected():
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(machine.run_dir / "warden.sock"))
            id = os.urandom(32).hex()
            connection.sendall(wire.pack({"n": 1, "op": "watch", "id": id}))
            await machine.start("i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done", id)
            assert (await machine.end(id)).code == 0


def test_only_the_same_user_is_admitted() -> None:
    """The kernel says who it is."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert admitted(ours)


async def test_racing_daemons_build_one_tree(machine: Machine) -> None:
    """Whoever has the lock of the data root is the tree."""
    await asyncio.gather(*(asyncio.to_thread(tree.ensure_warden, machine.run_dir, machine.data) for _ in range(4)))
    keepers = [pid for pid in os.listdir("/proc") if pid.isdigit() and _is_keeper(pid, machine)]
    assert len(keepers) == 1
    await asyncio.to_thread(wait_until, lambda: set(processes_of(machine.data)) == set(ROLES), "all three are there")


def _is_keeper(pid: str, machine: Machine) -> bool:
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"keeper" in argv and os.fsencode(f"data={machine.data}") in argv


async def test_a_data_root_has_one_tree_whatever_the_run_directory(machine: Machine, tmp_path: Path) -> None:
    """A second run directory does not get a second set of supervisors for the same containers."""
    await asyncio.to_thread(tree.ensure_warden, machine.run_dir, machine.data)
    with pytest.raises(Unavailable, match=str(machine.run_dir)):
        await asyncio.to_thread(tree.ensure_warden, tmp_path / "other", machine.data)


async def test_the_tree_stays_while_containers_run(machine: Machine) -> None:
    """Unless they are to be ended with it; their exits are told to the next daemon."""
    async with machine.connected() as runtime:
        id, _ = await machine.start("sleep 1000")
        with pytest.raises(InUse):
            await runtime.shut_down()
    assert await asyncio.to_thread(tree.stop_warden, machine.run_dir, kill=True)
    assert not await asyncio.to_thread(tree.stop_warden, machine.run_dir)
    async with machine.connected():
        assert (await machine.end(id)).code == 137
