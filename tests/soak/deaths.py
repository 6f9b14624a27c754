"""Cases in which a process of the engine dies in the middle of a stream. They have the engine for themselves."""

import json
import os
import signal
import time
from pathlib import Path
from random import Random

from tests.soak.world import Fault, Running, Tool, World, run, sequence, shown
from tests.tutorial.engine import until


def _writer(lines: int) -> str:
    return f"i=1; while [ $i -le {lines} ]; do seq $i $((i+99)); i=$((i+100)); usleep 5000; done"


def _whole(world: World) -> None:
    """All processes are there, and work."""
    until(lambda: all(world.engine.processes()[role] for role in ("keeper", "warden", "zygote")), "all are back", 60)
    world.engine.ok("exec", world.box, "true", timeout=60)


def _scribe(world: World) -> int:
    """Its process; 0 if there is none."""
    wanted = f"logs={world.engine.data / 'logs'}".encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"scribe" in words and wanted in words:
                return int(entry)
    return 0


def json_file_is_whole(world: World, tool: Tool, chance: Random) -> None:
    """What log shippers read has each line once, whoever was killed."""
    lines = 30_000
    id = run(tool, "run", "-d", "--log-driver", "json-file", "--log-opt", "max-size=1m", "--log-opt", "max-file=50",
             "busybox", "sh", "-c", _writer(lines)).out.decode().strip()
    path = Path(world.engine.ok("inspect", "-f", "{{.LogPath}}", id))
    for _ in range(4):
        time.sleep(chance.random() * 0.4)
        if chance.random() < 0.5:
            if scribe := _scribe(world):
                os.kill(scribe, signal.SIGKILL)
        else:
            _whole(world)
            world.engine.kill("warden")
    run(tool, "wait", id).expect(b"0\n")
    until(lambda: not (path.parent / "json").exists(), "the scribe has written everything", 60)
    files = [path.with_name(f"{path.name}.{number}") for number in range(50, 0, -1)]
    files = [*(each for each in files if each.exists()), path]
    found = "".join(json.loads(line)["log"] for each in files for line in each.read_text().splitlines())
    sequence([line.encode() for line in found.splitlines()], "json-file", 1, lines)
    sequence(run(tool, "logs", id).out.splitlines(), "logs", 1, lines)
    run(tool, "rm", id).expect(None)


def output_survives_the_daemon(world: World, tool: Tool, chance: Random) -> None:
    """Its clients end and say so; nothing that was written meanwhile is missing, and whoever follows again sees it."""
    lines = 20_000
    script = _writer(lines) + "; read x; echo got $x; exit 3"
    id = run(tool, "run", "-d", "-i", "busybox", "sh", "-c", script).out.decode().strip()
    follower = Running(tool, "logs", "-f", id)
    watcher = Running(tool, "attach", "--no-stdin", id)
    time.sleep(chance.random())
    world.engine.crash()
    for each in (follower, watcher):
        ended = each.end()
        if ended.code != 1 or b"the daemon went away" not in ended.err:
            raise Fault(f"{each.words}: {ended.code} {ended.err!r}")
    sequence(ended.out.splitlines()[:-1], "attach")
    world.engine.start()
    follower = Running(tool, "logs", "-f", id)
    typist = Running(tool, "attach", id, stdin=(b"a word\n",), keep_open=True)
    ended = follower.end()
    *numbers, last = ended.out.splitlines()
    sequence(numbers, "logs -f", 1, lines)
    if last != b"got a word":
        raise Fault(f"last: {last!r}")
    ended = typist.end()
    if ended.code != 3 or not ended.out.endswith(b"got a word\n"):
        raise Fault(f"attach: {ended.code} {shown(ended.out)} {ended.err!r}")
    run(tool, "rm", id).expect(None)


def exits_survive_the_daemon(world: World, tool: Tool, chance: Random) -> None:
    """A status that came while no daemon was there is told to whoever asks afterwards."""
    code = chance.randrange(1, 100)
    id = run(tool, "run", "-d", "busybox", "sh", "-c", f"usleep {chance.randrange(300000)}; exit {code}").out.decode()
    time.sleep(chance.random() * 0.3)
    world.engine.crash()
    world.engine.start()
    run(tool, "wait", id.strip()).expect(b"%d\n" % code)
    run(tool, "rm", id.strip()).expect(None)


DEATHS = {case.__name__: case for case in (json_file_is_whole, output_survives_the_daemon, exits_survive_the_daemon)}
