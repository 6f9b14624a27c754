"""One engine for the folder, an image that holds this Python, and programs that look around inside of a container."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.security import archives, prober
from tests.security.archives import Entry
from tests.tutorial.engine import Engine
from tests.tutorial.fixtures import base_image, engine

__all__ = ["base_image", "engine"]

Look = Callable[..., Any]
INSIDE = Path(__file__).parent / "inside"


class Forge:
    """Makes images from a base and something bad."""

    def __init__(self, engine: Engine, base: Path, place: Path) -> None:
        self.engine, self.base, self.place = engine, base, place

    def image(self, *entries: Entry, base: Path | None = None, change: str = "") -> str:
        """A root file system in which these entries replace what was there."""
        archive = archives.write(self.place / "root.tar", archives.root_with(base or self.base, *entries))
        self.engine.ok("import", *(("--change", change) if change else ()), str(archive), "bad")
        return "bad"

    def load(self, config: dict[str, Any], **manifest: Any) -> Any:
        """An image whose config wishes this; the command line that loads it, ended."""
        archive = archives.image(self.place / "image.tar", self.base, "bad", config, **manifest)
        return self.engine.cli("load", "-i", str(archive))


@pytest.fixture(scope="session")
def python_image(base_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of `base_image` and the interpreter that runs this test."""
    target = tmp_path_factory.mktemp("python") / "python.tar"
    prober.write(base_image, target)
    return target


@pytest.fixture(scope="session")
def served(base_image: Path) -> Iterator[Engine]:
    """A running engine with the image `busybox`; whoever started it had a careless umask."""
    engine = Engine()
    mask = os.umask(0)
    try:
        engine.start()
        engine.ok("import", str(base_image), "busybox")
        yield engine
    finally:
        os.umask(mask)
        left = engine.close()
    assert not left, left


@pytest.fixture(scope="session")
def python(served: Engine, python_image: Path) -> str:
    """The name of that image in the engine of the folder."""
    served.ok("import", str(python_image), "python")
    return "python"


@pytest.fixture
def look(engine: Engine, python: str) -> Look:
    """Run one of the programs in `inside/` as the first process of a container; what it tells."""

    def run(program: str, *arguments: str, options: tuple[str, ...] = ()) -> Any:
        code = (INSIDE / f"{program}.py").read_text()
        said = engine.ok("run", "--rm", *options, python, prober.interpreter(), "-I", "-S", "-c", code, *arguments)
        return json.loads(said)

    return run


@pytest.fixture
def forge(engine: Engine, base_image: Path, tmp_path: Path) -> Forge:
    """For one test."""
    return Forge(engine, archives.small(tmp_path / "small.tar", base_image), tmp_path)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host that nobody may touch."""
    place = tmp_path / "canary"
    place.mkdir()
    for name in ("hosts", "hostname", "passwd"):
        (place / name).write_text("intact")
    before = state_of(place)
    yield place
    assert state_of(place) == before


def state_of(place: Path) -> dict[str, tuple[int, ...]]:
    """What can be seen of every file of a tree that somebody writes to."""
    found: dict[str, tuple[int, ...]] = {}
    for path in (place, *place.rglob("*")):
        state = path.lstat()
        found[str(path)] = state.st_mode, state.st_uid, state.st_nlink, state.st_size, state.st_mtime_ns
    return found
