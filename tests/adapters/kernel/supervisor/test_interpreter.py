"""The interpreter of the small processes: nobody can write to it, and it runs where its library lies elsewhere."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from adapters.kernel.supervisor import interpreter

pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def _without_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `protected` finds out it keeps in the environment."""
    monkeypatch.setenv("LD_LIBRARY_PATH", "")


def ends_well(program: int) -> bool:
    """Whether a small process starts from this descriptor, as `spawn` does it."""
    return os.waitpid(interpreter.spawn(program, [interpreter.executable(), "-I", "-S", "-c", ""], []), 0)[1] == 0


def test_the_copy_can_be_opened_but_not_written() -> None:
    """Not by root, not through another descriptor."""
    copy = interpreter.seal(interpreter.executable())
    try:
        again = os.open(f"/proc/self/fd/{copy}", os.O_RDWR)
        attempts = (lambda: os.write(again, b"X"), lambda: os.ftruncate(again, 0), lambda: os.ftruncate(copy, 1 << 30))
        for attempt in attempts:
            with pytest.raises(PermissionError):
                attempt()
        os.close(again)
        assert interpreter.runs(copy)
    finally:
        os.close(copy)


def test_a_container_that_changes_the_mode_of_the_copy_stops_no_start() -> None:
    """Root in a container that re-executes /proc/self/exe owns it as much as we do."""
    copy = interpreter.seal(interpreter.executable())
    try:
        try:
            os.chmod(f"/proc/self/fd/{copy}", 0)
        except PermissionError:
            assert os.fstat(copy).st_mode & 0o111  # the kernel holds the seal
        assert ends_well(copy)
    finally:
        os.close(copy)


def test_where_the_copy_does_not_run_the_file_is_mounted_read_only(monkeypatch: pytest.MonkeyPatch,
                                                                   tmp_path: Path) -> None:
    """A policy against programs in memory must not make the host's interpreter writable."""
    sealed = interpreter.seal
    monkeypatch.setattr(interpreter, "seal", lambda _: sealed(__file__))
    path = tmp_path / "python"  # one that nobody executes, which would keep writers away as well
    shutil.copy(interpreter.executable(), path)
    program = interpreter.protected(str(path))
    try:
        for flags in (os.O_WRONLY, os.O_RDWR):
            with pytest.raises(OSError, match="Read-only file system"):
                os.open(f"/proc/self/fd/{program}", flags)
        with pytest.raises(OSError, match="Read-only file system"):
            os.chmod(f"/proc/self/fd/{program}", 0o777)
        assert ends_well(program)
    finally:
        os.close(program)


def test_a_relocatable_interpreter_runs_from_its_copy(tmp_path: Path) -> None:
    """One that finds its library beside itself, and a copy in memory has nothing beside it."""
    original = Path(interpreter.executable())
    listed = subprocess.run(["ldd", str(original)], capture_output=True, text=True, check=False).stdout
    library = next((Path(word) for word in listed.split() if word.startswith("/") and "libpython" in word), None)
    if library is None:
        pytest.skip("this Python has no library of its own")
    data, here, name = original.read_bytes(), f"{library.parent}\0".encode(), library.name.encode()
    if data.count(here) != 1 or data.count(name) != 1 or len(here) < len("$ORIGIN/../lib\0"):
        pytest.skip("this Python does not name the place of its library")
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib").mkdir()
    other = name.swapcase()  # the system may have one of the usual name
    shutil.copy(library, tmp_path / "lib" / other.decode())
    relocatable = tmp_path / "bin" / original.name
    beside = b"$ORIGIN/../lib".ljust(len(here) - 1, b"/") + b"\0"
    relocatable.write_bytes(data.replace(here, beside).replace(name, other))
    relocatable.chmod(0o755)
    copy = interpreter.protected(str(relocatable))
    try:
        assert "memfd" in os.readlink(f"/proc/self/fd/{copy}")
        assert ends_well(copy)
        assert os.environ["LD_LIBRARY_PATH"] == str(tmp_path / "lib")
    finally:
        os.close(copy)
