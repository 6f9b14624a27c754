"""What `run` does, as a user sees it: statuses, streams, options, signals, files."""

import os
import signal
from pathlib import Path

import pytest

from tests.tutorial.engine import Engine, readable, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def test_the_first_command_of_the_readme(engine: Engine) -> None:
    """If this does not work, nothing does."""
    done = engine.cli("run", "--rm", "busybox", "echo", "hi")
    assert (done.code, done.out, done.err) == (0, "hi\n", "")
    assert engine.everything() == []


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (("sh", "-c", "exit 7"), 7),
        (("true",), 0),
        (("false",), 1),
        (("/bin/no-such-program",), 127),
        (("no-such-program",), 127),
        (("/etc/passwd",), 126),
        (("/tmp",), 126),
        (("sh", "-c", "exit 255"), 255),
    ],
)
def test_run_ends_with_the_status_of_the_command(engine: Engine, command: tuple[str, ...], status: int) -> None:
    """Scripts decide by it."""
    done = engine.cli("run", "--name", "it", "busybox", *command)
    assert done.code == status
    assert engine.ok("inspect", "-f", "{{.State.ExitCode}}", "it") == str(status)


def test_a_command_that_cannot_be_executed_leaves_a_created_container_that_says_why(engine: Engine) -> None:
    """And with --rm not even that."""
    done = engine.cli("run", "--name", "it", "busybox", "nonesuch")
    assert done.code == 127
    assert len([line for line in done.err.splitlines() if "nonesuch" in line]) == 1
    assert engine.state("it") == "created"
    assert "nonesuch" in engine.ok("inspect", "-f", "{{.State.Error}}", "it")
    assert engine.cli("run", "--rm", "busybox", "nonesuch").code == 127
    assert len(engine.everything()) == 1


def test_a_killed_container_ends_with_137(engine: Engine) -> None:
    """128 and the number of the signal."""
    running = engine.begin("run", "--name", "it", "busybox", "sleep", "600")
    until(lambda: engine.cli("ps", "-q", "-f", "status=running").out, "it runs")
    engine.ok("kill", "it")
    assert running.wait(30) == 137
    assert engine.ok("ps", "-a", "--format", "{{.Status}}").startswith("Exited (137)")


def test_both_streams_arrive_on_their_own(engine: Engine) -> None:
    """Of `run` and of `logs`, bytes as they were written."""
    script = "echo one; echo two >&2; printf three"
    done = engine.cli("run", "--name", "it", "busybox", "sh", "-c", script)
    assert (done.code, done.out, done.err) == (0, "one\nthree", "two\n")
    done = engine.cli("logs", "it")
    assert (done.code, done.out, done.err) == (0, "one\nthree", "two\n")


def test_a_megabyte_comes_through_whole(engine: Engine) -> None:
    """Flow control loses and repeats nothing."""
    line = "of a long output that fills more than one window"
    script = f"i=0; while [ $i -lt 20000 ]; do echo line $i {line}; i=$((i+1)); done"
    done = engine.cli("run", "--name", "it", "busybox", "sh", "-c", script)
    wanted = [f"line {number} {line}" for number in range(20000)]
    assert done.lines == wanted
    assert engine.cli("logs", "it").lines == wanted
    assert engine.cli("logs", "--tail", "2", "it").lines == wanted[-2:]


def test_detached_run_prints_the_whole_id_and_nothing_else(engine: Engine) -> None:
    """Scripts keep it in a variable."""
    done = engine.cli("run", "-d", "busybox", "sleep", "600")
    assert (done.code, done.err) == (0, "")
    assert len(done.out) == 65
    assert engine.everything() == [done.out.strip()]


def test_options_arrive_in_the_container(engine: Engine, tmp_path: Path) -> None:
    """Environment (file, client, command line, in this order), directory, user, host name."""
    file = tmp_path / "env"
    file.write_text("# a comment\n\nFROM_FILE=a b\nCOPIED\nBOTH=file\n")
    done = engine.cli(
        "run", "--rm", "--env-file", str(file), "-e", "BOTH=line", "-e", "ALSO", "-w", "/some/where", "-u", "33:33",
        "-h", "thatbox", "busybox", "sh", "-c", "echo $FROM_FILE,$COPIED,$BOTH,$ALSO; pwd; id -u; id -g; hostname",
        env={"COPIED": "copied", "ALSO": "also"},
    )
    assert done.lines == ["a b,copied,line,also", "/some/where", "33", "33", "thatbox"], done.err


def test_the_entrypoint_replaces_the_command(engine: Engine) -> None:
    """One word, not split by any shell."""
    assert engine.ok("run", "--rm", "--entrypoint", "echo", "busybox", "a  b") == "a  b"


def test_a_read_only_root_takes_no_file_but_a_tmpfs_does(engine: Engine) -> None:
    """Two options that belong together."""
    script = "echo x > /file || echo refused; echo x > /scratch/file && cat /scratch/file"
    done = engine.cli("run", "--rm", "--read-only", "--tmpfs", "/scratch", "busybox", "sh", "-c", script)
    assert done.lines == ["refused", "x"]


def test_the_network_of_a_container_is_a_loopback_device(engine: Engine) -> None:
    """`none` is what this version offers, beside the host's."""
    done = engine.cli("run", "--rm", "--network", "none", "busybox", "sh", "-c", "ls /sys/class/net; ip addr show lo")
    assert done.lines[0] == "lo"
    assert "UP" in done.out


def test_the_cidfile_holds_the_id_and_must_not_exist(engine: Engine, tmp_path: Path) -> None:
    """Bare, without a line end; a refused run leaves no file."""
    file = tmp_path / "cid"
    engine.ok("run", "--cidfile", str(file), "busybox", "true")
    assert [file.read_text()] == engine.everything()
    assert str(file) in engine.refused("run", "--cidfile", str(file), "busybox", "true", code=125)
    other = tmp_path / "other"
    engine.refused("run", "--cidfile", str(other), "--pull", "never", "no-such-image", "true", code=125)
    assert not other.exists()
    assert len(engine.everything()) == 1


def test_signals_of_the_client_reach_the_container(engine: Engine) -> None:
    """TERM to the client is TERM to the first process; the client stays until the container ends, with its status."""
    script = "trap 'echo got term; exit 3' TERM; trap 'echo got usr1' USR1; echo ready; while :; do sleep 0.05; done"
    running = engine.begin("run", "--name", "it", "busybox", "sh", "-c", script)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGUSR1)
    assert readable(running.stdout, 20)
    assert running.stdout.readline() == "got usr1\n"
    running.send_signal(signal.SIGTERM)
    out, _ = running.communicate(timeout=30)
    assert (running.returncode, out) == (3, "got term\n")


def test_a_client_that_is_killed_leaves_the_container_running(engine: Engine) -> None:
    """The terminal is not the container's life."""
    running = engine.begin("run", "--name", "it", "busybox", "sh", "-c", "echo ready; sleep 600")
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.kill()
    running.wait(10)
    assert engine.state("it") == "running"


def test_init_forwards_term_and_reaps(engine: Engine) -> None:
    """Without it `stop` of `sleep` takes the whole patience and ends with 137."""
    engine.ok("run", "-d", "--init", "--name", "it", "busybox", "sleep", "600")
    engine.ok("stop", "-t", "20", "it")
    assert engine.ok("inspect", "-f", "{{.State.ExitCode}}", "it") == "143"


def test_standard_input_is_empty(engine: Engine) -> None:
    """Without -i a pipe into the client does not reach the container."""
    done = engine.cli("run", "--rm", "busybox", "cat", stdin="something")
    assert (done.code, done.out) == (0, "")


def test_pull_says_what_is_missing(engine: Engine) -> None:
    """An unknown image is a refusal of the engine: 125, one sentence, no container."""
    err = engine.refused("run", "--rm", "nonesuch:1", "true", code=125)
    assert "nonesuch:1" in err
    assert engine.everything() == []


def test_output_of_a_quick_container_is_never_lost(engine: Engine) -> None:
    """The end of a process and the end of its pipes race; the client must see all of it every time."""
    for number in range(25):
        done = engine.cli("run", "--rm", "busybox", "sh", "-c", f"echo {number}; echo err{number} >&2")
        assert (done.code, done.out, done.err) == (0, f"{number}\n", f"err{number}\n")


def test_a_closed_pipe_ends_the_client_quietly(engine: Engine) -> None:
    """`lading logs | head -1` must not complain."""
    engine.ok("run", "--name", "it", "busybox", "sh", "-c", "i=0; while [ $i -lt 5000 ]; do echo $i; i=$((i+1)); done",
              timeout=60)
    following = engine.begin("logs", "it")
    assert following.stdout is not None
    assert following.stdout.readline() == "0\n"
    following.stdout.close()
    following.wait(20)
    assert following.stderr is not None
    assert following.stderr.read() == ""
    assert following.returncode in (0, -signal.SIGPIPE, 141)


def test_the_client_needs_no_home_and_no_directory(engine: Engine, tmp_path: Path) -> None:
    """A working directory that was deleted is no reason to fail."""
    gone = tmp_path / "gone"
    gone.mkdir()
    before = os.getcwd()
    os.chdir(gone)
    try:
        gone.rmdir()
        assert engine.ok("run", "--rm", "busybox", "echo", "here") == "here"
    finally:
        os.chdir(before)
