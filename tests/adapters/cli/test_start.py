"""The client when no daemon answers: it says so, or starts one; and the verbs about the daemon itself."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.control.console import Call, serve_calls
from adapters.control.listener import ControlSocket
from adapters.nats.bus import NatsBus
from adapters.nats.server import EmbeddedServer
from tests.adapters.cli.conftest import ROOT, Ended, Lading
from tests.adapters.control.engine import HOST, Engine
from tests.adapters.control.test_listener import until

NOBODY = 65534
ABSENT = "Cannot connect to the lading daemon at unix://{}/lading.sock. Is the lading daemon running?\n"


def fake_daemon(tmp_path: Path, before: str = "") -> tuple[str, ...]:
    """The command line of a daemon that answers, after doing `before`."""
    program = tmp_path / "ladingd.py"
    program.write_text(
        f"import asyncio, os, signal, sys, time\nsys.path.insert(0, {str(ROOT)!r})\n{before}\n"
        "from pathlib import Path\nfrom tests.adapters.control.engine import engine\n"
        "async def main():\n"
        "    ended = asyncio.Event()\n"
        "    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)\n"
        "    async with engine(Path(os.environ['LADING_RUN_DIR'])):\n"
        "        await ended.wait()\n"
        "asyncio.run(main())\n")
    return sys.executable, str(program)


async def stop(lading: Lading) -> None:
    """End the daemon that a test started."""
    assert (await lading("daemon", "stop")).status == 0


@pytest.mark.parametrize(("argv", "status"), [(["ps"], 1), (["run", "x"], 125), (["create", "x"], 1),
                                              (["-D", "container", "run", "x"], 125), (["version"], 1),
                                              (["run", "x", "--help"], 125)])
async def test_without_a_daemon_there_is_one_line_and_a_status(lading: Lading, argv: list[str], status: int) -> None:
    """The line that scripts look for."""
    ended = await lading(*argv, daemon=("/bin/false",), environment={"LADING_AUTOSTART": "0"})
    assert ended == Ended(status, b"", ABSENT.format(lading.run_directory).encode())


async def test_no_daemon_is_started_for_another_address(lading: Lading, tmp_path: Path) -> None:
    """It would listen where it is configured to, and the client would wait for nothing."""
    ended = await lading("-H", f"unix://{tmp_path}/x.sock", "ps", daemon=fake_daemon(tmp_path))
    told = f"Cannot connect to the lading daemon at unix://{tmp_path}/x.sock. Is the lading daemon running?\n"
    assert ended == Ended(1, b"", told.encode())


@pytest.mark.parametrize(("argv", "told"), [
    (["--help"], "--help"), ([], ""), (["ps", "--help"], "ps --help"), (["help", "ps"], "help ps"), (["-v"], "-v"),
    (["container", "ls", "--help"], "container ls --help"), (["image"], "image"), (["version"], "version"),
    (["-D", "system", "info"], "-D system info")])
async def test_what_the_client_knows_alone_is_told_without_a_daemon(
        lading: Lading, tmp_path: Path, argv: list[str], told: str) -> None:
    """By another program, which is given the reason and the words; nothing is started for a help text."""
    program = tmp_path / "program.py"
    program.write_text("import sys\nprint(sys.argv[1], *sys.argv[3:])\nprint(sys.argv[2], file=sys.stderr)\n")
    ended = await lading(*argv, daemon=(sys.executable, str(program), "daemon"), environment={"LADING_AUTOSTART": "0"})
    assert ended == Ended(0, f"offline {told}".rstrip().encode() + b"\n", ABSENT.format(lading.run_directory).encode())


@pytest.mark.parametrize(("argv", "status", "out", "err"), [
    (["--help"], 0, "Usage:  lading daemon", ""), (["stop", "--help"], 0, "Usage:  lading daemon", ""),
    ([], 0, "", "Usage:  lading daemon"), (["restart"], 1, "", "unknown command: lading daemon restart\n"),
    (["\x1b[0m"], 1, "", "unknown command: lading daemon ?[0m\n"),
    (["stop", "now"], 1, "", "'lading daemon stop' accepts no arguments\n")])
async def test_the_verbs_of_the_daemon_explain_themselves(
        lading: Lading, argv: list[str], status: int, out: str, err: str) -> None:
    """Help on stdout, a mistake on stderr, as with every other verb."""
    ended = await lading("daemon", *argv)
    assert ended.status == status
    assert (ended.out.decode().startswith(out), ended.err.decode().startswith(err)) == (True, True)
    assert (not out, not err) == (not ended.out, not ended.err)


async def test_another_address_can_be_named(daemon: Engine, lading: Lading, tmp_path: Path) -> None:
    """Before the command, and it is not passed on."""
    address = f"unix://{daemon.socket}"
    for words in (["-H", address], ["--host", address], [f"--host={address}"], [f"-H{address}"]):
        ended = await lading(*words, "echo", "x", environment={"LADING_RUN_DIR": "/nonexistent"})
        assert ended == Ended(0, b"x\n", b"")
    assert (await lading("echo", "-H", "unix://y")).out == b"-H unix://y\n"
    assert (await lading("-H", "tcp://y", "ps")).err == (
        b"the address of the daemon must be unix://PATH or nats://USER@SERVER[:PORT]/HOST\n")


@pytest.mark.slow
async def test_a_daemon_is_started_when_none_answers(lading: Lading, tmp_path: Path) -> None:
    """The first command after boot just takes longer; the daemon outlives it, and its terminal is not the daemon's."""
    ended = await lading("echo", "x", daemon=fake_daemon(tmp_path), environment={"SECRET": "s"})
    assert ended == Ended(0, b"x\n", b"")
    status = await lading("daemon", "status")
    pid = int(status.out.split()[2].rstrip(b","))
    assert os.getsid(pid) == pid
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"SECRET" not in environment
    assert b"LADING_RUN_DIR" in environment
    await stop(lading)
    assert (await lading("daemon", "status")).status == 1


@pytest.mark.slow
async def test_a_daemon_that_cannot_start_says_why(lading: Lading, tmp_path: Path) -> None:
    """Its last line, without control characters, at once."""
    command = fake_daemon(tmp_path, "sys.exit('loading\\ndata root is \\x1b[31mread-only')")
    ended = await asyncio.wait_for(lading("run", "x", daemon=command), 5)
    assert ended == Ended(125, b"", b"the lading daemon could not be started: data root is ?[31mread-only\n")


async def test_a_daemon_that_does_not_exist_is_said(lading: Lading) -> None:
    """An installation that is broken."""
    ended = await lading("ps", daemon=("/nonexistent/ladingd",))
    assert (ended.status, ended.err) == (
        1, b"the lading daemon could not be started: /nonexistent/ladingd: No such file or directory\n")


@pytest.mark.slow
async def test_who_loses_the_race_to_start_waits_for_the_winner(lading: Lading, tmp_path: Path) -> None:
    """Two commands after boot start two daemons; one finds the data root locked and ends with 75."""
    lock = tmp_path / "lock"
    command = fake_daemon(tmp_path, f"try:\n    os.open({str(lock)!r}, os.O_CREAT | os.O_EXCL)\nexcept OSError:\n"
                                    "    sys.exit(75)\ntime.sleep(0.3)")
    ended = await asyncio.gather(*(lading("echo", "x", daemon=command) for _ in range(4)))
    assert ended == [Ended(0, b"x\n", b"")] * 4
    await stop(lading)


@pytest.mark.slow
async def test_a_daemon_that_is_about_to_end_is_followed_by_another(lading: Lading, tmp_path: Path) -> None:
    """It has the data root and listens no more: whoever waited for it to answer would wait for ever."""
    ending = tmp_path / "ending"
    ending.touch()
    command = fake_daemon(tmp_path, f"if os.path.exists({str(ending)!r}):\n    os.unlink({str(ending)!r})\n"
                                    "    sys.exit(75)")
    assert await asyncio.wait_for(lading("echo", "x", daemon=command), 10) == Ended(0, b"x\n", b"")
    await stop(lading)


async def test_a_daemon_with_new_tables_is_that_one_or_it_is_said(lading: Lading, tmp_path: Path) -> None:
    """Somebody else's may come first and answer: its tables are what they were."""
    listening = socket.socket(socket.AF_UNIX)
    lading.run_directory.mkdir(mode=0o711)
    place = str(lading.run_directory / "lading.sock")
    begun = tmp_path / "begun"
    program = tmp_path / "ladingd.py"
    program.write_text(f"import pathlib, sys\npathlib.Path({str(begun)!r}).touch()\nsys.exit(75)\n")
    asked = asyncio.create_task(lading("daemon", "start", "--rebuild", daemon=(sys.executable, str(program))))
    await until(begun.exists)
    listening.bind(place)
    listening.listen()
    ended = await asyncio.wait_for(asked, 10)
    listening.close()
    assert ended == Ended(1, b"", b"the lading daemon runs already: stop it first, with lading daemon stop\n")


@pytest.mark.slow
async def test_the_verbs_about_the_daemon_can_be_repeated(lading: Lading, tmp_path: Path) -> None:
    """Starting what runs and stopping what does not are fine."""
    command = fake_daemon(tmp_path)
    for _ in range(2):
        assert await lading("daemon", "start", daemon=command) == Ended(0, b"", b"")
    assert (await lading("daemon", "status")).out.startswith(b"running, pid ")
    for _ in range(2):
        assert await lading("daemon", "stop") == Ended(0, b"", b"")
    assert (await lading("daemon", "nonsense")).status == 1


async def test_a_call_waits_for_a_daemon_that_is_just_starting(lading: Lading) -> None:
    """The socket is there before whoever answers: the server says that nobody heard it, and the client asks again."""
    lading.run_directory.mkdir(mode=0o711)
    server = EmbeddedServer(lading.run_directory / "nats", HOST)
    await server.start()
    bus = NatsBus(server.locate)
    await bus.connect()
    control = ControlSocket(lading.run_directory / "lading.sock", HOST, server.locate, " ".join)
    await control.start()
    client = asyncio.create_task(lading("x"))
    await until(lambda: control.connected("c1"))

    async def answer(call: Call) -> None:
        await call.out(b"here\n")

    console = await serve_calls(bus, HOST, answer, control)
    assert await client == Ended(0, b"here\n", b"")
    await control.close()
    await console.close()
    await bus.close()
    await server.stop()


@pytest.mark.kernel
async def test_a_user_without_rights_learns_which_group_it_takes(daemon: Engine, lading: Lading) -> None:
    """One line, no traceback, and no second daemon."""
    for directory in (daemon.run, *daemon.run.parents):
        if directory != Path("/") and not directory.stat().st_mode & 0o001:
            directory.chmod(directory.stat().st_mode | 0o011)
    # Imported before the change, because the interpreter may lie where only root can read.
    script = (f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); import adapters.cli.main\n"
              f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n{lading.launcher.read_text()}")
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", script, "ps", "--daemon", "/bin/false", stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={"LADING_RUN_DIR": str(daemon.run)})
    out, err = await asyncio.wait_for(child.communicate(), 10)
    assert (child.returncode, out) == (1, b"")
    assert err == (f"permission denied while connecting to the lading daemon at unix://{daemon.socket}: "
                   "only root and the group lading may\n").encode()


@pytest.mark.slow
async def test_an_impatient_person_can_leave_while_the_daemon_starts(lading: Lading, tmp_path: Path) -> None:
    """^C works from the first moment, without a traceback."""
    command = fake_daemon(tmp_path, f"open({str(tmp_path / 'up')!r}, 'w'); time.sleep(1)")
    process = await lading.start("ps", daemon=command)
    await until((tmp_path / "up").exists)
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, err) == (-signal.SIGINT, b"")
    await until((lading.run_directory / "lading.sock").exists)
    await stop(lading)
