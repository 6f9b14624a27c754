"""Create, start and stop of a process that heeds SIGTERM."""

import uuid

from bench.engines.docker import Docker
from bench.engines.lading import Lading
from bench.image import REFERENCE
from bench.process import catches_term, command_line, until
from bench.report import Row, Target, compare
from bench.setting import Setting

HEEDS = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"


def measure(setting: Setting) -> list[Row]:
    """Each verb by itself; engines take turns with whole lives."""
    samples: dict[str, dict[str, list[float]]] = {verb: {} for verb in ("create", "start", "stop")}
    for turn in range(setting.times(15) + 1):
        engines = setting.engines if turn % 2 == 0 else setting.engines[::-1]
        for engine in engines:
            for verb, taken in _life(engine).items():
                if turn > 0:
                    samples[verb].setdefault(engine.name, []).append(taken)
    return [row for verb, found in samples.items() for row in compare(verb, "ms", found, Target("docker", 1))]


def _life(engine: Lading | Docker) -> dict[str, float]:
    name = f"bench-{uuid.uuid4().hex[:8]}"
    taken = {
        "create": engine.command(
            "create", "--network", "none", "--name", name, REFERENCE, "sh", "-c", HEEDS, name
        )(),
        "start": engine.command("start", name)(),
    }
    until(lambda: _heeds(engine, name), "the process to heed SIGTERM")
    taken["stop"] = engine.command("stop", name)()
    engine.command("rm", name)()
    return taken


def _heeds(engine: Lading | Docker, mark: str) -> bool:
    """Whether the shell of that container has set its trap; before that, SIGTERM would be lost on a first process."""
    return any(mark in command_line(pid) and catches_term(pid) for pid in engine.container_processes())
