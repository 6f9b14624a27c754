"""Files into a container and out of it: one of a gibibyte, and ten thousand small ones."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from bench.image import REFERENCE
from bench.process import Command
from bench.report import Row, Target, compare
from bench.samples import interleave
from bench.setting import Setting

_FOLDERS, _FILES, _SMALL = 100, 100, 1000
_PIECE = 1 << 20


def measure(setting: Setting) -> list[Row]:
    """Both directions of each; what a copy has made is deleted before the next one, and all is on the disk before."""
    pieces = max(int(1024 * setting.scale), 64)
    large, small = setting.folder / "large", setting.folder / "small"
    _write_large(large, pieces)
    _write_small(small)
    for engine in setting.engines:
        engine.command("run", "-d", "--name", "bench", "--network", "none", REFERENCE, "sleep", "1000000").output()
    rows: list[Row] = []
    for what, source in ((f"{pieces} MiB", large), ("10 000 small files", small)):
        rows += compare(f"cp of {what} into a container", "ms", _into(setting, source), Target("docker", 1.0))
        rows += compare(f"cp of {what} out of it", "ms", _out(setting, source), Target("docker", 1.0))
    for engine in setting.engines:
        engine.remove_all()
    for path in (large, small):
        _remove(path)
    return rows


def _into(setting: Setting, source: Path) -> dict[str, list[float]]:
    def turn(command: Callable[..., Command]) -> Callable[[], float]:
        return lambda: _timed(command("cp", str(source), "bench:/copy"), command("exec", "bench", "rm", "-r", "/copy"))

    return interleave({engine.name: turn(engine.command) for engine in setting.engines}, setting.times(5))


def _out(setting: Setting, source: Path) -> dict[str, list[float]]:
    def turn(name: str, command: Callable[..., Command]) -> Callable[[], float]:
        target = setting.folder / f"copy-{name}"

        def run() -> float:
            taken = _timed(command("cp", "bench:/copy", str(target)))
            _remove(target)
            return taken

        return run

    for engine in setting.engines:
        engine.command("cp", str(source), "bench:/copy").output()
    turns = {engine.name: turn(engine.name, engine.command) for engine in setting.engines}
    samples = interleave(turns, setting.times(5))
    for engine in setting.engines:
        engine.command("exec", "bench", "rm", "-r", "/copy").output()
    return samples


def _timed(copy: Command, *after: Command) -> float:
    """What the copy took; nothing that came before it is still on its way to the disk."""
    os.sync()
    taken = copy()
    for command in after:
        command.output()
    return taken


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write_large(path: Path, pieces: int) -> None:
    """Bytes that nothing can shorten."""
    with path.open("wb") as file:
        for _ in range(pieces):
            file.write(os.urandom(_PIECE))


def _write_small(folder: Path) -> None:
    for number in range(_FOLDERS):
        inner = folder / f"d{number}"
        inner.mkdir(parents=True)
        for place in range(_FILES):
            (inner / f"f{place}").write_bytes(os.urandom(_SMALL))
