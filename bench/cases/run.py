"""The main job: start a container, run `true` in it, remove it; the whole command as a user sees it."""

from bench.image import REFERENCE
from bench.report import Row, Target, compare
from bench.samples import interleave
from bench.setting import Setting

ARGUMENTS = ("run", "--rm", "--network", "none", REFERENCE, "true")


def measure(setting: Setting) -> list[Row]:
    """Against docker with the same arguments, and against runc, which knows neither images nor history."""
    contestants = {engine.name: engine.command(*ARGUMENTS) for engine in setting.engines}
    if setting.runc is not None:
        contestants["runc"] = setting.runc.run()
    samples = interleave(contestants, setting.times(40))
    return compare("run --rm IMAGE true", "ms", samples, Target("docker", 0.15), Target("runc", 1.5))
