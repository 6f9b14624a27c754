"""Logs as people use them: kept within bounds, for log shippers too, and after the container is gone."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.tutorial.engine import Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

COUNT = "seq 1 60000"
COUNTED = "".join(f"{number}\n" for number in range(1, 60_001))
SMALL = ("--log-opt", "max-size=20k", "--log-opt", "max-file=2")


def path_of(engine: Engine, name: str) -> Path:
    """Where inspect says the log is."""
    return Path(engine.ok("inspect", "-f", "{{.LogPath}}", name))


def test_what_is_kept_is_bounded_and_the_rest_is_accounted_for(engine: Engine) -> None:
    """Files do not grow; `logs` says what is gone, on standard error; so does the history."""
    engine.ok("run", "--name", "counts", *SMALL, "busybox", "sh", "-c", COUNT)
    done = engine.cli("logs", "counts")
    assert done.code == 0
    assert COUNTED.endswith(done.out)
    assert 20_000 < len(done.out) < 40_000
    assert "is not kept any more" in done.err
    assert len(done.err.splitlines()) == 1
    assert sum(file.stat().st_size for file in path_of(engine, "counts").iterdir()) < 45_000
    (exited,) = [event for event in engine.history(engine.everything()[0]) if event["type"] == "exited.v1"]
    # Up to then: of what was in the pipe at the end, and of what a reader still needed, more may be deleted later.
    assert 0 < exited["data"]["log_dropped"] <= len(COUNTED) - len(done.out)
    assert engine.cli("logs", "--tail", "2", "counts").err == ""
    assert engine.ok("inspect", "-f", "{{json .HostConfig.LogConfig}}", "counts") == (
        '{"Type":"local","Config":{"max-file":"2","max-size":"20k"}}')


def test_what_comes_out_of_a_pipe_is_whole_however_little_is_kept(engine: Engine) -> None:
    """`run | slow`: the container waits for the reader, nothing is lost between start and attach either."""
    words = [*SMALL, "busybox", "sh", "-c", COUNT]
    running = engine.begin("run", "--name", "counts", *words)
    time.sleep(0.5)
    out, err = running.communicate(timeout=30)
    assert (out, err, running.returncode) == (COUNTED, "", 0)
    assert engine.cli("start", "-a", "counts").out == COUNTED


def test_following_survives_rotation_and_a_restart(engine: Engine) -> None:
    """`logs -f` in a pipe: every line once, of both runs; then it ends."""
    script = f"until [ -e /go ]; do sleep 0.05; done; rm /go; {COUNT}"
    engine.shell(script, *SMALL, "--restart", "on-failure:1", name="counts")
    following = engine.begin("logs", "-f", "counts")
    engine.ok("exec", "counts", "touch", "/go")
    engine.reaches("counts", "exited")
    engine.ok("start", "counts")
    more = engine.begin("logs", "-f", "--tail", "0", "counts")
    engine.ok("exec", "counts", "touch", "/go")
    assert following.communicate(timeout=30)[0] == COUNTED
    assert more.communicate(timeout=30)[0] == COUNTED


def test_a_stopped_follower_holds_nobody_up(engine: Engine) -> None:
    """After ten seconds the container goes on, and the follower is told what he missed when he wakes up."""
    engine.shell("sleep 1; seq 1 400000; sleep 1000", *SMALL, name="floods")
    following = engine.begin("logs", "-f", "floods")
    following.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    until(lambda: engine.cli("logs", "--tail", "1", "floods").out == "400000\n", "all of it was written")
    assert time.monotonic() - began < 20
    following.send_signal(signal.SIGCONT)
    engine.ok("kill", "floods")
    out, err = following.communicate(timeout=30)
    assert out.endswith("\n399999\n400000\n")
    assert "is not kept any more" in err


def test_log_shippers_find_the_usual_file(engine: Engine) -> None:
    """JSON lines at the path that inspect shows, rotated by name; `logs` shows the very bytes meanwhile."""
    script = r"printf 'one\n\377two\n'; echo three >&2; printf open"
    engine.ok("run", "-d", "--name", "ships", "--log-driver", "json-file", "busybox", "sh", "-c", script)
    path = path_of(engine, "ships")
    assert path.name == f"{engine.everything()[0]}-json.log"
    until(lambda: path.exists() and len(path.read_bytes().splitlines()) == 4, "all of it is there")
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert sorted((record["stream"], record["log"]) for record in records) == [
        ("stderr", "three\n"), ("stdout", "one\n"), ("stdout", "open"), ("stdout", "\ufffdtwo\n")]
    assert all(record["time"].endswith("Z") and set(record) == {"log", "stream", "time"} for record in records)
    assert engine.cli("logs", "ships").out == "one\n\udcfftwo\nopen"


def test_the_usual_file_is_rotated_and_whole_although_the_scribe_is_killed(engine: Engine) -> None:
    """Every number once, in the order of the files, while whoever writes them is killed whenever there is one."""
    engine.shell("i=0; while [ $i -lt 40000 ]; do i=$((i+1)); echo $i; done", "--log-driver", "json-file",
                 "--log-opt", "max-size=300k", "--log-opt", "max-file=50", name="ships")
    path = path_of(engine, "ships")
    killed = 0
    while engine.state("ships") == "running":
        for pid in _scribes(engine):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    assert killed
    until(lambda: not _scribes(engine) and not (engine.data / "state" / "scribe").exists(), "all is written")
    files = sorted(path.parent.glob(f"{path.name}*"), key=lambda file: -int(file.suffix[1:].replace("log", "0")))
    assert len(files) > 5
    logged = [json.loads(line)["log"] for file in files for line in file.read_bytes().splitlines()]
    assert logged == [f"{number}\n" for number in range(1, 40_001)]


def _scribes(engine: Engine) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdecimal() else []
        except OSError:
            continue
        if f"logs={engine.data}/logs".encode() in words:
            found.append(int(entry.name))
    return found


def test_output_that_is_not_to_be_kept_is_shown_once(engine: Engine) -> None:
    """`none`: whoever is attached sees it; afterwards nothing of it is on the disk, and `logs` says why."""
    assert engine.ok("run", "--name", "quiet", "--log-driver", "none", "busybox", "echo", "words") == "words"
    complaint = engine.refused("logs", "quiet")
    assert "configured logging driver does not support reading" in complaint
    stored = engine.data / "logs" / engine.everything()[0]
    until(lambda: not stored.exists(), "nothing is left of it")
    assert engine.ok("start", "-a", "quiet") == "words"
    assert engine.ok("inspect", "-f", "{{.LogPath}}", "quiet") == ""


def test_a_container_that_removed_itself_still_answers(engine: Engine) -> None:
    """Its words, its name and that it is removed."""
    assert engine.cli("run", "--rm", "--name", "gone", "busybox", "sh", "-c", "echo boom; exit 1").code == 1
    done = engine.cli("logs", "gone")
    assert (done.code, done.out) == (0, "boom\n")
    assert "gone" in done.err
    assert "is removed" in done.err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--log-driver", "syslog"), "no log driver named 'syslog' is registered"),
        (("--log-opt", "max-size=x"), "invalid value for max-size: 'x'"),
        (("--log-opt", "max-size=0"), "invalid value for max-size: '0'"),
        (("--log-opt", "max-file=0"), "invalid value for max-file: '0'"),
        (("--log-opt", "max-file=-1"), "invalid value for max-file: '-1'"),
        (("--log-opt", "colour=red"), "unknown log opt 'colour' for local log driver"),
        (("--log-opt", "colour"), "invalid log opt: 'colour'"),
        (("--log-driver", "none", "--log-opt", "max-size=1m"), "unknown log opt 'max-size' for none log driver"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused_before_anything_is_made(engine: Engine, options: tuple[str, ...],
                                                                       complaint: str) -> None:
    """In one line that names what is wrong; exit status 125, also of create."""
    for verb in ("run", "create"):
        assert complaint in engine.refused(verb, *options, "busybox", "true", code=125)
    assert engine.everything() == []


def test_times_and_bounds_find_their_place_in_rotated_output(engine: Engine) -> None:
    """`--since` and `--until` by the times that `-t` shows; `--details` leaves room in front."""
    engine.ok("run", "--name", "counts", *SMALL, "busybox", "sh", "-c", f"{COUNT}; sleep 0.3; echo late")
    stamped = engine.ok("logs", "-t", "--tail", "2", "counts").splitlines()
    moments = [line.split(" ")[0] for line in stamped]
    assert [line.split(" ")[1] for line in stamped] == ["60000", "late"]
    assert engine.ok("logs", "--since", moments[1], "counts") == "late"
    assert engine.ok("logs", "--tail", "1", "--until", moments[0], "counts") == "60000"
    assert engine.ok("logs", "--details", "--tail", "1", "counts") == " late"


def test_a_flood_does_not_touch_others(engine: Engine) -> None:
    """Two containers write as fast as they can, one of them for shippers; a third starts, speaks and ends as ever."""
    for name, driver in (("one", "local"), ("two", "json-file")):
        engine.shell("yes flood", "--log-driver", driver, name=name)
    for _ in range(3):
        began = time.monotonic()
        assert engine.ok("run", "--rm", "busybox", "echo", "calm") == "calm"
        assert time.monotonic() - began < 5
    used = sum(file.stat().st_size for name in ("one", "two") for file in _files(path_of(engine, name)))
    assert used < 3 * 5 * 21 * 1024 * 1024


def _files(path: Path) -> list[Path]:
    return [*(path if path.is_dir() else path.parent).iterdir()]
