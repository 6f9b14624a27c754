"""Logs: how fast they are written, how large they become, how soon a part is found, what a flood does to others."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.engines.docker import Docker
from bench.engines.lading import Lading
from bench.image import REFERENCE
from bench.process import until
from bench.report import Row, Target, bound, compare
from bench.samples import Summary, interleave, ratio, summary
from bench.setting import Setting

_LINE = "2026-11-25 12:00:00.000 INFO worker-7 [3f2a] request /api/v1/things took 12 ms, status 200, from 10.0.0.7"
_PIECE, _PIECES = 10_000_000, 50
_WRITES = f"yes '{_LINE}' | head -c {_PIECE} >/lines; i=0; while [ $i -lt %d ]; do i=$((i+1)); cat /lines; done"
_LINES = 1_000_000
_FILLS = f"yes '{_LINE}' | head -n %d; while :; do echo tick; sleep 0.5; done"
_FLOODS = f"yes '{_LINE}'"
_MEGA = 1_000_000


def measure(setting: Setting) -> list[Row]:
    """All four questions."""
    return [*_writing(setting), *_finding(setting), *_beside_a_flood(setting)]


def _writing(setting: Setting) -> list[Row]:
    """Log lines from `run -d` until the exit is known, as each engine keeps them by default, and as JSON lines."""
    pieces = setting.times(_PIECES, least=5)
    used: dict[str, list[float]] = {}
    contestants: dict[str, Callable[[], float]] = {
        engine.name: partial(_write, engine, (), pieces, used.setdefault(engine.name, [])) for engine in setting.engines
    }
    shipped: list[float] = []
    contestants["json-file"] = partial(_write, setting.lading, ("--log-driver", "json-file"), pieces, shipped)
    taken = interleave(contestants, setting.times(3), 0)
    size = pieces * _PIECE / _MEGA
    rates = {name: summary(times).inverse(size) for name, times in taken.items()}
    json_rates = {**rates, "lading": rates["json-file"]}
    return [
        *compare(f"{size:.0f} MB of log lines", "MB/s", rates, Target("docker", 1.5, at_most=False)),
        *compare("the same with --log-driver json-file", "MB/s", json_rates, Target("docker", None, at_most=False)),
        *compare("their size on the disk", "MB", used, Target("docker", 0.5)),
    ]


def _write(engine: Lading | Docker, options: tuple[str, ...], pieces: int, used: list[float]) -> float:
    """Seconds; the size of the log in MB is noted."""
    begin = time.perf_counter()
    script = _WRITES % pieces
    id = engine.command("run", "-d", "--network", "none", *options, REFERENCE, "sh", "-c", script).output()
    engine.command("wait", id)()
    taken = time.perf_counter() - begin
    used.append(_size(_log_path(engine, id)) / _MEGA)
    engine.command("rm", "-f", id).output()
    return taken


def _log_path(engine: Lading | Docker, id: str) -> Path:
    return Path(engine.command("inspect", "-f", "{{.LogPath}}", id).output())


def _size(path: Path) -> float:
    """Of the file, or of all files in the directory."""
    files = path.iterdir() if path.is_dir() else path.parent.glob(f"{path.name}*")
    return sum(file.stat().st_blocks * 512 for file in files)


def _finding(setting: Setting) -> list[Row]:
    """The last second, and the last lines, of a million."""
    lines = setting.times(_LINES, least=10_000)
    contestants: dict[str, Callable[[], float]] = {}
    for engine in setting.engines:
        script = _FILLS % lines
        id = engine.command("run", "-d", "--network", "none", REFERENCE, "sh", "-c", script).output()
        until(partial(_ticks, engine, id), f"{lines} lines to be written", patience=120)
        for name, words in (("since", ("--since", "1s")), ("tail", ("--tail", "3"))):
            contestants[f"{engine.name} {name}"] = engine.command("logs", *words, id)
    samples = interleave(contestants, setting.times(30))
    for engine in setting.engines:
        engine.remove_all()
    found = {name: summary(times) for name, times in samples.items()}
    what = f"logs --since 1s of {lines} lines"
    since = {"lading": found["lading since"], "logs --tail 3": found["lading tail"]}
    rows = compare(what, "ms", since, Target("logs --tail 3", 1.2))
    if "docker since" in found:
        both = {"lading": found["lading since"], "docker": found["docker since"]}
        rows += compare(what, "ms", both, Target("docker"))
    return rows


def _ticks(engine: Lading | Docker, id: str) -> bool:
    return engine.command("logs", "--tail", "1", id).output() == "tick"


def _beside_a_flood(setting: Setting) -> list[Row]:
    """Another container is started, speaks and ends while one writes as fast as it can."""
    words = ("run", "--rm", "--network", "none", REFERENCE, "echo", "calm")
    contestants = {engine.name: engine.command(*words) for engine in setting.engines}
    calm = interleave(contestants, setting.times(20))
    samples: dict[str, list[float]] = {}
    memory = 0.0
    for engine in setting.engines:
        with _flood(engine):
            before = _resident(engine)
            samples |= interleave({engine.name: engine.command(*words)}, setting.times(20))
            if engine.name == "lading":
                memory = _resident(engine) - before
    slower = ratio(summary(samples["lading"]), summary(calm["lading"]))
    one = Summary(1, memory, memory, memory)
    return [
        *compare("run IMAGE echo beside a flood of output", "ms", samples, Target("docker", 1.0),
                 note=f"{slower:.2f} x without the flood"),
        bound("memory of the engine grown by that flood", "MiB", one, 100),
    ]


@contextmanager
def _flood(engine: Lading | Docker) -> Iterator[None]:
    id = engine.command("run", "-d", "--network", "none", REFERENCE, "sh", "-c", _FLOODS).output()
    try:
        yield
    finally:
        engine.command("rm", "-f", id).output()


def _resident(engine: Lading | Docker) -> float:
    """MiB of all processes of the engine; shared pages count for each."""
    pages = 0
    for pid in engine.engine_processes():
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
