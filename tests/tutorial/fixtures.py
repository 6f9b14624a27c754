"""Fixtures of everything that starts a whole engine; each folder's conftest takes what it needs."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters.registry.servers import Registry, distribution
from tests.tutorial.engine import ROOT, Engine, until
from tests.tutorial.truth import contradictions, settled

__all__ = ["base_image", "clean", "engine", "fresh", "private", "registry", "served"]


@pytest.fixture(scope="session")
def base_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive that `make demo` uses, too."""
    found = subprocess.run([str(ROOT / ".ci/busybox")], capture_output=True, text=True, check=False, timeout=300)
    if found.returncode:
        pytest.skip("needs a statically linked busybox")
    target = tmp_path_factory.mktemp("base") / "busybox.tar"
    script = str(ROOT / ".ci/base_image.py")
    subprocess.run([sys.executable, "-I", script, found.stdout.strip(), str(target)], check=True, timeout=60)
    return target


@pytest.fixture(scope="module")
def served(base_image: Path) -> Iterator[Engine]:
    """A running engine with the image `busybox`, for all tests of a file; nothing of it is left afterwards."""
    engine = Engine()
    try:
        engine.start()
        engine.ok("import", str(base_image), "busybox")
    finally:
        if not engine.listens():
            engine.close()
    yield engine
    left = engine.close()
    assert not left, left


@pytest.fixture
def engine(served: Engine) -> Iterator[Engine]:
    """The engine of the file without containers; after each test nothing of its containers is left."""
    yield served
    clean(served)


def clean(engine: Engine) -> None:
    """Remove every container; then kernel, files and log must agree that there is none."""
    if not engine.listens():
        engine.start()
    engine.remove_all()
    settled(engine)
    found = contradictions(engine)
    assert not found, found
    # The keeper lets go one after the other, when it has heard of the end.
    until(lambda: not _held(engine), f"no descriptors are left of containers that are gone: {_held(engine)}", 5)


def _held(engine: Engine) -> dict[str, int]:
    own = {"zygote mnt": 1}  # the host's
    return {key: count - own.get(key, 0) for key, count in engine.descriptors().items()
            if not key.endswith("pipe") and count > own.get(key, 0)}


@pytest.fixture
def fresh(base_image: Path) -> Iterator[Engine]:
    """An engine for one test, with the image, that may be damaged at will."""
    engine = Engine()
    try:
        engine.start()
        engine.ok("import", str(base_image), "busybox")
        yield engine
    finally:
        left = engine.close()
    assert not left, left


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One that lets everybody in."""
    with distribution(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One with a password: ann's is "secret"."""
    with distribution(tmp_path_factory.mktemp("private"), htpasswd=True) as registry:
        yield registry
