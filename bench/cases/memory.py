"""What the engine keeps in memory: nothing running, and for each idle container (its own process not counted)."""

from bench.engines.docker import Docker
from bench.engines.lading import Lading
from bench.image import REFERENCE
from bench.process import command_line, executable, pss, until
from bench.report import Row, bound
from bench.samples import Summary
from bench.setting import Setting

IDLE = 100


def measure(setting: Setting) -> list[Row]:
    """Proportional set sizes (PSS) of all processes of a fresh engine."""
    fresh = setting.another_lading("lading-memory")
    rows = _rows(setting, fresh, setting.times(IDLE, least=10), 150, 0.5)
    fresh.close()
    if setting.docker is not None:
        rows += _rows(setting, setting.docker, setting.times(20, least=5), None, None)
    return rows


def _rows(
    setting: Setting, engine: Lading | Docker, idle: int, limit: float | None, limit_each: float | None
) -> list[Row]:
    before = _all(engine)
    setting.say(f"{engine.name}: " + ", ".join(f"{name} {size:.1f} MiB" for name, size in _parts(engine)))
    for _ in range(idle):
        engine.command("run", "-d", "--network", "none", REFERENCE, "sleep", "100000")()
    until(lambda: len(engine.container_processes()) == idle, f"{idle} idle containers")
    each = (_all(engine) - before) / idle
    engine.remove_all()
    name = "" if engine.name == "lading" else f"{engine.name}: "
    return [
        bound(f"{name}memory without containers", "MiB", _one(before), limit),
        bound(f"{name}memory for each of {idle} idle containers", "MiB", _one(each), limit_each),
    ]


def _all(engine: Lading | Docker) -> float:
    return sum(size for _, size in _parts(engine))


def _parts(engine: Lading | Docker) -> list[tuple[str, float]]:
    """Name and size of each process; one that ends while we look does not count."""
    parts = []
    for pid in engine.engine_processes():
        try:
            parts.append((command_line(pid)[-40:] or executable(pid), pss(pid)))
        except OSError:
            continue
    return parts


def _one(value: float) -> Summary:
    return Summary(1, value, value, value)
