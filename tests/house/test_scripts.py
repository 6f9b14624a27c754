"""What `make` calls: the shell scripts can be read, and the base image is what it says."""

import importlib.util
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.house.tree import ROOT

SCRIPTS = sorted(path for path in (ROOT / ".ci").iterdir() if path.is_file() and path.read_bytes().startswith(b"#!"))


@pytest.fixture(scope="module")
def base_image() -> ModuleType:
    """The program that writes the base image, as a module."""
    spec = importlib.util.spec_from_file_location("base_image", ROOT / ".ci" / "base_image.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_can_be_read_by_bash(script: Path) -> None:
    """Half of them run only on a bare machine, where nobody looks until it fails."""
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_stops_at_the_first_failure(script: Path) -> None:
    """A script that goes on after an error says "done" when nothing is."""
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")
    assert script.stat().st_mode & 0o111


def test_a_dynamically_linked_busybox_is_refused(base_image: ModuleType) -> None:
    """Its image would answer every command with "not found"."""
    assert not base_image.statically_linked(Path(sys.executable).resolve())


@pytest.mark.slow
def test_the_base_image_is_a_root_file_system(base_image: ModuleType, tmp_path: Path) -> None:
    """A shell, users, and a place for temporary files: what the first command of a newcomer needs."""
    busybox = shutil.which("busybox")
    if busybox is None or not base_image.statically_linked(Path(busybox)):
        pytest.skip("needs a static busybox")
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    base_image.write(Path(busybox), first)
    base_image.write(Path(busybox), second)
    with tarfile.open(first) as archive:
        members = {member.name: member for member in archive}
    assert members["bin/sh"].linkname == "busybox"
    assert members["tmp"].mode == 0o1777
    assert "etc/passwd" in members
    assert first.read_bytes() == second.read_bytes()


def test_the_lock_files_hold_hashes_and_no_hosts() -> None:
    """Whoever installs gets the very files that were tested, from whatever index he uses."""
    for lock in (ROOT / ".ci" / "locks").iterdir():
        text = lock.read_text(encoding="utf-8")
        requirements = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert requirements
        assert all("==" in line and line.endswith("\\") for line in requirements)
        assert "://" not in text


def test_the_test_environment_holds_all_of_the_run_time_environment() -> None:
    """Tests with other versions than users get would prove nothing."""
    locks = ROOT / ".ci" / "locks"
    runtime, dev = ((locks / name).read_text(encoding="utf-8").splitlines() for name in ("runtime.txt", "dev.txt"))
    assert set(runtime) <= set(dev)
