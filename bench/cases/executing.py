"""One more process in a running container: the whole command as a user sees it."""

from bench.image import REFERENCE
from bench.report import Row, Target, compare
from bench.samples import interleave
from bench.setting import Setting


def measure(setting: Setting) -> list[Row]:
    """`exec C true` with everything attached, as it is without options."""
    for engine in setting.engines:
        engine.command("run", "-d", "--name", "bench", "--network", "none", REFERENCE, "sleep", "1000000").output()
    samples = interleave(
        {engine.name: engine.command("exec", "bench", "true") for engine in setting.engines}, setting.times(40)
    )
    for engine in setting.engines:
        engine.remove_all()
    return compare("exec C true", "ms", samples, Target("docker", 0.35))
