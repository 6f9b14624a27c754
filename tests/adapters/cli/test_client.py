"""The thin client as a process, against a real daemon: bytes, statuses, signals, files, and every way to end."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.cli.main import Interrupt, Line
from tests.adapters.cli.conftest import Ended, Lading
from tests.adapters.control.engine import MEBIBYTE, Engine
from tests.adapters.control.test_listener import until


async def reads(process: asyncio.subprocess.Process, wanted: bytes) -> None:
    """Wait for a line of its output."""
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 10)
    assert line == wanted


async def test_words_arrive_as_they_were_typed(daemon: Engine, lading: Lading) -> None:
    """Empty ones, ones with line ends, and bytes that are no text."""
    assert await lading("echo", "a", "", "b\nc", b"\xff\xfe", "é") == Ended(0, b"a  b\nc \xff\xfe \xc3\xa9\n", b"")


async def test_text_and_status_come_back(daemon: Engine, lading: Lading) -> None:
    """Each stream where it belongs."""
    assert await lading("fail", "42") == Ended(42, b"", b"no\n")


async def test_a_defect_ends_run_with_125_and_others_with_1(daemon: Engine, lading: Lading) -> None:
    """Scripts tell the engine's failure from the program's by this."""
    assert [(await lading("run")).status, (await lading("defect")).status] == [125, 1]


async def test_the_daemon_knows_where_it_is_asked_from(daemon: Engine, lading: Lading, tmp_path: Path) -> None:
    """Relative paths and new files are the client's."""
    ended = await lading("where", cwd=tmp_path)
    umask = os.umask(0)
    os.umask(umask)
    assert ended.out.decode().splitlines()[:2] == [str(tmp_path), f"{umask:o}"]


async def test_a_directory_that_is_gone_is_no_obstacle(daemon: Engine, lading: Lading, tmp_path: Path) -> None:
    """`ps` needs none."""
    gone = tmp_path / "gone"
    gone.mkdir()
    process = await lading.start("where", cwd=gone)
    gone.rmdir()
    out, _ = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0
    assert out.splitlines()[0] in (b"", str(gone).encode())


async def test_a_terminal_is_described(daemon: Engine, lading: Lading) -> None:
    """Its size, and that colour is welcome unless it is not."""
    for environment, color in (({"TERM": "xterm"}, "True"), ({"TERM": "xterm", "NO_COLOR": "1"}, "False"),
                               ({"TERM": "dumb"}, "False")):
        master, slave = pty.openpty()
        os.set_blocking(master, False)
        termios.tcsetwinsize(slave, (40, 120))
        process = await lading.start("where", stdout=slave, environment=environment)
        os.close(slave)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        said = os.read(master, 65536).decode()
        assert "cols=120, rows=40, stdin_tty=False, stdout_tty=True, stderr_tty=False" in said
        assert f"color={color}" in said
        os.close(master)


async def test_large_output_arrives_whole(daemon: Engine, lading: Lading) -> None:
    """Many times the window."""
    ended = await lading("flood", "16")
    assert (ended.status, len(ended.out)) == (0, 16 * MEBIBYTE)


async def test_a_file_is_streamed(daemon: Engine, lading: Lading, tmp_path: Path) -> None:
    """Larger than the window, byte for byte."""
    content = os.urandom(3 * MEBIBYTE)
    (tmp_path / "file").write_bytes(content)
    assert await lading("cat", str(tmp_path / "file")) == Ended(0, content, b"")


async def test_an_empty_file_is_a_file(daemon: Engine, lading: Lading) -> None:
    """Not a missing one."""
    assert await lading("cat", "/dev/null") == Ended(0, b"", b"")


async def test_a_regular_file_is_lent_and_nothing_else(daemon: Engine, lading: Lading, tmp_path: Path) -> None:
    """Of a pipe, opening it twice would be felt by whoever writes."""
    (tmp_path / "file").write_bytes(b"content")
    lent = b"streamed" if os.major(tmp_path.stat().st_dev) == 0 else b"lent"
    assert await lading("lend", str(tmp_path / "file")) == Ended(0, lent + b": content", b"")
    assert await lading("lend", "/dev/null") == Ended(0, b"streamed: ", b"")
    ended = await lading("lend", str(tmp_path / "nothing"))
    assert b"no such file or directory" in ended.err


@pytest.mark.parametrize(("path", "reason"), [("/nonexistent", b"open /nonexistent: no such file or directory"),
                                              ("/", b"read /: is a directory")])
async def test_a_file_that_cannot_be_read_is_said(daemon: Engine, lading: Lading, path: str, reason: bytes) -> None:
    """In the words people know."""
    ended = await lading("cat", path)
    assert (ended.status, ended.err) == (1, b"lading: " + reason + b"\n")


async def test_standard_input_is_streamed(daemon: Engine, lading: Lading) -> None:
    """Also through a pipe, both ways at once."""
    content = os.urandom(4 * MEBIBYTE)
    assert await lading("stdin", input=content) == Ended(0, content, b"")


async def test_a_closed_standard_input_is_empty(daemon: Engine, lading: Lading) -> None:
    """`lading … <&-` must not read the connection by mistake."""
    script = 'exec "$@" <&-'
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", script, "sh", sys.executable, "-I", "-S", lading.launcher, "count",
        env={"LADING_RUN_DIR": str(lading.run_directory)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, out, err) == (0, b"0\n", b"")


async def test_only_the_variables_that_are_asked_for_are_told(daemon: Engine, lading: Lading) -> None:
    """Set, empty and missing are three things."""
    ended = await lading("env", "A", "EMPTY", "MISSING", environment={"A": "x=y\nz", "EMPTY": "", "SECRET": "s"})
    assert ended == Ended(0, b"A=x=y\nz\nEMPTY=\n", b"")


async def test_a_file_is_made_once_and_deleted(daemon: Engine, lading: Lading, tmp_path: Path) -> None:
    """A cidfile that exists is left alone."""
    path = tmp_path / "cid"
    assert (await lading("new", str(path), "abc")).status == 0
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("abc", 0o640)
    assert await lading("new", str(path), "other") == Ended(1, b"", b"lading: file exists\n")
    assert path.read_text() == "abc"
    assert (await lading("delete", str(path))).status == 0
    assert not path.exists()
    assert (await lading("delete", str(path))).status == 0


@pytest.mark.parametrize(("typed", "answer"), [(b"yes\nrest", b"yes"), (b"y", b"y"), (b"", b""), (b"\n", b"")])
async def test_a_question_takes_one_line(daemon: Engine, lading: Lading, typed: bytes, answer: bytes) -> None:
    """The end of input is an answer too: none."""
    assert await lading("ask", input=typed) == Ended(0, b"sure? <" + answer + b">\n", b"")


async def test_signals_are_forwarded(daemon: Engine, lading: Lading) -> None:
    """The client stays, and ends as the daemon says."""
    process = await lading.start("signals")
    await reads(process, b"ready\n")
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGRTMIN + 3):
        process.send_signal(number)
        await reads(process, b"%d\n" % number)
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 10) == 143


async def test_the_third_interrupt_leaves_at_once(daemon: Engine, lading: Lading) -> None:
    """A program that ignores ^C does not keep the terminal."""
    process = await lading.start("signals")
    await reads(process, b"ready\n")
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        await reads(process, b"2\n")
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 10) == -signal.SIGINT


async def test_a_signal_passes_a_reader_that_stands_still(daemon: Engine, lading: Lading) -> None:
    """Output that nobody takes must not keep TERM from the container."""
    process = await lading.start("signals")
    await reads(process, b"ready\n")
    for _ in range(3):
        process.send_signal(signal.SIGUSR1)
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 10) == 143


async def test_the_first_interrupt_asks_the_engine(daemon: Engine, lading: Lading) -> None:
    """And the client says in which state things were left."""
    process = await lading.start("slow-stop")
    await reads(process, b"stopping\n")
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, err) == (130, b"left half done\n")


async def test_the_second_interrupt_leaves_at_once(daemon: Engine, lading: Lading) -> None:
    """Whatever the engine does: here it goes on."""
    process = await lading.start("deaf")
    await reads(process, b"asleep\n")
    process.send_signal(signal.SIGINT)
    await reads(process, b"no\n")
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 10) == -signal.SIGINT
    await until(lambda: daemon.cancelled == ["deaf"])


async def test_what_belongs_to_a_call_needs_no_bus(daemon: Engine, lading: Lading) -> None:
    """Keys and output go straight from socket to console: the server here stands still."""
    process = await lading.start("stdin", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"begun\n")
    await reads(process, b"begun\n")
    os.kill(daemon.server.pid, signal.SIGSTOP)
    try:
        process.stdin.write(b"there and back\n")
        await reads(process, b"there and back\n")
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        os.kill(daemon.server.pid, signal.SIGCONT)


async def test_a_reader_that_has_seen_enough_ends_it_quietly(daemon: Engine, lading: Lading) -> None:
    """`lading logs x | head`: no message, and the status a shell shows for SIGPIPE."""
    reader, writer = os.pipe()
    process = await lading.start("flood", "64", stdout=writer)
    os.close(writer)
    await asyncio.to_thread(os.read, reader, 100)
    os.close(reader)
    _, err = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, err) == (-signal.SIGPIPE, b"")
    await until(lambda: daemon.console.running == 0)


async def test_a_full_disk_is_said(daemon: Engine, lading: Lading) -> None:
    """Lost output is a failure."""
    full = os.open("/dev/full", os.O_WRONLY)
    process = await lading.start("echo", "x", stdout=full)
    os.close(full)
    _, err = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, err) == (1, b"write error: No space left on device\n")


async def test_a_client_that_is_killed_ends_its_call(daemon: Engine, lading: Lading) -> None:
    """In the middle of output that nobody takes."""
    process = await lading.start("flood", "1000")
    await until(lambda: daemon.console.running == 1)
    process.kill()
    await process.communicate()
    await until(lambda: daemon.cancelled == ["flood"])
    assert daemon.console.running == 0


async def test_a_daemon_that_dies_is_said_at_once(daemon: Engine, lading: Lading) -> None:
    """Exit status 1, or 125 where the engine's failures have to be told from the program's."""
    process = await lading.start("sleep")
    await reads(process, b"asleep\n")
    await daemon.control.close()
    _, err = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, err) == (1, b"the daemon went away before the command was finished\n")


async def test_a_bus_that_dies_is_said_at_once(daemon: Engine, lading: Lading) -> None:
    """What it had not delivered is lost, so the client must not pretend."""
    process = await lading.start("sleep")
    await reads(process, b"asleep\n")
    os.kill(daemon.server.pid, signal.SIGKILL)
    _, err = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, err) == (1, b"the daemon hung up: The bus went away\n")
    await until(lambda: daemon.bus.connected)
    assert (await lading("echo", "x")).out == b"x\n"


@pytest.mark.slow
async def test_two_hundred_calls_at_once(daemon: Engine, lading: Lading) -> None:
    """All of them answered, none of them mixed up."""
    async def one(number: int) -> bool:
        return await lading("echo", str(number)) == Ended(0, b"%d\n" % number, b"")

    assert all(await asyncio.gather(*(one(number) for number in range(200))))


@pytest.mark.slow
async def test_a_gibibyte_passes_through_flat_memory(daemon: Engine, lading: Lading) -> None:
    """Neither the daemon nor the server nor the client keeps more than windows of it."""
    reader, writer = os.pipe()
    process = await lading.start("flood", "1024", stdout=writer)
    os.close(writer)
    pids = {"daemon": os.getpid(), "server": daemon.server.pid, "client": process.pid}
    begin, most, size = _memory(os.getpid()), dict.fromkeys(pids, 0), 0
    loop = asyncio.get_running_loop()
    while piece := await loop.run_in_executor(None, os.read, reader, MEBIBYTE):
        size += len(piece)
        if process.returncode is None and size % (8 * MEBIBYTE) < MEBIBYTE // 16:
            most = {name: max(most[name], _memory(pid)) for name, pid in pids.items()}
    os.close(reader)
    assert await process.wait() == 0
    assert size == 1024 * MEBIBYTE
    assert most["daemon"] - begin < 48 * MEBIBYTE
    assert most["server"] < 96 * MEBIBYTE
    assert most["client"] < 32 * MEBIBYTE


def _memory(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, IndexError):
        return 0


async def test_a_slow_reader_holds_up_only_itself(daemon: Engine, lading: Lading) -> None:
    """While one client stands still with a full window, others are answered."""
    process = await lading.start("flood", "100")
    await until(lambda: daemon.console.running == 1)
    begin = time.monotonic()
    assert (await lading("echo", "x")).out == b"x\n"
    assert time.monotonic() - begin < 5
    process.kill()
    await process.communicate()


async def test_an_argument_list_that_does_not_fit_is_said(daemon: Engine, lading: Lading) -> None:
    """A message holds one mebibyte."""
    ended = await lading("echo", *["x" * 100_000] * 11)
    assert (ended.status, ended.err) == (1, b"the argument list is too long\n")


class Interrupted:
    """A connection in whose first message ^C is pressed."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.press: Callable[[], None] | None = None

    def sendall(self, data: bytes) -> None:
        """In two halves."""
        press, self.press = self.press, None
        self.sent.append(data[:3])
        if press is not None:
            press()
        self.sent.append(data[3:])


def test_a_key_that_is_pressed_in_the_middle_of_a_message_is_sent_behind_it() -> None:
    """The first ^C must neither tear the message that begins the call nor be forgotten."""
    connection = Interrupted()
    line = Line(connection)  # type: ignore[arg-type]
    interrupt = Interrupt(line)
    connection.press = lambda: interrupt(signal.SIGINT, None)
    line.send_raw(b"the call\r\n")
    assert b"".join(connection.sent) == b"the call\r\nPUB lading.@.io.@.1 1\r\nc\r\n"
