"""Twenty at once: how many short containers a second go through an engine from start to removal."""

from collections.abc import Callable
from functools import partial

from bench.cases.run import ARGUMENTS
from bench.process import together
from bench.report import Row, Target, compare
from bench.samples import interleave, summary
from bench.setting import Setting

AT_ONCE = 20


def measure(setting: Setting) -> list[Row]:
    """Rates of whole commands, client processes included."""
    contestants: dict[str, Callable[[], float]] = {
        engine.name: partial(together, [engine.command(*ARGUMENTS)] * AT_ONCE) for engine in setting.engines
    }
    samples = interleave(contestants, setting.times(7))
    rates = {name: summary(found).inverse(AT_ONCE * 1000) for name, found in samples.items()}
    return compare(f"run --rm IMAGE true, {AT_ONCE} at once", "/s", rates, Target("docker", 6, at_most=False))
