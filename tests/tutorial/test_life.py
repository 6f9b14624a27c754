"""The verbs that change a container, one by one and against each other."""

import re
import time

import pytest

from tests.tutorial.engine import Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

HEEDS_TERM = "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
COUNTS = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done"


def test_create_start_stop_start_again(engine: Engine) -> None:
    """Each verb prints what was typed; the output of both runs stays."""
    id = engine.ok("create", "--name", "it", "busybox", "sh", "-c", HEEDS_TERM)
    assert engine.state("it") == "created"
    assert engine.ok("start", "it") == "it"
    engine.written("it", "ready")
    assert engine.ok("stop", id[:8]) == id[:8]
    assert engine.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "it") == "exited 5"
    assert engine.ok("start", "it") == "it"
    until(lambda: engine.logged("it").count("ready") == 2, "it is ready again")
    engine.ok("stop", "it")
    assert engine.logged("it") == ["ready", "bye"] * 2


def test_start_of_a_running_container_is_no_error(engine: Engine) -> None:
    """And starts nothing."""
    engine.shell("echo once; sleep 600", name="it")
    engine.written("it", "once")
    assert engine.ok("start", "it") == "it"
    assert engine.logged("it") == ["once"]


def test_start_attached_shows_output_and_returns_the_status(engine: Engine) -> None:
    """As `run` does."""
    engine.ok("create", "--name", "it", "busybox", "sh", "-c", "echo out; exit 9")
    done = engine.cli("start", "-a", "it")
    assert (done.code, done.out) == (9, "out\n")


def test_stop_escalates_to_kill(engine: Engine) -> None:
    """A first process without a handler ignores TERM; after the patience it is killed: 137."""
    engine.ok("run", "-d", "--name", "it", "busybox", "sleep", "600")
    begun = time.monotonic()
    engine.ok("stop", "-t", "1", "it")
    assert 0.9 < time.monotonic() - begun < 8
    assert engine.ok("inspect", "-f", "{{.State.ExitCode}}", "it") == "137"


def test_stop_of_a_stopped_container_is_no_error(engine: Engine) -> None:
    """It prints the name; a missing one is an error, and the others are still stopped."""
    engine.ok("run", "--name", "it", "busybox", "true")
    engine.shell(HEEDS_TERM, name="other")
    engine.written("other", "ready")
    done = engine.cli("stop", "it", "missing", "other")
    assert (done.code, done.lines) == (1, ["it", "other"])
    assert "missing" in done.err
    assert engine.state("other") == "exited"


def test_stop_signal_and_patience_come_from_the_container(engine: Engine) -> None:
    """As it was created."""
    script = "trap 'exit 6' USR1; echo ready; while :; do sleep 0.05; done"
    engine.shell(script, "--stop-signal", "USR1", "--stop-timeout", "20", name="it")
    engine.written("it", "ready")
    engine.ok("stop", "it")
    assert engine.ok("inspect", "-f", "{{.State.ExitCode}}", "it") == "6"


def test_restart_is_a_stop_and_a_start(engine: Engine) -> None:
    """Same id, another process, logs kept."""
    id = engine.shell(HEEDS_TERM, name="it")
    engine.written("it", "ready")
    before = engine.pid("it")
    assert engine.ok("restart", "it") == "it"
    assert engine.everything() == [id]
    assert engine.pid("it") != before
    until(lambda: engine.logged("it") == ["ready", "bye", "ready"], "both runs are in the logs")


@pytest.mark.parametrize(("words", "left"), [(("stop", "-t", "0", "it"), "exited"), (("rm", "-f", "it"), "")])
def test_the_last_wish_counts(engine: Engine, words: tuple[str, ...], left: str) -> None:
    """A stop or rm during a restart calls it off, and who has asked for the restart is told."""
    engine.shell("trap 'echo heard' TERM; echo begun; while :; do sleep 0.05; done", name="it")
    engine.written("it", "begun")
    restarting = engine.begin("restart", "-t", "60", "it")
    engine.written("it", "heard")
    engine.ok(*words)
    _, err = restarting.communicate(timeout=20)
    assert restarting.returncode == 1
    assert len(err.strip().splitlines()) == 1
    assert engine.ok("ps", "-a", "--format", "{{.State}}") == left
    assert engine.logged("it").count("begun") == 1 if left else engine.everything() == []


def test_kill_sends_any_signal(engine: Engine) -> None:
    """Named, numbered, with and without SIG; KILL is the default; an unknown one is refused."""
    engine.shell("trap 'echo usr1' USR1; echo ready; while :; do sleep 0.05; done", name="it")
    engine.written("it", "ready")
    for heard, signal in enumerate(("USR1", "SIGUSR1", "10"), 1):
        engine.ok("kill", "-s", signal, "it")
        _counts(engine, "usr1", heard)
    assert "NOPE" in engine.refused("kill", "-s", "NOPE", "it")
    assert engine.state("it") == "running"
    engine.ok("kill", "it")
    engine.reaches("it", "exited")
    assert "not running" in engine.refused("kill", "it")


def test_a_paused_container_stands_still(engine: Engine) -> None:
    """And goes on where it stood; wrong wishes are refused."""
    engine.shell(COUNTS, name="it")
    engine.written("it", "3")
    assert engine.ok("pause", "it") == "it"
    assert engine.state("it") == "paused"
    still = engine.logged("it")
    assert "already paused" in engine.refused("pause", "it")
    assert "(Paused)" in engine.ok("ps", "--format", "{{.Status}}")
    assert "paused" in engine.refused("start", "it")
    assert engine.logged("it") == still
    assert engine.ok("unpause", "it") == "it"
    until(lambda: len(engine.logged("it")) > len(still), "it counts on")
    seen = engine.logged("it")
    assert seen == [str(number) for number in range(1, len(seen) + 1)]
    assert "not paused" in engine.refused("unpause", "it")


def test_stop_and_rm_reach_a_paused_container(engine: Engine) -> None:
    """Nobody has to unpause first, except for rm without force."""
    engine.shell(HEEDS_TERM, name="it")
    engine.written("it", "ready")
    engine.ok("pause", "it")
    assert engine.cli("rm", "it").code == 1
    engine.ok("stop", "-t", "20", "it")
    assert engine.ok("inspect", "-f", "{{.State.ExitCode}}", "it") == "5"
    engine.ok("start", "it")
    engine.ok("pause", "it")
    engine.ok("rm", "-f", "it")
    assert engine.everything() == []


def test_rm_of_a_running_container_is_refused(engine: Engine) -> None:
    """In one line that says what to do; -f does it; a missing one is an error, with -f only a message."""
    engine.shell("sleep 600", name="it")
    err = engine.refused("rm", "it")
    assert "running" in err
    assert engine.state("it") == "running"
    assert engine.ok("rm", "-f", "it") == "it"
    assert "it" in engine.refused("rm", "it")
    done = engine.cli("rm", "-f", "it")
    assert done.code == 0
    assert "it" in done.err


def test_a_name_is_unique_and_free_again_after_rm(engine: Engine) -> None:
    """Also against renamed ones; a refused container leaves nothing."""
    holder = engine.ok("create", "--name", "web", "busybox", "true")
    err = engine.refused("run", "-d", "--name", "web", "busybox", "true", code=125)
    assert f'Conflict. The container name "/web" is already in use by container "{holder}"' in err
    assert engine.cli("create", "--name", "web", "busybox", "true").code == 1
    engine.ok("rename", "web", "old")
    other = engine.ok("create", "--name", "web", "busybox", "true")
    assert engine.cli("rename", "old", "web").code == 1
    assert engine.cli("rename", "old", "old").code == 1
    assert engine.cli("rename", "old", "").code == 1
    assert engine.cli("rename", "old", "-x").code == 125
    engine.ok("rm", "web")
    engine.ok("rename", "old", "web")
    assert engine.ok("ps", "-aq", "--no-trunc", "-f", "name=web") == holder
    assert other != holder


def test_renaming_a_running_container_keeps_it_running(engine: Engine) -> None:
    """The process does not notice."""
    engine.shell("sleep 600", name="it")
    before = engine.pid("it")
    engine.ok("rename", "it", "that")
    assert engine.pid("that") == before
    assert "it" in engine.refused("stop", "it")


def test_an_ambiguous_prefix_is_refused(engine: Engine) -> None:
    """A verb must never hit the wrong container."""
    first: dict[str, str] = {}
    for _ in range(17):  # at the latest two of seventeen begin with the same digit
        id = engine.ok("create", "busybox", "true")
        if id[0] in first:
            break
        first[id[0]] = id
    err = engine.refused("rm", id[0])
    assert f"multiple IDs found with provided prefix: {id[0]}" in err
    assert set(engine.everything()) >= {id, first[id[0]]}


def test_wait_prints_the_status(engine: Engine) -> None:
    """At once for one that has ended, else when it ends."""
    engine.shell("exit 3", name="it")
    assert engine.ok("wait", "it") == "3"
    engine.shell("sleep 0.3; exit 4", name="other")
    assert engine.ok("wait", "other", "it") == "4\n3"


def test_a_container_that_removes_itself_still_answers_wait(engine: Engine) -> None:
    """--rm must not race with somebody who waits."""
    engine.shell("sleep 0.3; exit 4", "--rm", name="it")
    assert engine.ok("wait", "it") == "4"
    until(lambda: not engine.everything(), "it is gone")


def test_wait_answers_from_the_history_of_what_is_removed(engine: Engine) -> None:
    """By name and by id, also long after; with --exit-code the status is that of the container."""
    id = engine.shell("exit 4", "--rm", name="once")
    until(lambda: not engine.everything(), "it is gone")
    assert engine.ok("wait", "once") == engine.ok("wait", id) == "4"
    done = engine.cli("wait", "--exit-code", "once")
    assert (done.code, done.lines) == (4, ["4"])
    engine.shell("exit 0", name="it")
    assert engine.cli("wait", "--exit-code", "once", "it").code == 0


def test_update_holds_at_once(engine: Engine) -> None:
    """For what runs, and for what waits to be started again."""
    engine.shell("sleep 0.2; exit 3", name="it")
    assert engine.ok("update", "--restart", "on-failure:1", "it") == "it"
    until(lambda: engine.steps("it").count("exited") == 2, "it was started once more")
    engine.shell("exit 3", "--restart", "always", name="other")
    until(lambda: engine.steps("other").count("exited") >= 4 and engine.state("other") == "restarting", "it waits")
    engine.ok("update", "--restart", "no", "other")
    engine.reaches("other", "exited")
    runs = engine.steps("other").count("started")
    assert engine.steps("other")[-2:] == ["updated", "restart-cancelled"]
    engine.refused("update", "other")
    assert engine.steps("other").count("started") == runs
    engine.shell("sleep 600", "--rm", name="own")
    assert "AutoRemove" in engine.refused("update", "--restart", "always", "own")


def test_on_failure_tries_again_and_gives_up(engine: Engine) -> None:
    """N more times, and the count is kept."""
    engine.shell("echo try; exit 2", "--restart", "on-failure:2", name="it")
    until(lambda: engine.steps("it").count("exited") == 3, "three runs")
    engine.reaches("it", "exited")
    assert engine.logged("it") == ["try"] * 3
    assert engine.ok("inspect", "-f", "{{.RestartCount}} {{.State.ExitCode}}", "it") == "2 2"


def test_always_starts_again_until_somebody_stops_it(engine: Engine) -> None:
    """Stopping counts as the user's wish and holds."""
    engine.shell("echo try; sleep 0.05", "--restart", "always", name="it")
    until(lambda: engine.logged("it").count("try") >= 3, "three runs")
    engine.ok("stop", "it")
    runs = engine.steps("it").count("started")
    assert engine.state("it") == "exited"
    assert engine.steps("it").count("started") == runs


def test_unless_stopped_and_no_are_taken_at_their_word(engine: Engine) -> None:
    """A kill is the user's wish, too."""
    engine.shell("sleep 600", "--restart", "unless-stopped", name="it")
    engine.ok("kill", "it")
    engine.reaches("it", "exited")
    engine.shell("exit 1", "--restart", "no", name="other")
    engine.ok("wait", "other")
    assert engine.state("other") == "exited"


def test_commit_keeps_the_change_in_the_new_image_only(engine: Engine) -> None:
    """A container's file is in the image made from it, not in the one it came from; metadata goes along."""
    engine.ok("run", "--name", "it", "busybox", "sh", "-c", "echo changed > /etc/new; rm /etc/passwd; mkdir /d")
    image = engine.ok("commit", "-m", "with the file", "--change", 'CMD ["cat", "/etc/new"]', "it", "web:snap")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", image)
    assert engine.ok("run", "--rm", "web:snap") == "changed"
    assert "d" in engine.ok("run", "--rm", "web:snap", "ls", "/").split()
    assert engine.cli("run", "--rm", "web:snap", "cat", "/etc/passwd").code == 1
    assert engine.cli("run", "--rm", "busybox", "cat", "/etc/new").code == 1
    assert engine.cli("run", "--rm", "busybox", "cat", "/etc/passwd").code == 0
    engine.ok("rm", "it")
    engine.ok("rmi", "web:snap")
    assert engine.cli("run", "--rm", "web:snap").code == 125


def test_commit_of_a_running_container_pauses_it(engine: Engine) -> None:
    """And lets it go on."""
    engine.shell("echo ready; " + COUNTS, name="it")
    engine.written("it", "ready")
    engine.ok("commit", "it", "web:snap")
    assert engine.state("it") == "running"
    seen = len(engine.logged("it"))
    until(lambda: len(engine.logged("it")) > seen, "it counts on")
    engine.ok("rm", "-f", "it")
    engine.ok("rmi", "web:snap")


def test_commit_of_a_container_that_was_never_started(engine: Engine) -> None:
    """It has changed nothing, so the image holds what its own image held, with the new settings."""
    engine.ok("create", "--name", "it", "busybox", "true")
    engine.ok("commit", "--change", 'CMD ["echo", "from", "the", "image"]', "it", "web:snap")
    assert engine.ok("run", "--rm", "web:snap") == "from the image"
    assert engine.ok("run", "--rm", "web:snap", "stat", "-c", "%a", "/") == "755"
    engine.ok("rm", "it")
    engine.ok("rmi", "web:snap")


def test_top_shows_the_processes(engine: Engine) -> None:
    """With the host's numbers."""
    engine.shell("sleep 600 & sleep 601", name="it")
    until(lambda: "sleep 600" in engine.ok("top", "it"), "both sleep")
    assert str(engine.pid("it")) in engine.ok("top", "it")


def test_nothing_of_a_removed_container_is_left_with_ten_processes_inside(engine: Engine) -> None:
    """The kernel kills the whole group, not only the first process."""
    engine.shell("for i in 1 2 3 4 5 6 7 8 9; do sleep 600 & done; echo ready; sleep 600", name="it")
    engine.written("it", "ready")
    assert len(engine.processes().contained) >= 10
    engine.ok("rm", "-f", "it")
    assert engine.processes().contained == {}


def _counts(engine: Engine, line: str, number: int) -> None:
    until(lambda: engine.logged("it").count(line) == number, f"{line} was written {number} times")
