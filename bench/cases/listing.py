"""`ps -a`: fast, and as fast with a long past as with a short one."""

from functools import partial

from bench.engines.lading import Lading
from bench.image import REFERENCE
from bench.recorded import record
from bench.report import Row, Target, compare
from bench.samples import interleave
from bench.setting import Setting

FEW = 10
MANY = 10_000


def measure(setting: Setting) -> list[Row]:
    """Three engines of ours with different pasts, appended to their logs by our store, take turns with docker."""
    many = setting.times(MANY, least=100)
    few = setting.another_lading("lading-few", partial(_stopped, count=FEW))
    stopped = setting.another_lading("lading-stopped", partial(_stopped, count=many))
    removed = setting.another_lading("lading-removed", partial(_removed, count=many))
    contestants = {
        "lading": few.command("ps", "-a"),
        "stopped": stopped.command("ps", "-a"),
        "last ten": stopped.command("ps", "-a", "-n", str(FEW)),
        "removed": removed.command("ps", "-a"),
    }
    if setting.docker is not None:
        for _ in range(FEW):
            setting.docker.command("create", "--network", "none", REFERENCE, "true")()
        contestants["docker"] = setting.docker.command("ps", "-a")
    samples = interleave(contestants, setting.times(40))
    if setting.docker is not None:
        setting.docker.remove_all()
    for engine in (few, stopped, removed):
        engine.close()
    return [
        *compare(f"ps -a, {FEW} stopped", "ms", samples, Target("docker", 0.8)),
        *_grown(f"ps -a, {many} removed, {FEW} stopped", samples, "removed", 1.5),
        *_grown(f"ps -a, {many} stopped, all listed", samples, "stopped", 1.5),
        *_grown(f"ps -a -n {FEW}, {many} stopped", samples, "last ten", 1.5),
    ]


def _grown(what: str, samples: dict[str, list[float]], name: str, limit: float | None) -> list[Row]:
    """That engine against the one with a short past."""
    pair = {"lading": samples[name], f"{FEW} stopped": samples["lading"]}
    return compare(what, "ms", pair, Target(f"{FEW} stopped", limit))


def _stopped(engine: Lading, count: int) -> None:
    record(engine.data, stopped=count)


def _removed(engine: Lading, count: int) -> None:
    record(engine.data, removed=count, stopped=FEW)
