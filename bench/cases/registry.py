"""An image of 150 MB in five layers: pulled from a registry, pushed to an empty one, loaded from an archive."""

import os
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from bench.engines.docker import Docker
from bench.engines.lading import Lading
from bench.machine import fresh_file_system
from bench.process import Command
from bench.registry import peak, registry, saved_image, seconds_of, small_files
from bench.report import Row, Target, bound, compare
from bench.samples import Summary, interleave, summary
from bench.setting import Setting

_SIZE = 150_000_000
_SMALL_FILES = 10_000
_NAME = "bench-many:v1"

Engine = Lading | Docker
Samples = Mapping[str, list[float]]


def measure(setting: Setting) -> list[Row]:
    """Wall time and processor time of the engines' own processes; skopeo, which unpacks nothing, beside them."""
    archive = setting.folder / "many.tar"
    size = saved_image(archive, _SIZE, _NAME)
    about = f"{size // 1_000_000} MB"
    before = peak(setting.lading.pid)
    rows = _pulls(setting, archive, about)
    rows.append(bound("memory grown by pulls", "MiB", _one(peak(setting.lading.pid) - before), 100))
    rows += _pushes(setting, archive, about)
    rows += _loads(setting, archive, about)
    rows += _extraction(setting, archive, about)
    archive.unlink()
    rows += _small_files(setting)
    return rows


def _pulls(setting: Setting, archive: Path, about: str) -> list[Row]:
    with registry(setting.folder) as host:
        name = f"{host}/bench/many:v1"
        _give(setting.lading, archive, name)
        setting.lading.command("push", "-q", name).output()
        _take(setting.lading, name, _NAME)
        used: dict[str, list[float]] = {}
        turns = {engine.name: _pull(engine, name, used) for engine in setting.engines}
        if skopeo := shutil.which("skopeo"):
            turns["skopeo"] = _skopeo(skopeo, name, setting.folder / "layout")
        walls = interleave(turns, setting.times(5))
    return [
        *compare(f"pull of {about}: wall", "s", walls, Target("docker", 0.7), Target("skopeo")),
        *compare(f"pull of {about}: processor", "s", _later(used), Target("docker", 0.5)),
    ]


def _pull(engine: Engine, name: str, used: dict[str, list[float]]) -> Callable[[], float]:
    pull, remove = engine.command("pull", "-q", name), engine.command("rmi", name)
    return lambda: _timed(engine, pull, used, after=remove.output)


def _pushes(setting: Setting, archive: Path, about: str) -> list[Row]:
    """To another empty registry each time: nothing is there, and nothing can be mounted."""
    used: dict[str, list[float]] = {}

    def turn(engine: Engine) -> Callable[[], float]:
        def run() -> float:
            with registry(setting.folder) as host:
                name = f"{host}/bench/many:v1"
                engine.command("tag", _NAME, name).output()
                taken = _timed(engine, engine.command("push", "-q", name), used)
                engine.command("rmi", name).output()
                return taken

        return run

    for engine in setting.engines:
        engine.command("load", "-q", "-i", str(archive)).output()
    walls = interleave({engine.name: turn(engine) for engine in setting.engines}, setting.times(5))
    for engine in setting.engines:
        engine.command("rmi", _NAME).output()
    return [
        *compare(f"push of {about}: wall", "s", walls, Target("docker", 0.3)),
        *compare(f"push of {about}: processor", "s", _later(used), Target("docker", 0.3)),
    ]


def _loads(setting: Setting, archive: Path, about: str) -> list[Row]:
    used: dict[str, list[float]] = {}

    def turn(engine: Engine) -> Callable[[], float]:
        load, remove = engine.command("load", "-q", "-i", str(archive)), engine.command("rmi", _NAME)
        return lambda: _timed(engine, load, used, after=remove.output)

    walls = interleave({engine.name: turn(engine) for engine in setting.engines}, setting.times(5))
    return [
        *compare(f"load of {about}: wall", "s", walls, Target("docker", 0.6)),
        *compare(f"load of {about}: processor", "s", _later(used), Target("docker", 0.6)),
    ]


def _extraction(setting: Setting, archive: Path, about: str) -> list[Row]:
    """Every layer into an empty directory of its own, by our extractor and by tar."""
    tar = shutil.which("tar")
    if tar is None:
        return []
    folder = setting.folder / "extraction"
    folder.mkdir()
    subprocess.run([tar, "-xf", str(archive), "-C", str(folder)], check=True)
    rows = _extracted(setting, tar, sorted(folder.glob("*/layer.tar")), f"extraction of {about}, with its digests")
    shutil.rmtree(folder)
    return rows


def _small_files(setting: Setting) -> list[Row]:
    """One layer of many small files."""
    tar = shutil.which("tar")
    if tar is None:
        return []
    layer = setting.folder / "small.tar"
    small_files(layer, _SMALL_FILES)
    rows = _extracted(setting, tar, [layer], f"extraction of {_SMALL_FILES} small files, with their digests")
    layer.unlink()
    return rows


def _extracted(setting: Setting, tar: str, layers: Sequence[Path], about: str) -> list[Row]:
    """Both write to a file system of their own, where directories are spread: what was deleted lately makes new files
    slow on many disks, and whoever comes second would pay for the first (`adapters.images.spreading`)."""
    with fresh_file_system(setting.folder / "extracted") as folder:
        return _extracted_in(folder, setting.times(9), tar, layers, about)


def _extracted_in(folder: Path, rounds: int, tar: str, layers: Sequence[Path], about: str) -> list[Row]:
    """By our extractor as the engine does it, several layers side by side, and one after the other, as tar does."""
    from adapters.images.spreading import spread_out

    spread_out(str(folder))

    def one_by_one(layers: Sequence[Path], work: Path) -> None:
        for number, layer in enumerate(layers):
            _side_by_side([layer], work / str(number))

    def by_tar(layers: Sequence[Path], work: Path) -> None:
        for number, layer in enumerate(layers):
            (work / str(number)).mkdir(parents=True)
            subprocess.run([tar, "-xpf", str(layer), "-C", str(work / str(number))], check=True)

    ways = {"lading": _side_by_side, "one by one": one_by_one, "tar": by_tar}
    used: dict[str, list[float]] = {}

    def turn(name: str) -> float:
        work = folder / secrets.token_hex(8)
        os.sync()
        begin, before = time.perf_counter(), _own_seconds()
        ways[name](layers, work)
        taken = time.perf_counter() - begin
        used.setdefault(name, []).append(_own_seconds() - before)
        shutil.rmtree(work)
        return taken

    if len(layers) == 1:
        del ways["one by one"]
    walls = interleave({name: partial(turn, name) for name in ways}, rounds)
    rows = [
        *compare(f"{about}: wall", "s", _of(walls, "lading"), Target("tar", 1.3)),
        *compare(f"{about}: processor", "s", _later(_of(used, "lading")), Target("tar")),
    ]
    if "one by one" in walls:
        rows += compare(f"{about}, one layer after the other: wall", "s", _of(walls, "one by one"), Target("tar"))
    return rows


def _side_by_side(layers: Sequence[Path], work: Path) -> None:
    from adapters.images.content import LayerRecord
    from adapters.images.stacking import Below, stacked
    from adapters.images.unpack import Expected, Limits, Place, unpack_blob

    def make(number: int, below: Below) -> LayerRecord:
        place = Place(work / str(number), work / "layers", coming=below)
        place.work.mkdir(parents=True)
        with layers[number].open("rb", buffering=0) as file:
            pieces = iter(lambda: file.read(1 << 20), b"")
            return unpack_blob(pieces, place, Expected("the layer"), Limits())

    (work / "layers").mkdir(parents=True)
    stacked(len(layers), make, threading.Event())


def _of(samples: Samples, ours: str) -> dict[str, list[float]]:
    """Ours, called as the others know us, and tar's."""
    return {"lading": samples[ours], "tar": samples["tar"]}


def _own_seconds() -> float:
    """Processor time of this process and of those it has waited for."""
    return sum(os.times()[:4])


def _give(engine: Engine, archive: Path, name: str) -> None:
    engine.command("load", "-q", "-i", str(archive)).output()
    engine.command("tag", _NAME, name).output()


def _take(engine: Engine, *names: str) -> None:
    engine.command("rmi", *names).output()


def _timed(
    engine: Engine, command: Command, used: dict[str, list[float]], after: Callable[[], object] = lambda: None
) -> float:
    """Seconds of the command; the processor time of the engine meanwhile is added to `used`."""
    os.sync()
    before = seconds_of(engine.engine_processes())
    taken = command() / 1000
    used.setdefault(engine.name, []).append(seconds_of(engine.engine_processes()) - before)
    after()
    return taken


def _skopeo(program: str, name: str, layout: Path) -> Callable[[], float]:
    argv = [program, "copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"oci:{layout}:v1"]
    copy = Command(argv, {"PATH": "/usr/bin", "HOME": str(layout.parent)})

    def run() -> float:
        os.sync()
        taken = copy() / 1000
        shutil.rmtree(layout)
        return taken

    return run


def _later(used: dict[str, list[float]]) -> dict[str, Summary]:
    """Without the first turn, which does not count."""
    return {name: summary(values[1:]) for name, values in used.items()}


def _one(value: float) -> Summary:
    return Summary(1, value, value, value)
