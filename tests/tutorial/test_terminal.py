"""A person at a terminal: type, resize, leave, come back; programs that draw the screen; pipes; and everything that can
go away meanwhile.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.tutorial.engine import PROGRAMS, Engine, alive, until
from tests.tutorial.keyboard import Keyboard

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

DETACH = "\x10\x11"
KILLS = int(os.environ.get("LADING_TEST_KILLS", "25"))
MEBIBYTES = int(os.environ.get("LADING_TEST_MEBIBYTES", "64"))
CONNECTIONS = 10
"""From the daemon to the bus: its own, and those that `adapters.control.upstream` opens in advance."""
Sit = Callable[..., Keyboard]


@pytest.fixture
def sit(engine: Engine) -> Iterator[Sit]:
    """Sits down at a terminal and types a command line; all windows are closed at the end."""
    with ExitStack() as stack:

        def begin(*words: str, rows: int = 24, cols: int = 80) -> Keyboard:
            keyboard = Keyboard([str(PROGRAMS / "lading"), *words], engine.environment, rows, cols)
            stack.callback(keyboard.close)
            return keyboard

        yield begin


def shell(sit: Sit, *options: str, rows: int = 24, cols: int = 80) -> Keyboard:
    """A shell in a container called box, with a prompt that nothing else looks like."""
    keyboard = sit("run", "-it", "--name", "box", "-e", "PS1=$>", *options, "busybox", "sh", rows=rows, cols=cols)
    keyboard.sees("$>")
    return keyboard


def test_type_resize_leave_come_back_and_exit(engine: Engine, sit: Sit) -> None:
    """The whole story."""
    box = shell(sit, rows=30, cols=100)
    assert box.raw
    box.type("stty size\r")
    box.sees("30 100\r\n")
    box.resize(40, 120)
    box.type("sleep 0.1; stty size\r")  # a shell learns of it between two commands
    box.sees("40 120\r\n")
    box.type("echo $TERM $((6 * 7)) > /note; tty\r")
    box.sees("/dev/pts/0\r\n")
    box.sees("$>")
    box.type(DETACH)
    assert box.ends() == 0
    assert box.rest().replace(b"\x1b[6n", b"") == b""  # busybox asks where the cursor is
    assert box.cooked
    assert engine.state("box") == "running"
    back = sit("attach", "box")
    back.sees("leaves it running")
    back.sees("$>")  # the size changed, so the shell draws its prompt again
    back.type("stty size; cat /note\r")
    back.sees("24 80\r\nxterm 42\r\n")
    back.type("exit 3\r")
    assert back.ends() == 3
    assert engine.ok("inspect", "-f", "{{.State.ExitCode}}", "box") == "3"


def test_control_c_is_a_key(engine: Engine, sit: Sit) -> None:
    """It interrupts what runs inside; the client does not notice."""
    box = shell(sit, "--rm")
    box.type("sleep 600; echo over $?\r")
    until(lambda: "sleep" in engine.ok("top", "box"), "sleep runs")
    box.type("\x03")
    box.sees("$>")
    box.type("echo status $?\r")
    box.sees("status 130")
    box.sees("$>")  # the shell reads keys again: before that the terminal would take this one for the end of a line
    box.type("\x04")
    assert box.ends() in (0, 130)
    assert engine.everything() == []


def test_a_lone_first_detach_key_arrives_with_the_next_key(engine: Engine, sit: Sit) -> None:
    """^P is the line before in every shell."""
    box = shell(sit, "--rm")
    box.type("echo one$((1))\r")
    box.sees("one1\r\n")
    box.sees("$>")
    box.type("\x10")
    box.type("\r")
    box.sees("one1\r\n")
    box.type("exit\r")
    assert box.ends() == 0


def test_other_detach_keys(engine: Engine, sit: Sit) -> None:
    """For people whose shell needs ^P."""
    box = sit("run", "-it", "--name", "box", "--detach-keys", "ctrl-x,x", "-e", "PS1=$>", "busybox", "sh")
    box.sees("$>")
    box.type("\x18x")
    assert box.ends() == 0
    back = sit("attach", "--detach-keys=q", "box")
    back.sees("q leaves it running\r\n")
    back.type("q")
    assert back.ends() == 1
    assert back.shown.endswith(b"read escape sequence\r\n")
    assert engine.state("box") == "running"


def test_vi_draws_and_edits(engine: Engine, sit: Sit) -> None:
    """Absolute positions, inverse video, the last line; and what was typed is in the file."""
    box = shell(sit, "--rm", rows=12, cols=40)
    box.type("vi /poem\r")
    box.sees("\x1b[")
    box.sees("/poem")  # its status line
    box.type("iroses are red\x1b")
    box.sees("roses are red")
    box.resize(20, 60)
    box.sees("roses are red")  # drawn again
    box.type(":wq\r")
    box.sees("$>")
    box.type("cat /poem\r")
    box.sees("roses are red\r\n")
    box.type("exit\r")
    assert box.ends() == 0


def test_less_draws_pages(engine: Engine, sit: Sit) -> None:
    """Exactly as many lines as the screen has, then on by a page."""
    box = shell(sit, "--rm", rows=10, cols=40)
    box.type("seq 100 200 | less\r")
    page = box.sees("108")
    assert b"100" in page
    assert b"109" not in page
    box.type(" ")
    box.sees("109")
    box.sees("117")
    box.type("q")
    box.sees("$>")
    box.type("exit\r")
    assert box.ends() == 0


def test_top_draws_and_draws_again(engine: Engine, sit: Sit) -> None:
    """A program that repaints by itself."""
    box = shell(sit, "--rm")
    box.type("top -d 1\r")
    box.sees("Mem:")
    box.sees("PID")
    box.sees("Mem:")
    box.type("q")
    box.sees("$>")
    box.type("exit\r")
    assert box.ends() == 0


def test_two_people_share_a_terminal(engine: Engine, sit: Sit) -> None:
    """Both see what either types, and both get the exit status."""
    first = shell(sit)
    second = sit("attach", "box")
    second.sees("$>")
    first.type("echo from-$((1))st\r")
    second.sees("from-1st\r\n")
    second.type("echo from-$((2))nd\r")
    first.sees("from-2nd\r\n")
    watcher = engine.begin("attach", "--no-stdin", "box")
    until(lambda: engine.steps("box").count("attached") == 3, "the third is attached")
    first.type("exit 5\r")
    assert (first.ends(), second.ends(), watcher.wait(30)) == (5, 5, 5)


def test_exec_opens_a_second_terminal_in_the_same_container(engine: Engine, sit: Sit) -> None:
    """It sees the file that was made in the first, has a terminal of its own, and ends with its own status."""
    box = shell(sit)
    box.type("echo here > /made\r")
    box.sees("$>")
    other = sit("exec", "-it", "-e", "PS1=%>", "box", "sh", rows=33, cols=99)
    other.sees("%>")
    other.type("cat /made; tty; stty size; echo $TERM\r")
    other.sees("here\r\n/dev/pts/1\r\n33 99\r\nxterm\r\n")
    other.resize(20, 50)
    other.type("sleep 0.1; stty size\r")
    other.sees("20 50\r\n")
    other.type("exit 4\r")
    assert other.ends() == 4
    third = sit("exec", "-it", "-e", "PS1=%>", "box", "sh")
    third.sees("%>")
    box.type("exit\r")
    assert (box.ends(), third.ends()) == (0, 137)


def test_leaving_an_exec_lets_it_go_on(engine: Engine, sit: Sit) -> None:
    """With 1 and a word."""
    engine.shell("sleep 600", name="box")
    other = sit("exec", "-it", "box", "sh", "-c", "echo ready; sleep 611")
    other.sees("ready")
    other.type(DETACH)
    assert other.ends() == 1
    assert other.shown.endswith(b"read escape sequence\r\n")
    assert "sleep 611" in engine.ok("top", "box")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_for_the_client_leaves_the_container_alone(
    engine: Engine, sit: Sit, number: signal.Signals
) -> None:
    """As on the standard CLI."""
    box = shell(sit)
    box.kill(number)
    assert box.ends() == 128 + number
    assert not box.raw
    assert engine.state("box") == "running"


def test_a_closed_window_leaves_the_container_alone(engine: Engine, sit: Sit) -> None:
    """And nothing of the client stays."""
    box = shell(sit)
    box.close()
    assert engine.state("box") == "running"
    back = sit("attach", "box")
    back.sees("$>")
    back.type("exit\r")
    assert back.ends() == 0


def test_a_killed_client_leaves_terminal_and_container_alone(engine: Engine, sit: Sit) -> None:
    """Nobody can catch KILL, and it comes in the first moment in which there is something to restore."""
    box = shell(sit)
    box.kill()
    assert box.ends() == 137
    until(lambda: not box.raw, "the terminal is as it was")
    assert engine.state("box") == "running"


def test_a_terminal_inside_needs_one_outside(engine: Engine) -> None:
    """Nothing is created."""
    done = engine.cli("run", "-it", "busybox", "sh")
    assert (done.code, done.out) == (1, "")
    assert "the input device is not a TTY" in done.err
    assert engine.everything() == []


def test_t_alone_gives_a_terminal_to_a_script(engine: Engine) -> None:
    """One stream, and line ends as terminals have them."""
    script = "tty; echo err >&2; echo $TERM"
    client = piped(engine, "run", "--rm", "-t", "busybox", "sh", "-c", script, stderr=subprocess.PIPE)
    assert client.communicate(timeout=30) == (b"/dev/pts/0\r\nerr\r\nxterm\r\n", b"")
    assert client.returncode == 0


# Pipes ----------------------------------------------------------------------------------------------------------------


def piped(engine: Engine, *words: str, **streams: object) -> "subprocess.Popen[bytes]":
    """A client between two pipes."""
    given = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **streams}
    return subprocess.Popen([str(PROGRAMS / "lading"), *words], env=engine.environment, **given)  # type: ignore[call-overload,no-any-return]


def test_input_reaches_its_end_and_output_is_drained(engine: Engine) -> None:
    """Half-closed: what the program says after the last byte still arrives."""
    script = "wc -c; echo after; echo err >&2; exit 9"
    done = engine.cli("run", "--rm", "-i", "busybox", "sh", "-c", script, stdin="x" * 100_000)
    assert (done.code, done.out, done.err) == (9, "100000\nafter\n", "err\n")
    done = engine.cli("run", "--rm", "-i", "busybox", "cat", stdin="")
    assert (done.code, done.out) == (0, "")


def test_without_i_input_is_empty(engine: Engine) -> None:
    """Whatever is piped to the client."""
    assert engine.cli("run", "--rm", "busybox", "cat", stdin="x").out == ""


def test_bytes_go_through_as_they_are_in_bounded_memory(engine: Engine) -> None:
    """Random bytes there and back with the same checksum; LADING_TEST_MEBIBYTES makes it many."""
    maker = (
        "import hashlib, os, sys\n"
        "found = hashlib.sha256()\n"
        "for _ in range(int(sys.argv[1])):\n"
        "    piece = os.urandom(1 << 20)\n"
        "    found.update(piece)\n"
        "    sys.stdout.buffer.write(piece)\n"
        "sys.stderr.write(found.hexdigest())\n"
    )
    source = subprocess.Popen([sys.executable, "-c", maker, str(MEBIBYTES)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    client = piped(engine, "run", "--rm", "-i", "busybox", "cat", stdin=source.stdout)
    assert source.stdout is not None
    assert source.stderr is not None
    assert client.stdout is not None
    source.stdout.close()
    processes = engine.processes()
    watched = {**{role: processes[role] for role in ("daemon", "nats", "warden")}, "client": client.pid}
    before = {role: resident(pid) for role, pid in watched.items()}
    found, most = hashlib.sha256(), dict(before)
    while piece := client.stdout.read1(1 << 20):  # type: ignore[attr-defined]
        found.update(piece)
        most = {role: max(most[role], resident(pid)) for role, pid in watched.items()}
    assert client.wait(30) == 0
    assert found.hexdigest() == source.stderr.read().decode()
    assert source.wait() == 0
    source.stderr.close()
    client.stdout.close()
    grown = {role: most[role] - before[role] for role in watched}
    assert all(size < 32 << 20 for size in grown.values()), grown


def resident(pid: int) -> int:
    """Bytes of memory that a process has at the moment."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0


def test_a_reader_that_stands_still_loses_nothing_and_holds_nobody_else_up(engine: Engine) -> None:
    """The container waits for it, other containers do not; then everything arrives."""
    lines = 400_000
    client = piped(engine, "run", "--rm", "busybox", "seq", "-w", str(lines), stdin=subprocess.DEVNULL)
    assert client.stdout is not None
    head = client.stdout.read(7)
    client.send_signal(signal.SIGSTOP)
    for _ in range(3):
        assert engine.ok("run", "--rm", "busybox", "echo", "hi") == "hi"
    client.send_signal(signal.SIGCONT)
    everything = head + client.stdout.read()
    client.stdout.close()
    assert client.wait(30) == 0
    assert everything == b"".join(b"%06d\n" % number for number in range(1, lines + 1))


def test_a_person_who_has_walked_away_does_not_stop_a_container(engine: Engine, sit: Sit) -> None:
    """After ten seconds it goes on; the person is told how much they have missed, and sees the rest."""
    small = ("--log-opt", "max-size=64k", "--log-opt", "max-file=2")
    box = sit("run", "-t", "--name", "box", *small, "busybox", "seq", "-w", "400000")
    box.sees("000001")
    engine.reaches("box", "exited")
    box.sees(" bytes were not shown")
    box.sees("400000\r")
    assert box.ends() == 0


def test_signals_go_to_the_process_when_there_is_no_terminal(engine: Engine) -> None:
    """And the client stays until it ends."""
    script = "trap 'echo got usr1' USR1; trap 'echo got term; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    client = engine.begin("run", "--rm", "-i", "busybox", "sh", "-c", script)
    assert client.stdout is not None
    assert client.stdout.readline() == "ready\n"
    client.send_signal(signal.SIGUSR1)
    assert client.stdout.readline() == "got usr1\n"
    client.send_signal(signal.SIGTERM)
    assert client.stdout.readline() == "got term\n"
    assert client.wait(30) == 7


def test_the_input_of_what_runs_in_the_background_stays_open(engine: Engine) -> None:
    """Whoever attaches may type and go; the next one goes on."""
    script = "while read word; do echo got $word; done; echo end"
    engine.ok("run", "-d", "-i", "--name", "box", "busybox", "sh", "-c", script)
    for word in ("one", "two"):
        client = piped(engine, "attach", "box")
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(word.encode() + b"\n")
        client.stdin.close()
        assert client.stdout.readline() == f"got {word}\n".encode()
        client.kill()
        client.wait(30)
        client.stdout.close()
    assert engine.ok("logs", "box") == "got one\ngot two"
    assert engine.state("box") == "running"


def test_start_connects_to_what_create_made(engine: Engine, sit: Sit) -> None:
    """`create -it`, then `start -ai`, as often as one likes."""
    engine.ok("create", "-it", "--name", "box", "-e", "PS1=$>", "busybox", "sh")
    for status in (1, 2):
        box = sit("start", "-ai", "box", rows=20, cols=70)
        box.sees("$>")
        box.type(f"stty size; exit {status}\r")
        box.sees("20 70\r\n")
        assert box.ends() == status


def test_only_the_input_may_be_attached(engine: Engine) -> None:
    """It prints the id, feeds the process, and goes."""
    done = engine.cli("run", "-i", "-a", "stdin", "busybox", "sh", "-c", "cat; sleep 0.2; echo late", stdin="food\n")
    assert (done.code, len(done.out), done.err) == (0, 65, "")
    engine.written(done.out.strip(), "late")
    assert engine.ok("logs", done.out.strip()) == "food\nlate"


# exec ----------------------------------------------------------------------------------------------------------------


def test_exec_gives_status_and_streams_of_the_command(engine: Engine) -> None:
    """As `run` does."""
    engine.shell("sleep 600", "-e", "A=image", "-w", "/tmp", name="box")
    done = engine.cli("exec", "-e", "B=own", "box", "sh", "-c", "echo $A $B $PWD; echo err >&2; exit 6")
    assert (done.code, done.out, done.err) == (6, "image own /tmp\n", "err\n")
    assert engine.cli("exec", "-i", "box", "wc", "-c", stdin="12345").out == "5\n"
    assert engine.cli("exec", "box", "cat", stdin="x").out == ""
    told = engine.ok("exec", "-w", "/etc", "-u", "nobody", "box", "sh", "-c", "pwd; id -u; echo $HOME")
    assert told == "/etc\n65534\n/home"
    assert "exec-requested" in engine.steps("box")


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [(("nonesuch",), 127, "nonesuch"), (("/etc/passwd",), 126, "/etc/passwd"), (("/tmp",), 126, "/tmp")],
)
def test_exec_says_on_stdout_what_cannot_be_executed(
    engine: Engine, words: tuple[str, ...], status: int, told: str
) -> None:
    """The standard CLI does so, too."""
    engine.shell("sleep 600", name="box")
    done = engine.cli("exec", "box", *words)
    assert (done.code, done.err) == (status, "")
    assert told in done.out


def test_exec_is_refused_where_nothing_runs(engine: Engine) -> None:
    """Stopped, paused, unknown user, missing directory."""
    id = engine.shell("sleep 600", name="box")
    assert "unable to find user nonesuch" in engine.refused("exec", "-u", "nonesuch", "box", "true")
    assert engine.cli("exec", "-w", "/nonesuch", "box", "true").code == 127
    engine.ok("pause", "box")
    assert "Container box is paused, unpause the container before exec" in engine.refused("exec", "box", "true")
    engine.ok("unpause", "box")
    engine.ok("kill", "box")
    assert f"container {id} is not running" in engine.refused("exec", "box", "true")


def test_exec_in_the_background_goes_on_by_itself(engine: Engine) -> None:
    """Nobody waits for it, and the container's end is its end."""
    engine.shell("sleep 600", name="box")
    assert engine.ok("exec", "-d", "box", "sh", "-c", "echo made > /made; sleep 622") == ""
    until(lambda: engine.cli("exec", "box", "cat", "/made").out == "made\n", "it has made a file")
    waiting = engine.begin("exec", "box", "sleep", "633")
    until(lambda: "sleep 633" in engine.ok("top", "box"), "the other runs")
    engine.ok("kill", "box")
    assert waiting.wait(30) == 137


# Everything that goes away --------------------------------------------------------------------------------------------


def test_the_daemon_is_killed_and_nothing_is_missing(engine: Engine, sit: Sit) -> None:
    """The client says so on one line; the container notices nothing, its output is whole, attach works again."""
    box = sit("run", "-it", "--name", "box", "busybox", "sh", "-c", "n=0; while read x; do n=$((n+1)); echo n=$n; done")
    box.type("\r")
    box.sees("n=1\r\n")
    before = engine.processes()["daemon"]
    engine.crash()
    assert box.ends() == 125
    assert box.rest() == b"\r\nthe daemon went away before the command was finished\r\n"
    assert not box.raw
    engine.start()
    assert engine.processes()["daemon"] != before
    back = sit("attach", "box")
    back.sees("leaves it running")
    back.type("\r")
    back.sees("n=2\r\n")
    back.type("\x04")
    assert back.ends() == 0
    assert engine.ok("logs", "box").replace("\r", "").split() == ["n=1", "n=2"]


def test_output_between_two_daemons_is_in_the_logs(engine: Engine) -> None:
    """Not a line is missing, while nobody was there and while somebody was attached."""
    lines = 3000
    client = engine.begin("run", "--name", "box", "busybox", "sh", "-c",
                          f"i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo $i; usleep 300; done")
    assert client.stdout is not None
    client.stdout.readline()
    engine.crash()
    client.communicate(timeout=30)
    assert client.returncode == 125
    engine.start()
    assert engine.cli("attach", "box", timeout=60).code in (0, 1)
    engine.reaches("box", "exited")
    assert engine.ok("logs", "box").split() == [str(number) for number in range(1, lines + 1)]


def test_clients_that_are_killed_at_any_moment_leave_nothing(engine: Engine, sit: Sit) -> None:
    """No process of the client's, no descriptor in any of the engine's, no connection, no terminal in raw mode;
    LADING_TEST_KILLS makes it many."""
    chance = random.Random(7)
    engine.ok("run", "-itd", "--name", "box", "busybox", "sh")
    ways = (("attach", "box"), ("exec", "-it", "box", "cat"), ("run", "-it", "--rm", "busybox", "cat"))

    def once(number: int) -> None:
        keyboard = sit(*ways[number % len(ways)])
        time.sleep(chance.random() * 0.3)  # any moment, from before the first message to well after the last
        keyboard.type("x\r")
        keyboard.kill()
        keyboard.ends()
        until(lambda: not keyboard.raw, "the terminal is as it was")
        keyboard.close()

    for number in range(len(ways)):
        once(number)
    daemon = engine.processes()["daemon"]
    _cleared(engine)
    held = _descriptors(engine)
    for number in range(KILLS):
        once(number)
    _cleared(engine)
    until(lambda: not _clients(engine), "no client and no guardian of a terminal is left")
    until(lambda: all(count <= held[role] + 2 for role, count in _descriptors(engine).items()),
          "all descriptors were let go of")
    until(lambda: _of_one(daemon)[1] <= CONNECTIONS, "the daemon has let go of the clients' connections")
    assert alive(daemon)


def _clients(engine: Engine) -> list[int]:
    """Processes of the client's that use this engine; a guardian looks like the client it has come from."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            ours = f"LADING_RUN_DIR={engine.run_dir}".encode() in (entry / "environ").read_bytes().split(b"\0")
            if ours and bytes(PROGRAMS / "lading") in words:
                found.append(int(entry.name))
    return found


def _descriptors(engine: Engine) -> dict[str, int]:
    """How many each process of the engine has, but for connections to the bus."""
    return {role: _of_one(pid)[0] for role, pid in engine.processes().roles.items() if role != "nats"}


def _of_one(pid: int) -> tuple[int, int]:
    """How many a process has: of anything else, and of connections to the bus. Those are opened in advance, and again
    after each client, so their number goes up and down by itself."""
    to_bus = {f"socket:[{line.split()[9]}]" for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]}
    held = [os.path.realpath(entry).rpartition("/")[2] for entry in Path(f"/proc/{pid}/fd").iterdir()]
    connections = sum(name in to_bus for name in held)
    return len(held) - connections, connections


def _cleared(engine: Engine) -> None:
    """Every container but the one called box is removed, and all that was executed in it."""
    for id in engine.everything():
        if engine.ok("inspect", "-f", "{{.Name}}", id) != "/box":
            engine.ok("rm", "-f", id)
    pids = [int(line.split()[1]) for line in engine.ok("top", "box").splitlines()[1:]]
    for pid in pids:
        if pid != engine.pid("box"):
            os.kill(pid, signal.SIGKILL)
