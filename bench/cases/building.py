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
        "build of 5 small steps, nothing cached", "ms", _built(setting, steps, fresh=True, rounds=setting.times(5)),
        *_targets(0.35)
    )
    rows += compare(
        "build of 5 steps, all cached", "ms", _built(setting, steps, fresh=False, rounds=setting.times(5)),
        *_targets(0.35),
    )
    rows += _of_many(setting, context)
    for folder in (steps, context):
        shutil.rmtree(folder)
    return rows


def _of_many(setting: Setting, context: Path) -> list[Row]:
    """What they know of it counts: whether they have built the same before, something like it, or nothing."""
    what = "build with a context of 10 000 small files"
    cases: tuple[tuple[str, bool, Callable[[], None]], ...] = (
        (what, True, lambda: None),
        (f"{what}, all cached", False, lambda: None),
        (f"{what}, one of them changed", False, lambda: _write(context / "d50" / "f50")),
        (f"{what}, all of them new", False, lambda: _write_small(context)),
    )
    rows: list[Row] = []
    for name, fresh, change in cases:
        samples = _built(setting, context, fresh=fresh, rounds=setting.times(3), change=change)
        rows += compare(name, "ms", samples, *_targets(0.7))
    return rows


def _targets(limit: float) -> tuple[Target, Target]:
    return Target("docker", limit), Target("buildkit", 1.0)


def _built(
    setting: Setting, folder: Path, *, fresh: bool, rounds: int, change: Callable[[], None] = lambda: None
) -> dict[str, list[float]]:
    """`change` is done before each turn, and is not measured."""

    def turn(command: Build) -> Callable[[], float]:
        options = ("--no-cache",) if fresh else ()
        build = command("build", "-q", "--network", "none", *options, str(folder))

        def run() -> float:
            change()
            os.sync()
            return build()

        return run

    builders = _builders(setting)
    for command in builders.values():
        command("build", "-q", "--network", "none", str(folder)).output()
    return interleave({name: turn(command) for name, command in builders.items()}, rounds)


def _builders(setting: Setting) -> dict[str, Build]:
    found: dict[str, Build] = {engine.name: engine.command for engine in setting.engines}
    if setting.docker is not None and (buildkit := setting.docker.buildkit()) is not None:
        found["buildkit"] = buildkit
    return found


def _write_small(folder: Path) -> None:
    for number in range(_FOLDERS):
        inner = folder / f"d{number}"
        inner.mkdir(exist_ok=True)
        for place in range(_FILES):
            _write(inner / f"f{place}")


def _write(path: Path) -> None:
    path.write_bytes(os.urandom(_SMALL))
