"""stats and top, on real control groups and processes."""

import json
import os
import re
import select

import pytest

from tests.tutorial.engine import PROGRAMS, Engine, until
from tests.tutorial.keyboard import Keyboard

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

BUSY = "while :; do :; done"
MIB = 1 << 20


def figures(engine: Engine, *words: str) -> dict[str, dict[str, str]]:
    """One look, by name."""
    lines = engine.ok("stats", "--no-stream", "--format", "json", *words).splitlines()
    return {row["Name"]: row for row in map(json.loads, lines)}


def size(text: str) -> float:
    """Bytes of `1.5MiB`."""
    number, unit = re.fullmatch(r"([\d.]+)([A-Za-z]+)", text.strip()).groups()  # type: ignore[union-attr]
    return float(number) * {"B": 1, "KiB": 1 << 10, "MiB": MIB, "GiB": 1 << 30, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]


def test_what_is_used_is_told(engine: Engine) -> None:
    """A loop takes a processor, memory that was written counts, processes are counted, and bytes on the network."""
    engine.shell(BUSY, "--network", "host", name="busy")
    script = "dd if=/dev/zero of=/mem/f bs=1M count=20; ping -c 1 -s 1000 $(ip route | awk '/default/ {print $3}')"
    engine.shell(f"{script}; echo done; sleep 500 & sleep 600", "--tmpfs", "/mem", name="full")
    engine.written("full", "done")
    engine.ok("create", "--name", "idle", "busybox", "true")
    found = figures(engine)
    assert set(found) == {"busy", "full"}
    assert float(found["busy"]["CPUPerc"].rstrip("%")) > 10
    assert float(found["full"]["CPUPerc"].rstrip("%")) < 10
    used, limit = map(size, found["full"]["MemUsage"].split("/"))
    assert 20 * MIB < used < 60 * MIB
    assert limit == pytest.approx(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), rel=0.01)
    assert float(found["full"]["MemPerc"].rstrip("%")) == pytest.approx(100 * used / limit, abs=0.02)
    assert (found["busy"]["PIDs"], found["full"]["PIDs"], found["busy"]["NetIO"]) == ("1", "2", "0B / 0B")
    received, sent = map(size, found["full"]["NetIO"].split("/"))
    assert min(received, sent) > 1000
    assert set(figures(engine, "-a")) == {"busy", "full", "idle"}
    assert figures(engine, "idle")["idle"]["CPUPerc"] == "0.00%"


def test_a_paused_container_uses_memory_and_no_processor(engine: Engine) -> None:
    """It is still there."""
    engine.shell(BUSY, name="busy")
    engine.ok("pause", "busy")
    row = figures(engine)["busy"]
    assert float(row["CPUPerc"].rstrip("%")) < 1
    assert row["PIDs"] == "1"


def test_the_live_table_follows_what_comes_and_goes(engine: Engine) -> None:
    """Until ^C, which leaves the screen as it is."""
    engine.shell("sleep 600", name="first")
    screen = Keyboard([str(PROGRAMS / "lading"), "stats"], engine.environment)
    try:
        until(lambda: b"first" in last(screen), "the first is shown")
        engine.shell("sleep 600", name="second")
        until(lambda: b"second" in last(screen), "the second comes")
        engine.ok("rm", "-f", "first")
        until(lambda: b"second" in last(screen) and b"first" not in last(screen), "the first is gone")
        os.write(screen.master, b"\x03")
        assert screen.process.wait(30) == 130
    finally:
        screen.close()
    assert screen.shown.count(b"\x1b[2J") == 1


def last(screen: Keyboard) -> bytes:
    """What the last whole painting shows."""
    while select.select([screen.master], [], [], 0)[0]:
        screen.shown += os.read(screen.master, 65536)
    paintings = screen.shown.split(b"\x1b[H")
    return paintings[-1] if paintings[-1].endswith(b"\x1b[J") else b"".join(paintings[-2:-1])


def test_many_watchers_cost_the_daemon_no_more_than_one(engine: Engine) -> None:
    """All of them get the figures of the same look."""
    for number in range(10):
        engine.shell("sleep 600", name=f"c{number}")
    watching = [engine.begin("stats", "--format", "{{.Name}}") for _ in range(8)]
    for process in watching:
        assert process.stdout is not None
        assert {process.stdout.readline().strip() for _ in range(10)} == {f"c{number}" for number in range(10)}
    for process in watching:
        process.terminate()
        process.communicate()


@pytest.mark.parametrize(
    ("options", "titles"),
    [
        ((), "UID PID PPID C STIME TTY TIME CMD"),
        (("-ef",), "UID PID PPID C STIME TTY TIME CMD"),
        (("aux",), "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
        (("-aux",), "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
        (("-eo", "pid,comm"), "PID COMMAND"),
        (("-o", "pid", "-o", "user"), "PID USER"),
        (("-o", "pid=,args="), "PID COMMAND"),
        (("-opid,ppid,nlwp",), "PID PPID NLWP"),
    ],
)
def test_top_takes_what_ps_takes(engine: Engine, options: tuple[str, ...], titles: str) -> None:
    """With the pids of the host."""
    engine.shell("sleep 500 & sleep 600", name="web")
    until(lambda: len(engine.ok("top", "web", "-o", "pid").splitlines()) == 3, "both sleep")
    lines = engine.ok("top", "web", *options).splitlines()
    assert " ".join(lines[0].split()) == titles
    assert len(lines) == 3
    assert str(engine.pid("web")) in lines[1].split()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("-o", "comm"), "Couldn't find PID field in ps output"),
        (("-o", "nonsense"), "nonsense"),
        (("--sort", "pid"), "--sort"),
    ],
)
def test_what_top_cannot_do_is_refused_by_name(engine: Engine, options: tuple[str, ...], text: str) -> None:
    """Rather than ignored."""
    engine.shell("sleep 600", name="web")
    assert text in engine.refused("top", "web", *options)


def test_top_needs_processes(engine: Engine) -> None:
    """A paused container has some; one that does not run has none."""
    engine.shell("sleep 600", name="web")
    engine.ok("pause", "web")
    assert "sleep 600" in engine.ok("top", "web")
    engine.ok("stop", "-t", "0", "web")
    assert "is not running" in engine.refused("top", "web")
    assert "No such container: nobody" in engine.refused("top", "nobody")
