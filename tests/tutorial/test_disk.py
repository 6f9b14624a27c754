"""A disk that fills up: errors for whoever wants more, and nothing else is wrong, during the shortage and after it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tutorial.engine import Engine, until
from tests.tutorial.fixtures import clean

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

SIZE = 512 << 20


@pytest.fixture
def small(base_image: Path) -> Iterator[Engine]:
    """An engine whose data root is a file system of its own; all of it is gone afterwards."""
    engine = Engine()
    engine.data.mkdir(mode=0o710)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=710", "small", str(engine.data)], check=True,
                   timeout=30)
    try:
        engine.start()
        engine.ok("import", str(base_image), "busybox")
        yield engine
    finally:
        left = engine.close(keep=True)
        subprocess.run(["umount", str(engine.data)], check=False, timeout=30)
        engine.erase()
    assert not left, left


def _fill(engine: Engine) -> Path:
    """Leave no byte."""
    path = engine.data / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue
    return path


def test_a_full_disk(small: Engine) -> None:
    """`run` fails in one line; `ps`, `stop`, `logs` and `rm` work; what runs goes on; then everything works again."""
    small.shell("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done", name="heeds")
    small.ok("run", "-d", "--name", "ignores", "busybox", "sleep", "600")
    small.ok("run", "-d", "--name", "goes", "busybox", "sleep", "600")
    small.written("heeds", "ready")
    pid = small.pid("heeds")
    filler = _fill(small)
    done = small.cli("run", "--rm", "busybox", "sh", "-c", "echo x > /file")
    assert done.code != 0
    assert len(done.err.strip().splitlines()) <= 3
    assert "Traceback" not in done.err
    assert sorted(small.ok("ps", "--format", "{{.Names}}").split()) == ["goes", "heeds", "ignores"]
    assert small.pid("heeds") == pid
    small.ok("stop", "-t", "20", "heeds")
    small.ok("stop", "-t", "0", "ignores")
    small.ok("rm", "-f", "goes")
    assert small.cli("logs", "heeds").out == "ready\n"
    small.crash()  # what was learnt in the shortage must be there afterwards
    small.start()
    assert small.ok("inspect", "-f", "{{.State.ExitCode}}", "heeds", "ignores").split() == ["5", "137"]
    filler.unlink()
    assert small.ok("run", "--rm", "busybox", "echo", "again") == "again"
    assert small.cli("audit", "verify").code == 0
    clean(small)


def test_an_import_that_does_not_fit(small: Engine, tmp_path: Path) -> None:
    """Nothing of it stays."""
    before = small.stored_layers()
    archive = tmp_path / "large.tar"
    content = tmp_path / "content"
    with content.open("wb") as file:
        for _ in range(300):  # with its copy more than there is room for
            file.write(b"x" * (1 << 20))
    subprocess.run(["tar", "-cf", str(archive), "-C", str(tmp_path), "content"], check=True, timeout=60)
    done = small.cli("import", str(archive), "large:1", timeout=120)
    assert done.code == 1
    assert done.err.splitlines() == [
        "Error response from daemon: the archive cannot be stored: No space left on device",
        "lading system prune frees some",
    ]
    until(lambda: small.stored_layers() == before and not list((small.data / "tmp").iterdir()), "nothing of it stays")
    assert small.ok("run", "--rm", "busybox", "echo", "next") == "next"


def test_containers_write_while_the_disk_is_full(small: Engine) -> None:
    """Output is lost then, and the container goes on as if it had been read; later output arrives."""
    small.shell("i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done", name="it")
    small.written("it", "5")
    pid = small.pid("it")
    filler = _fill(small)
    until(lambda: small.pid("it") == pid and small.cli("ps", "-q").code == 0, "it goes on")
    filler.unlink()
    seen = len(small.logged("it"))
    until(lambda: len(small.logged("it")) > seen + 20, "output arrives again")
    numbers = [int(line) for line in small.logged("it")]
    assert numbers == sorted(set(numbers)), "nothing twice, nothing out of order"
    small.ok("rm", "-f", "it")
