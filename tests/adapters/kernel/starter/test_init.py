"""The little first process of --init: the bytes are those of the assembly, and it reaps, forwards and reports."""

import os
import platform
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from adapters.kernel import cgroups, init_program
from domain.errors import Unavailable
from tests.adapters.kernel.starter.harness import Starter

SOURCES = Path(init_program.__file__).parent
ASSEMBLERS = {
    "x86_64": ("as", "objcopy")
    if platform.machine() == "x86_64"
    else ("x86_64-linux-gnu-as", "x86_64-linux-gnu-objcopy"),
    "aarch64": ("as", "objcopy")
    if platform.machine() == "aarch64"
    else ("aarch64-linux-gnu-as", "aarch64-linux-gnu-objcopy"),
}


@pytest.fixture(scope="module")
def program(base: Path) -> str:
    """The installed program."""
    path = str(base / "init")
    init_program.install(path, platform.machine())
    return path


@pytest.mark.parametrize("machine", sorted(init_program.CODE))
def test_the_bytes_are_the_assembled_source(machine: str, tmp_path: Path) -> None:
    """What people can read is what runs."""
    assembler, objcopy = ASSEMBLERS[machine]
    if not (shutil.which(assembler) and shutil.which(objcopy)):
        pytest.skip(f"no assembler for {machine}")
    subprocess.run([assembler, SOURCES / f"init_{machine}.s", "-o", tmp_path / "o"], check=True)
    subprocess.run([objcopy, "-O", "binary", "-j", ".text", tmp_path / "o", tmp_path / "bin"], check=True)
    assert (tmp_path / "bin").read_bytes() == init_program.CODE[machine]


def test_installing_twice_leaves_the_file_alone(tmp_path: Path) -> None:
    """Running containers have it mounted."""
    path = tmp_path / "init"
    init_program.install(str(path), "x86_64")
    before = path.stat()
    init_program.install(str(path), "x86_64")
    assert path.stat().st_ino == before.st_ino
    assert before.st_mode & 0o7777 == 0o555
    path.chmod(0o700)
    path.write_bytes(b"damaged")
    init_program.install(str(path), "x86_64")
    assert path.read_bytes() == init_program.program("x86_64")


def test_a_machine_without_code_is_named() -> None:
    """Rather than a file that cannot run."""
    with pytest.raises(Unavailable, match="riscv64"):
        init_program.program("riscv64")


@pytest.mark.kernel
def test_the_command_is_its_child_and_its_status_is_passed_on(box: Starter, layer: Path, program: str) -> None:
    """Pid 1 is the program, the command another."""
    result = box.shell(layer, "echo $$; cat /proc/1/cmdline; exit 7", init=True, init_program=program)
    assert result.code == 7
    assert result.lines[0] != "1"
    assert result.lines[1].split("\0")[:5] == ["/sbin/lading-init", "/bin/sh", "--", "/bin/sh", "-c"]
    assert box.shell(layer, "kill -9 $$", init=True, init_program=program).code == 137


@pytest.mark.kernel
def test_signals_reach_the_command(box: Starter, layer: Path, program: str) -> None:
    """Without a handler of pid 1 the kernel would drop them: a stop would take its whole grace period."""

    def stop(pid: int, group: cgroups.Group) -> None:
        deadline = time.monotonic() + 5
        while len(group.pids()) < 2 and time.monotonic() < deadline:
            os.sched_yield()
        os.kill(pid, signal.SIGTERM)

    began = time.monotonic()
    assert box.run(layer, "sleep", "60", init=True, init_program=program, during=stop).code == 143
    assert time.monotonic() - began < 5


@pytest.mark.kernel
def test_orphans_are_reaped(box: Starter, layer: Path, program: str) -> None:
    """A zombie would stay for as long as the container lives."""
    script = (
        "(sleep 0.05 & ) ; (sleep 0.05 &) ; sleep 0.3; "
        "for s in /proc/[0-9]*/status; do grep -l 'State:.Z' $s; done 2>/dev/null; echo end"
    )
    assert box.shell(layer, script, init=True, init_program=program).lines == ["end"]


@pytest.mark.kernel
def test_the_program_can_be_executed_and_not_changed(box: Starter, layer: Path, program: str) -> None:
    """It is the host's file, shared by all containers."""
    script = (
        "(echo x > /sbin/lading-init) 2>/dev/null || echo refused; (echo x > /proc/1/exe) 2>/dev/null || echo refused"
    )
    assert box.shell(layer, script, init=True, init_program=program).lines == ["refused", "refused"]
    assert Path(program).read_bytes() == init_program.program(platform.machine())


@pytest.mark.kernel
@pytest.mark.parametrize(("content", "code"), [(b"#!/no/such/shell\n", 127), (b"\0garbage", 126)])
def test_what_only_execve_finds_out_is_the_exit_status(
    box: Starter, root: Path, program: str, content: bytes, code: int
) -> None:
    """The program cannot print, but it can say which of both."""
    (root / "bin/strange").write_bytes(content)
    (root / "bin/strange").chmod(0o755)
    assert box.run(root, "strange", init=True, init_program=program).code == code
