"""The thin client on a terminal: raw mode while it is asked for, and the terminal as before at every end."""

import asyncio
import os
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.adapters.cli.conftest import Lading
from tests.adapters.control.engine import MEBIBYTE, Engine
from tests.adapters.control.test_listener import until
from tests.tutorial.engine import ROOT
from tests.tutorial.engine import until as now
from tests.tutorial.keyboard import Keyboard

KILLS = int(os.environ.get("LADING_TEST_KILLS", "20"))


class Screen:
    """A client on a terminal, from within the loop that its daemon runs in."""

    def __init__(self, lading: Lading, *argv: str) -> None:
        words = [sys.executable, "-I", "-S", str(lading.launcher), *argv]
        self.keyboard = Keyboard(words, {"LADING_RUN_DIR": str(lading.run_directory), "PATH": "/usr/bin:/bin"})
        self.before, self.terminal = self.keyboard.modes, os.stat(self.keyboard.name)

    async def sees(self, text: str) -> None:
        """Wait until it is shown."""
        await asyncio.to_thread(self.keyboard.sees, text)

    async def ends(self) -> int:
        """Its exit status."""
        return await asyncio.to_thread(self.keyboard.ends)

    async def is_restored(self) -> None:
        """Wait until the terminal is as it was, and no guardian is left."""
        await until(lambda: self.keyboard.modes == self.before)
        await until(lambda: not _holders(self.terminal))


def _holders(terminal: os.stat_result) -> list[int]:
    """Processes other than this one that have the terminal open; one of the same name in a container is another one."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                files = [os.stat(f"/proc/{entry}/fd/{fd}") for fd in os.listdir(f"/proc/{entry}/fd")]
            except OSError:
                continue
            if any(os.path.samestat(terminal, file) for file in files):
                found.append(int(entry))
    return found


@pytest.fixture
async def typing(daemon: Engine, lading: Lading) -> AsyncIterator[Screen]:
    """A client whose terminal is in raw mode."""
    screen = Screen(lading, "keys")
    await screen.sees("[24x80]")
    assert screen.keyboard.raw
    yield screen
    screen.keyboard.close()


async def test_every_key_arrives_as_it_is_and_the_terminal_is_as_before_at_the_end(typing: Screen) -> None:
    """^C, ^Z, ^\\, a line end and bytes that are no text; nothing is echoed or translated."""
    for key in (b"\x03", b"\x1a", b"\x1c", b"\r", b"\n", b"\x13", b"\x00", b"\xff\xfe"):
        typing.keyboard.type(key)
        await typing.sees(f"<{key.hex()}>")
    typing.keyboard.type(b"\x04")
    await typing.sees("<04>bye\r\n")
    assert await typing.ends() == 3
    await typing.is_restored()


async def test_a_new_size_is_told(typing: Screen) -> None:
    """As often as the window changes."""
    for rows, cols in ((40, 120), (10, 20)):
        typing.keyboard.resize(rows, cols)
        await typing.sees(f"[{rows}x{cols}]")


async def test_a_defect_of_the_daemon_leaves_the_terminal_as_it_was(typing: Screen) -> None:
    """Before it says what was wrong: a line end in raw mode would leave the person somewhere in the middle."""
    typing.keyboard.type(b"!")
    assert await typing.ends() == 1
    assert typing.keyboard.shown.endswith(b"its log says why\r\n")
    await typing.is_restored()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1])
async def test_a_signal_ends_it_with_the_terminal_as_before(typing: Screen, number: signal.Signals) -> None:
    """The status says which one it was."""
    typing.keyboard.kill(number)
    assert await typing.ends() == 128 + number
    await typing.is_restored()


async def test_a_killed_client_leaves_the_terminal_as_it_was(typing: Screen) -> None:
    """Nobody can catch KILL; the guardian is there for that, and gone afterwards."""
    typing.keyboard.kill()
    assert await typing.ends() == 137
    await typing.is_restored()


_LATE = """
import posix, sys, time
sys.path.insert(0, sys.argv[1])
from adapters.cli import screen

def late(fork=posix.fork):
    pid = fork()
    if not pid:
        time.sleep(0.2)  # as on a machine that has other things to do
    return pid

posix.fork = late
screen.take()
posix.write(1, b"raw")
time.sleep(60)
"""


@pytest.mark.parametrize("send", [os.kill, os.killpg])
def test_a_guardian_that_gets_the_processor_late_is_no_danger(send: Callable[[int, int], None]) -> None:
    """The terminal hangs up on everybody who was in the foreground with a client that dies, and `kill %1` hits all of
    a job: the guardian has to be out of the way before there is anything to restore."""
    keyboard = Keyboard([sys.executable, "-I", "-S", "-c", _LATE, str(ROOT)], {})
    try:
        before, terminal = keyboard.modes, os.stat(keyboard.name)
        keyboard.sees("raw")
        assert keyboard.raw
        send(keyboard.process.pid, signal.SIGKILL)
        assert keyboard.ends() == 137
        now(lambda: keyboard.modes == before, "the terminal is as it was", 5)
        now(lambda: not _holders(terminal), "the guardian is gone", 5)
    finally:
        keyboard.close()


async def test_a_shell_that_was_quicker_than_the_guardian_keeps_its_modes(typing: Screen) -> None:
    """It learns of the death at the same time, and puts its own line editing in place."""


    modes = termios.tcgetattr(typing.keyboard.slave)
    modes[3] |= termios.ISIG
    termios.tcsetattr(typing.keyboard.slave, termios.TCSANOW, modes)
    typing.keyboard.kill()
    assert await typing.ends() == 137
    await until(lambda: not _holders(typing.terminal))
    assert termios.tcgetattr(typing.keyboard.slave) == modes


async def test_while_it_is_stopped_the_terminal_is_the_shells(typing: Screen) -> None:
    """TSTP gives it back, CONT takes it again and tells the size, which may be another one by now."""
    typing.keyboard.kill(signal.SIGTSTP)
    await until(lambda: typing.keyboard.modes == typing.before)
    typing.keyboard.resize(30, 90)
    typing.keyboard.kill(signal.SIGCONT)
    await typing.sees("[30x90]")
    await until(lambda: typing.keyboard.raw)
    typing.keyboard.type(b"x")
    await typing.sees("<78>")
    typing.keyboard.type(b"\x04")
    assert await typing.ends() == 3
    await typing.is_restored()


async def test_it_takes_the_terminal_again_after_a_stop_that_nobody_can_catch(typing: Screen) -> None:
    """The shell has set its own modes meanwhile."""


    typing.keyboard.kill(signal.SIGSTOP)
    await until(lambda: _state(typing.keyboard.process.pid) == "T")
    modes = termios.tcgetattr(typing.keyboard.slave)
    modes[3] |= termios.ICANON | termios.ECHO | termios.ISIG
    termios.tcsetattr(typing.keyboard.slave, termios.TCSANOW, modes)
    typing.keyboard.kill(signal.SIGCONT)
    await until(lambda: typing.keyboard.raw)
    typing.keyboard.type(b"\x04")
    assert await typing.ends() == 3
    await typing.is_restored()


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_a_daemon_that_vanishes_is_told_in_one_line(typing: Screen, daemon: Engine) -> None:
    """Whatever the program had drawn, the line begins at the left."""
    typing.keyboard.type(b"x")
    await typing.sees("<78>")
    await daemon.control.close()
    assert await typing.ends() == 1
    assert typing.keyboard.rest() == b"\r\nthe daemon went away before the command was finished\r\n"
    await typing.is_restored()


async def test_a_closed_window_ends_the_client(typing: Screen, daemon: Engine) -> None:
    """And its call with it."""
    os.close(typing.keyboard.master)
    typing.keyboard.master = -1
    assert await asyncio.to_thread(typing.keyboard.process.wait, 10) == -signal.SIGHUP
    await until(lambda: not daemon.console.running)
    await until(lambda: not _holders(typing.terminal))


async def test_a_secret_is_not_shown(daemon: Engine, lading: Lading) -> None:
    """Not even to who types as soon as he is asked; afterwards the terminal is as before."""
    screen = Screen(lading, "secret")
    await screen.sees("Password: ")
    screen.keyboard.type("tell no one\r")
    await screen.sees("<tell no one>")
    assert await screen.ends() == 0
    assert screen.keyboard.shown == b"Password: \r\n<tell no one>\r\n"
    await screen.is_restored()
    screen.keyboard.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_who_is_killed_while_a_secret_is_typed_leaves_the_terminal_as_it_was(
    daemon: Engine, lading: Lading, number: signal.Signals
) -> None:
    """A person who sees nothing of what he types believes that the computer hangs."""
    screen = Screen(lading, "secret")
    await screen.sees("Password: ")
    assert screen.keyboard.modes != screen.before
    screen.keyboard.kill(number)
    assert await screen.ends() == 128 + number
    await screen.is_restored()
    screen.keyboard.close()


async def test_only_the_size_can_be_asked_for(daemon: Engine, lading: Lading) -> None:
    """Keys stay what they are: ^C is a signal."""
    screen = Screen(lading, "size")
    await screen.sees("[24x80]")
    assert screen.keyboard.modes == screen.before
    screen.keyboard.resize(5, 6)
    await screen.sees("[5x6]")
    screen.keyboard.type(b"\x03")
    assert await screen.ends() == 130
    screen.keyboard.close()


async def test_the_size_is_that_of_the_keyboard_when_output_goes_elsewhere(daemon: Engine, lading: Lading) -> None:
    """`lading run -t … | tee log` has a size, too."""
    master, slave = os.openpty()


    termios.tcsetwinsize(slave, (33, 99))
    process = await lading.start("where", stdin=slave)
    out, _ = await asyncio.wait_for(process.communicate(), 10)
    assert b"cols=99, rows=33, stdin_tty=True, stdout_tty=False" in out
    os.close(master)
    os.close(slave)


async def test_without_a_terminal_raw_mode_is_no_error(daemon: Engine, lading: Lading) -> None:
    """The daemon asks for it only where it was told of one, but it may be wrong."""
    ended = await lading("keys", input=b"a\x04")
    assert (ended.status, ended.out) == (3, b"<6104>bye\n")


async def test_who_does_not_read_the_output_does_not_keep_input_back(daemon: Engine, lading: Lading) -> None:
    """A program may read all of its input although nobody takes what it writes."""
    size = 4 * MEBIBYTE
    process = await lading.start("flood-and-count", str(size), stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(bytes(size))
    process.stdin.close()
    # The pipe of its output is full by now: nothing was read from it.
    await until(lambda: not daemon.console.running)
    out, _ = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0
    assert out


@pytest.mark.slow
async def test_clients_that_are_killed_at_any_moment_leave_nothing(daemon: Engine, lading: Lading) -> None:
    """No call, no process, no descriptor, no terminal in raw mode; LADING_TEST_KILLS makes it many."""
    await _killed(daemon, lading, 0)
    held = len(os.listdir("/proc/self/fd"))
    for number in range(KILLS):
        await _killed(daemon, lading, number)
    await until(lambda: not daemon.console.running)
    await until(lambda: len(os.listdir("/proc/self/fd")) <= held)


async def _killed(daemon: Engine, lading: Lading, number: int) -> None:
    screen = Screen(lading, "keys")
    try:
        await asyncio.sleep(0.15 * (number % 20) / 20)  # any moment: from before the first message to raw mode
        screen.keyboard.type(b"x")
        screen.keyboard.kill()
        assert await screen.ends() == 137
        await screen.is_restored()
    finally:
        screen.keyboard.close()


