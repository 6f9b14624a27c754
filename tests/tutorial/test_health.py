"""Health checks of real containers: the verdict, where it is seen, and what is done about it."""

import json
import re

import pytest

from tests.tutorial.engine import Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

CHECK = ("--health-cmd", "test -e /ok", "--health-interval", "50ms", "--health-retries", "2")


def _status(engine: Engine, name: str) -> str:
    return engine.ok("ps", "-a", "-f", f"name={name}", "--format", "{{.Status}}")


def _becomes(engine: Engine, name: str, health: str) -> None:
    until(lambda: f"({health})" in _status(engine, name), f"{name} is {health}")


def _changes(engine: Engine, name: str) -> int:
    return engine.steps(name).count("health-changed")


def test_from_starting_to_healthy_to_unhealthy_and_back(engine: Engine) -> None:
    """Seen in ps, inspect, events and the history; each change once."""
    engine.shell("sleep 0.3; touch /ok; sleep 600", *CHECK, "--health-start-period", "1h",
                 "--health-start-interval", "50ms", name="it")  # fmt: skip
    assert _status(engine, "it").endswith("(health: starting)")
    _becomes(engine, "it", "healthy")
    engine.ok("exec", "it", "rm", "/ok")
    _becomes(engine, "it", "unhealthy")
    assert engine.ok("ps", "-q", "-f", "health=unhealthy")
    health = json.loads(engine.ok("inspect", "-f", "{{json .State.Health}}", "it"))
    assert (health["Status"], len(health["Log"])) == ("unhealthy", 5)
    assert health["FailingStreak"] >= 2
    assert health["Log"][-1]["ExitCode"] == 1
    engine.ok("exec", "it", "touch", "/ok")
    _becomes(engine, "it", "healthy")
    assert _changes(engine, "it") == 3
    told = engine.ok("events", "--since", "0", "--until", "0s", "-f", "event=health_status", "-f", "container=it",
                     "--format", "{{.Action}}")  # fmt: skip
    assert told.splitlines() == ["health_status: healthy", "health_status: unhealthy", "health_status: healthy"]


def test_a_probe_that_hangs_is_killed(engine: Engine) -> None:
    """With all that it has started: its container never holds more than one of them, and the result says why."""
    engine.shell("sleep 600", "--health-cmd", "echo hm; sleep 601; true", "--health-interval", "50ms",
                 "--health-timeout", "100ms", "--health-retries", "1", name="it")  # fmt: skip
    _becomes(engine, "it", "unhealthy")
    probe = json.loads(engine.ok("inspect", "-f", "{{json .State.Health}}", "it"))["Log"][-1]
    assert (probe["ExitCode"], probe["Output"]) == (-1, "Health check exceeded timeout (100ms): hm\n")
    until(lambda: engine.ok("inspect", "-f", "{{len .State.Health.Log}}", "it") == "5", "five have hung")
    there = [line.split()[1] for line in engine.ok("top", "it", "-eo", "pid,comm").splitlines()]
    assert there.count("sleep") <= 1 + 1
    assert there.count("sh") <= 1
    engine.ok("stop", "-t", "0", "it")
    assert engine.processes().contained == {}


def test_the_verdict_survives_the_death_of_the_daemon(engine: Engine) -> None:
    """Probing goes on; nothing is recorded for a verdict that has not changed."""
    engine.shell("touch /ok; sleep 600", *CHECK, name="it")
    _becomes(engine, "it", "healthy")
    engine.crash()
    engine.start()
    assert _status(engine, "it").endswith("(healthy)")
    engine.ok("exec", "it", "rm", "/ok")
    _becomes(engine, "it", "unhealthy")
    assert _changes(engine, "it") == 2


def test_a_probe_that_was_under_way_when_the_daemon_died_is_ended(engine: Engine) -> None:
    """Nobody else would ever end one that hangs."""
    engine.shell("sleep 600", "--health-cmd", "exec sleep 602", "--health-interval", "50ms", name="it")

    def probes() -> set[str]:
        lines = engine.ok("top", "it", "-eo", "pid,args").splitlines()
        return {line.split()[0] for line in lines if line.endswith("sleep 602")}

    (left,) = until(probes, "a probe hangs")
    engine.crash()
    engine.start()
    until(lambda: left not in probes(), "it was ended")
    assert _changes(engine, "it") == 0


def test_what_is_unhealthy_is_restarted_on_request(engine: Engine) -> None:
    """And `why` says so; nobody is blamed."""
    engine.shell("trap 'exit 5' TERM; touch /began-$(ls / | grep -c began); [ -e /began-1 ] && touch /ok; "
                 "while :; do sleep 0.02; done", *CHECK, "--health-action", "restart", name="it")  # fmt: skip
    _becomes(engine, "it", "healthy")
    assert engine.steps("it").count("started") == 2
    assert re.search("restarted because it was unhealthy: its check failed 2 times", engine.ok("why", "it"))


def test_what_is_unhealthy_is_killed_on_request(engine: Engine) -> None:
    """Its restart policy may bring it back; here it has none."""
    engine.shell("sleep 600", *CHECK, "--health-action", "kill", name="it")
    engine.reaches("it", "exited")
    assert "SIGKILL because it was unhealthy" in engine.ok("why", "it")
    assert engine.ok("wait", "it") == "137"


def test_nothing_is_probed_while_it_is_paused(engine: Engine) -> None:
    """A frozen container is not unhealthy."""
    engine.shell("touch /ok; while :; do date +%N > /now; sleep 0.01; done", *CHECK, "--health-timeout", "200ms",
                 name="it")  # fmt: skip
    _becomes(engine, "it", "healthy")
    engine.ok("pause", "it")
    before = engine.ok("inspect", "-f", "{{json .State.Health.Log}}", "it")
    engine.ok("run", "--rm", "busybox", "sleep", "0.6")
    assert engine.ok("inspect", "-f", "{{json .State.Health.Log}}", "it") == before
    engine.ok("unpause", "it")
    until(lambda: engine.ok("inspect", "-f", "{{json .State.Health.Log}}", "it") != before, "it is probed again")
    assert _changes(engine, "it") == 1


def test_the_check_of_an_image(engine: Engine) -> None:
    """Committed, inherited, and switched off."""
    engine.ok("create", "--name", "it", "busybox", "sleep", "600")
    engine.ok("commit", "--change", "HEALTHCHECK --interval=50ms CMD true", "it", "checked:1")
    engine.ok("run", "-d", "--name", "inherits", "checked:1")
    _becomes(engine, "inherits", "healthy")
    engine.ok("run", "-d", "--name", "none", "--no-healthcheck", "checked:1")
    assert engine.ok("inspect", "-f", "{{json .State.Health}}", "none") == "null"
    engine.remove_all()
    engine.ok("rmi", "checked:1")


def test_every_exec_is_in_the_history_with_who_what_how_long_and_how(engine: Engine) -> None:
    """Also when the daemon dies meanwhile, and when its container ends first."""
    container = engine.shell("sleep 600", name="it")
    engine.ok("exec", "-d", "-e", "TOKEN=hunter2", "it", "sh", "-c", "sleep 600; exit 3")
    engine.crash()
    engine.start()
    (id,) = json.loads(engine.ok("inspect", "-f", "{{json .ExecIDs}}", "it"))
    engine.ok("stop", "-t", "0", "it")
    until(lambda: engine.steps("it").count("exec-exited") == 1, "its end is known")
    events = [json.loads(line) for line in engine.ok("audit", "--json", "it").splitlines()]
    asked, begun, ended = (next(e for e in events if e["event"] == f"exec-{what}")
                           for what in ("requested", "started", "exited"))  # fmt: skip
    assert (asked["actor"]["user"], asked["data"]["exec_id"], begun["data"]["exec_id"]) == ("root", id, id)
    assert asked["data"]["exec"]["argv"] == ["sh", "-c", "sleep 600; exit 3"]
    assert (ended["data"]["code"], ended["data"]["signal"]) == (137, 9)
    assert ended["took_ns"] > 0
    assert "hunter2" not in engine.ok("audit", "--json", "it")
    assert engine.ok("inspect", "-f", "{{json .ExecIDs}}", "it") == "null"
    told = engine.ok("events", "--since", "0", "--until", "0s", "-f", f"container={container}",
                     "--format", "{{.Action}}")  # fmt: skip
    assert [line for line in told.splitlines() if line.startswith("exec")] == [
        "exec_create: sh -c 'sleep 600; exit 3'", "exec_start: sh -c 'sleep 600; exit 3'", "exec_die",
    ]  # fmt: skip
