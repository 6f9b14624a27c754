"""How long a key takes from the keyboard through the container's terminal and back to the screen."""

import time
from contextlib import ExitStack
from functools import partial

from bench.engines.docker import Docker
from bench.engines.lading import Lading
from bench.image import REFERENCE
from bench.report import Row, Target, compare
from bench.samples import interleave
from bench.setting import Setting
from bench.terminal import Typist

PAUSE = 0.01
"""Between keys, in seconds: faster than anybody types, slow enough that everything is at rest again."""


def measure(setting: Setting) -> list[Row]:
    """`run -ti IMAGE cat`: the terminal inside echoes each key by itself, so nothing but the way is measured."""
    with ExitStack() as stack:
        typists = {engine.name: stack.enter_context(_typist(engine)) for engine in setting.engines}
        contestants = {name: partial(_press, typist) for name, typist in typists.items()}
        samples = interleave(contestants, setting.times(300), 20)
    for engine in setting.engines:
        engine.remove_all()
    return compare("key-press echo", "ms", samples, Target("docker", 1.5))


def _typist(engine: Lading | Docker) -> Typist:
    typist = Typist(engine.command("run", "-ti", "--rm", "--network", "none", REFERENCE, "cat"))
    typist.until_raw()
    typist.type(b"ready")
    typist.sees(b"ready")
    return typist


def _press(typist: Typist) -> float:
    time.sleep(PAUSE)
    return typist.echo(b"x")
