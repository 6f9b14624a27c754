"""A gibibyte from a container to whoever reads the client's output."""

import os
import subprocess
import time
from functools import partial

from bench.image import REFERENCE
from bench.process import Command, Failed
from bench.report import Row, Target, compare
from bench.samples import interleave, summary
from bench.setting import Setting

GIBIBYTE = 1 << 30
_PIECE = 1 << 20


def measure(setting: Setting) -> list[Row]:
    """`run IMAGE head -c 1G /dev/zero` into a pipe that is read as fast as it can be."""
    size = int(GIBIBYTE * min(1.0, max(setting.scale, 0.1)))
    arguments = ("run", "--rm", "--network", "none", REFERENCE, "head", "-c", str(size), "/dev/zero")
    contestants = {engine.name: partial(_read, engine.command(*arguments), size) for engine in setting.engines}
    taken = interleave(contestants, setting.times(3), 0)
    rates = {name: summary(times).inverse(size / (1 << 20)) for name, times in taken.items()}
    return compare("output of run to a consumer", "MiB/s", rates, Target("docker", 1.0, at_most=False))


def _read(command: Command, size: int) -> float:
    """Seconds until all of it has come and the client has ended. Raises Failed."""
    begin = time.perf_counter()
    process = subprocess.Popen(command.argv, env=command.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    got = 0
    while piece := os.read(process.stdout.fileno(), _PIECE):
        got += len(piece)
    process.stdout.close()
    if process.wait() or got != size:
        raise Failed(f"{' '.join(command.argv)}: {got} of {size} bytes, exit status {process.returncode}")
    return time.perf_counter() - begin
