"""Builds: five small steps from nothing and from the cache, and a context of ten thousand small files; against the
engine's own builder, and against BuildKit where a client can ask for it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from bench.image import REFERENCE
from bench.process import Command
from bench.report import Row, Target, compare
from bench.samples import interleave
from bench.setting import Setting

Build = Callable[..., Command]
_FOLDERS, _FILES, _SMALL = 100, 100, 1000
_STEPS = "".join(f"RUN echo {number} > /step{number}\n" for number in range(5))


def measure(setting: Setting) -> list[Row]:
    """The network of steps is switched off."""
    steps, context = setting.folder / "steps", setting.folder / "context"
    for folder, text in ((steps, _STEPS), (context, "COPY . /context\n")):
        folder.mkdir()
        (folder / "Dockerfile").write_text(f"FROM {REFERENCE}\n{text}", encoding="ascii")
    _write_small(context)
    rows = compare(
        "build of 5 small steps, nothing cached", "ms", _built(setting, steps, fresh=True), *_targets(0.35)
    )
    rows += compare("build of 5 steps, all cached", "ms", _built(setting, steps, fresh=False), *_targets(0.35))
    rows += compare(
        "build with a context of 10 000 small files", "ms", _built(setting, context, fresh=True), *_targets(0.7)
    )
    for folder in (steps, context):
        shutil.rmtree(folder)
    return rows


def _targets(limit: float) -> tuple[Target, Target]:
    return Target("docker", limit), Target("buildkit", 1.0)


def _built(setting: Setting, folder: Path, *, fresh: bool) -> dict[str, list[float]]:
    def turn(command: Build) -> Callable[[], float]:
        options = ("--no-cache",) if fresh else ()
        build = command("build", "-q", "--network", "none", *options, str(folder))

        def run() -> float:
            os.sync()
            return build()

        return run

    builders = _builders(setting)
    for command in builders.values():
        command("build", "-q", "--network", "none", str(folder)).output()
    return interleave({name: turn(command) for name, command in builders.items()}, setting.times(5))


def _builders(setting: Setting) -> dict[str, Build]:
    found: dict[str, Build] = {engine.name: engine.command for engine in setting.engines}
    if setting.docker is not None and (buildkit := setting.docker.buildkit()) is not None:
        found["buildkit"] = buildkit
    return found


def _write_small(folder: Path) -> None:
    for number in range(_FOLDERS):
        inner = folder / f"d{number}"
        inner.mkdir()
        for place in range(_FILES):
            (inner / f"f{place}").write_bytes(os.urandom(_SMALL))
