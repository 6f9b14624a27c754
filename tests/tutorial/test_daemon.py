"""The engine's own processes die, and containers, their output and their story do not care."""

import json
import os
import resource
import signal
import subprocess
import time
from datetime import datetime

import pytest

from tests.tutorial.engine import PROGRAMS, Engine, alive, readable, start_time, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

COUNTS = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"
AUTOSTART = {"LADING_AUTOSTART": "1"}


def _counts_without_a_gap(engine: Engine, name: str) -> None:
    seen = engine.logged(name)
    assert seen == [str(number) for number in range(1, len(seen) + 1)]


def test_a_killed_daemon_costs_a_container_nothing(engine: Engine) -> None:
    """The next command starts another daemon: same process, every line, and the story says who asked for what."""
    engine.shell(COUNTS, name="web1")
    engine.written("web1", "3")
    pid = engine.pid("web1")
    born = start_time(pid)
    engine.crash()
    seen = len(list((engine.data / "logs").iterdir()))
    assert seen
    begun = time.monotonic()
    done = engine.cli("ps", "--format", "{{.Names}} {{.Status}}", env=AUTOSTART)
    assert time.monotonic() - begun < 10
    assert (done.code, done.out.split()[:2]) == (0, ["web1", "Up"])
    assert (engine.pid("web1"), start_time(pid)) == (pid, born)
    before = len(engine.logged("web1"))
    until(lambda: len(engine.logged("web1")) > before + 5, "it counts on")
    _counts_without_a_gap(engine, "web1")
    told = engine.ok("audit", "--access", "none", "--format", "json", "web1")
    steps = [json.loads(line) for line in told.splitlines()]
    assert [step["Event"] for step in steps] == ["created", "start-requested", "network-granted", "started", "adopted"]
    assert [step["By"] for step in steps] == ["root", "root", "engine", "engine", "engine"]
    assert engine.ok("audit", "--format", "{{.Command}}", "web1").startswith("lading run -d --name web1 busybox sh -c")


def test_a_second_daemon_is_refused_at_once(engine: Engine) -> None:
    """It says in one line who holds the data root, and does no harm."""
    holder = engine.processes()["daemon"]
    upload = engine.data / "tmp" / "spool-of-the-first"
    upload.touch()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    environment = {**engine.environment, "LADING_RUN_DIR": f"{engine.folder}/r2"}
    done = subprocess.run([str(PROGRAMS / "ladingd")], env=environment, capture_output=True, text=True, timeout=20,
                          check=False)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime < 1
    assert time.monotonic() - begun < 10
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert f"pid {holder}" in done.stderr
    assert "Traceback" not in done.stderr
    assert engine.ok("ps", "-q") == ""
    assert upload.exists(), "what the first one is working on was deleted"
    upload.unlink()


def test_an_exit_while_no_daemon_ran_is_known_afterwards(engine: Engine) -> None:
    """With its true status and the time it really ended."""
    engine.shell("sleep 0.3; exit 42", name="it")
    engine.shell("sleep 0.3; kill -9 $$", "--init", name="other")
    engine.crash()
    until(lambda: not engine.processes().contained, "both have ended")
    ended = time.time()
    until(lambda: time.time() > ended + 1.2, "some time has passed")
    engine.start()
    assert engine.ok("inspect", "-f", "{{.State.ExitCode}}", "it", "other").split() == ["42", "137"]
    finished = engine.ok("inspect", "-f", "{{.State.FinishedAt}}", "it")
    assert abs(datetime.fromisoformat(finished[:26] + "+00:00").timestamp() - ended) < 0.5


def test_policies_hold_over_the_death_of_the_daemon(engine: Engine) -> None:
    """What should run again does, what should vanish does, what ended stays."""
    engine.shell("echo run; sleep 0.3; exit 1", "--restart", "always", name="always")
    engine.shell("echo run; sleep 0.3; exit 1", "--restart", "on-failure:1", name="twice")
    engine.shell("echo run; sleep 0.3; exit 0", "--restart", "on-failure", name="well")
    engine.shell("sleep 0.3", "--rm", name="brief")
    engine.crash()
    until(lambda: not engine.processes().contained, "all have ended")
    engine.start()
    until(lambda: engine.logged("always").count("run") >= 2, "always runs again")
    until(lambda: engine.logged("twice").count("run") == 2, "twice runs once more")
    engine.reaches("twice", "exited")
    assert engine.state("well") == "exited"
    assert engine.logged("well") == ["run"]
    until(lambda: "brief" not in engine.ok("ps", "-a", "--format", "{{.Names}}"), "brief is gone")
    engine.ok("stop", "always")


def test_a_paused_container_stays_paused(engine: Engine) -> None:
    """The freezer belongs to the kernel."""
    engine.shell(COUNTS, name="it")
    engine.written("it", "3")
    engine.ok("pause", "it")
    still = engine.logged("it")
    engine.crash()
    engine.start()
    assert engine.state("it") == "paused"
    assert engine.logged("it") == still
    engine.ok("unpause", "it")
    until(lambda: len(engine.logged("it")) > len(still), "it counts on")
    _counts_without_a_gap(engine, "it")


@pytest.mark.parametrize("role", ["daemon", "nats"])
def test_a_client_is_told_that_it_has_lost_the_engine(engine: Engine, role: str) -> None:
    """In one line, with 125, at once; the container goes on."""
    running = engine.begin("run", "--name", "it", "busybox", "sh", "-c", "echo ready; sleep 600")
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    engine.kill(role)
    _, err = running.communicate(timeout=10)
    assert running.returncode == 125
    assert len(err.strip().splitlines()) == 1
    if role == "daemon":
        engine.start()
    assert engine.state("it") == "running"


def test_a_stop_that_was_under_way_is_carried_on(engine: Engine) -> None:
    """The wish is in the log; it ends with the kill it would have ended with."""
    engine.ok("run", "-d", "--name", "it", "busybox", "sleep", "600")
    stopping = engine.begin("stop", "-t", "2", "it")
    until(lambda: "stop-requested" in engine.steps("it"), "the wish is in the log")
    engine.crash()
    stopping.communicate(timeout=10)
    assert stopping.returncode == 1
    engine.start()
    engine.reaches("it", "exited", 15)
    assert engine.ok("inspect", "-f", "{{.State.ExitCode}}", "it") == "137"
    assert engine.steps("it").count("stop-requested") == 1


def test_stopping_the_daemon_leaves_containers_alone(engine: Engine) -> None:
    """An upgrade is a stop and a start."""
    engine.shell(COUNTS, name="it")
    pid = engine.pid("it")
    engine.stop()
    assert alive(pid)
    assert "not running" in engine.cli("daemon", "status").out
    done = engine.cli("ps")
    assert (done.code, len(done.err.strip().splitlines())) == (1, 1)
    assert "Is the lading daemon running" in done.err
    assert engine.cli("run", "busybox", "true").code == 125
    assert engine.cli("daemon", "start").code == 0
    assert engine.pid("it") == pid
    _counts_without_a_gap(engine, "it")


@pytest.mark.parametrize("role", ["nats", "warden", "keeper", "zygote"])
def test_any_other_process_may_die(engine: Engine, role: str) -> None:
    """The same container runs on, new ones start, stop works, statuses are true, and the process is replaced."""
    engine.shell("trap 'exit 5' TERM; " + COUNTS, name="it")
    pid = engine.pid("it")
    engine.written("it", "3")
    (killed,) = engine.kill(role).values()
    assert engine.ok("run", "--rm", "busybox", "echo", "next") == "next"
    assert engine.pid("it") == pid
    engine.ok("stop", "-t", "20", "it")
    assert engine.ok("inspect", "-f", "{{.State.ExitCode}}", "it") == "5"
    _counts_without_a_gap(engine, "it")
    another = until(lambda: engine.processes()[role], f"another {role}")
    assert another != killed or role == "keeper"  # a warden that becomes the keeper keeps its number


def test_when_keeper_and_warden_die_together_their_containers_end(engine: Engine) -> None:
    """Nobody could collect their status: they are killed, the exit says so, and the engine works on."""
    engine.shell("sleep 600", name="it")
    pid = engine.pid("it")
    engine.shell("echo run; sleep 600", "--restart", "always", name="again")
    engine.kill("keeper", "warden", stopped=True)
    until(lambda: not alive(pid), "its process is gone", 10)
    engine.reaches("it", "exited", 10)
    assert engine.ok("inspect", "-f", "{{.State.ExitCode}}", "it") in ("137", "-1", "255")
    until(lambda: engine.logged("again").count("run") == 2, "the policy brings it back", 15)
    assert engine.ok("run", "--rm", "busybox", "echo", "next") == "next"


def test_everything_dies_at_once(engine: Engine) -> None:
    """As when memory runs out: the next daemon puts it right."""
    engine.shell("sleep 600", name="it")
    engine.kill("daemon", "nats", "keeper", "warden", "zygote", "net", stopped=True)
    until(lambda: not any(engine.processes().roles.values()), "all are gone")
    engine.start()
    engine.reaches("it", "exited", 10)
    assert engine.ok("run", "--rm", "busybox", "echo", "next") == "next"


def test_the_wish_to_remove_survives_the_daemon(engine: Engine) -> None:
    """Half a removal is carried on."""
    id = engine.shell("sleep 600", name="it")
    removing = engine.begin("rm", "-f", "it")
    until(lambda: "remove-requested" in engine.steps(id), "the wish is in the log", pause=0.001)
    engine.crash()
    removing.communicate(timeout=10)
    engine.start()
    until(lambda: engine.everything() == [], "it is gone")
    assert engine.steps(id)[-1] == "removed"


def test_a_follower_is_told_too(engine: Engine) -> None:
    """`logs -f` and `events` end with a line when the daemon dies, instead of hanging."""
    engine.shell(COUNTS, name="it")
    engine.written("it", "3")
    following = engine.begin("logs", "-f", "it")
    listening = engine.begin("events")
    assert following.stdout is not None
    assert readable(following.stdout, 10)
    engine.crash()
    for process in (following, listening):
        _, err = process.communicate(timeout=10)
        assert process.returncode == 1
        assert len(err.strip().splitlines()) == 1
    engine.start()


def test_term_ends_the_daemon_in_good_order(engine: Engine) -> None:
    """Its bus ends with it, its socket is taken away."""
    processes = engine.processes()
    os.kill(processes["daemon"], signal.SIGTERM)
    engine.died()
    until(lambda: not alive(processes["nats"]), "the bus has ended")
    assert not engine.socket.exists()
    engine.start()


def test_the_bus_ends_with_a_killed_daemon(engine: Engine) -> None:
    """Nobody may go on talking to it."""
    bus = engine.processes()["nats"]
    engine.crash()
    until(lambda: not alive(bus), "the bus has ended", 5)
    engine.start()
