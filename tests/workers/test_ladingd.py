"""The program ladingd, as far as it comes without becoming a daemon."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.daemon import claim, main
from workers.settings import read_settings


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """The daemon sets its own."""
    before = os.umask(0o22)
    yield
    os.umask(before)


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), (["--foo"], 125), (["start"], 125)])
def test_it_takes_no_arguments(arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    """And says where its settings are."""
    assert main(arguments) == status
    assert capsys.readouterr().err.startswith("usage: ladingd ")


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs root")
def test_a_data_root_that_cannot_be_made_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The path and the reason, nothing else."""
    monkeypatch.setenv("LADING_DATA_ROOT", "/proc/nowhere")
    monkeypatch.setenv("LADING_RUN_DIR", "/proc/nowhere/run")
    assert main([]) == 1
    assert capsys.readouterr().err == "ladingd: /proc/nowhere: No such file or directory\n"


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs root")
@pytest.mark.parametrize(("data", "run", "status", "says"), [
    ("a", "r", 75, "the data root {place}/a is in use by a daemon (pid {pid})"),
    ("a", "s", 1, "the data root {place}/a is in use by a daemon (pid {pid}, with the run directory {place}/r)"),
    ("b", "r", 1, "the run directory {place}/r is in use by a daemon (pid {pid}, with the data root {place}/a)"),
])
def test_a_second_daemon_is_refused_before_it_has_made_or_ended_anything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    data: str, run: str, status: int, says: str,
) -> None:
    """In one run directory it would end the helpers of the first. Only who wants to be exactly the first may wait."""
    monkeypatch.setenv("LADING_CONFIG", "/dev/null")
    monkeypatch.setenv("LADING_DATA_ROOT", str(tmp_path / "a"))
    monkeypatch.setenv("LADING_RUN_DIR", str(tmp_path / "r"))
    first = claim(read_settings())
    monkeypatch.setenv("LADING_DATA_ROOT", str(tmp_path / data))
    monkeypatch.setenv("LADING_RUN_DIR", str(tmp_path / run))
    assert main([]) == status
    assert f"ladingd: {says.format(place=tmp_path, pid=os.getpid())} (stop it" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"a", "r"}
    for lock in first:
        lock.release()
    again = claim(read_settings())
    for lock in again:
        lock.release()


def test_a_daemon_that_is_ready_collects_its_garbage_but_looks_at_nothing_that_was_there_before() -> None:
    """In a process of its own, for it concerns all that is in one."""
    told = (
        "import gc, weakref\n"
        "class Knot: pass\n"
        "gc.disable()\n"
        "from workers.service import keep_what_is_there\n"
        "keep_what_is_there()\n"
        "knot = Knot(); knot.self = knot; seen = weakref.ref(knot); del knot\n"
        "heap = [[] for _ in range(100_000)]\n"
        "print(seen() is None, len(gc.get_objects()) - len(heap) < 1000 < gc.get_freeze_count())\n"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"
