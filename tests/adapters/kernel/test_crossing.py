"""The last birth: the bytes are those of the assembly, nothing of the interpreter is left in the child, and what comes
of it is told."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.kernel import init_program
from adapters.kernel.child import crossing
from tests.tutorial.engine import ROOT

SOURCES = Path(crossing.__file__).parent
CALLS = {"x86_64": {"write": 1, "getpid": 39, "close": 3}, "aarch64": {"write": 64, "getpid": 172, "close": 57}}
PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
from adapters.kernel.child import crossing
from adapters.kernel.child.context import Context
from domain.errors import CommandFailed
context = Context(report=crossing.attach(int(sys.argv[2])), top=crossing.highest())
try:
    crossing._cross(context, sys.argv[3:], ["PATH=/nowhere:/bin:/usr/bin", "A=b"], "", False)
except CommandFailed as error:
    os.write(2, error.message.encode())
    os._exit(error.exit_code)
"""


def assembled(machine: str, place: Path) -> bytes:
    """What an assembler makes of the source; skips without one."""
    prefix = "" if platform.machine() == machine else f"{machine.replace('_', '-')}-linux-gnu-"
    if not (shutil.which(f"{prefix}as") and shutil.which(f"{prefix}objcopy")):
        pytest.skip(f"no assembler for {machine}")
    subprocess.run([f"{prefix}as", SOURCES / f"crossing_{machine}.s", "-o", place / "o"], check=True)
    subprocess.run([f"{prefix}objcopy", "-O", "binary", "-j", ".text", place / "o", place / "bin"], check=True)
    return (place / "bin").read_bytes()


@pytest.mark.parametrize("machine", sorted(crossing.CODE))
def test_the_bytes_are_the_assembled_source(machine: str, tmp_path: Path) -> None:
    """What people can read is what runs."""
    assert assembled(machine, tmp_path) == crossing.CODE[machine]


@pytest.fixture
def report() -> Iterator[int]:
    """For one crossing."""
    fd = crossing.new_report()
    yield fd
    os.close(fd)


def cross(report: int, *argv: str) -> "subprocess.CompletedProcess[str]":
    """Let an interpreter of its own cross, and wait for it and what it has born (which becomes a child of ours)."""
    return subprocess.run([sys.executable, "-I", "-S", "-c", PROGRAM, str(ROOT), str(report), *argv],
                          capture_output=True, text=True, pass_fds=(report,), env=crossing.SETTINGS, timeout=60,
                          check=False)


def reap(pid: int) -> int:
    """The exit code of what was born."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_the_child_becomes_the_program_and_its_number_is_told(report: int) -> None:
    """With its arguments and environment, in a session of its own, as a child of the parent."""
    done = cross(report, "sh", "-c", 'echo "$1 $A $PPID"; cat /proc/$$/stat; exit 4', "sh", "x y")
    born = crossing.outcome(report)
    assert (done.returncode, born.failure, reap(born.pid)) == (0, None, 4)
    first, session = done.stdout.splitlines()
    assert first == f"x y b {os.getpid()}"
    assert session.rpartition(")")[2].split()[2:4] == [str(born.pid)] * 2


def test_three_streams_and_the_program_are_all_that_is_left(report: int) -> None:
    """No descriptor of the one who crossed."""
    done = cross(report, "ls", "-l", "/proc/self/fd")
    assert reap(crossing.outcome(report).pid) == 0
    numbers = {line.split()[8] for line in done.stdout.splitlines() if "->" in line}
    assert numbers == {"0", "1", "2", "3"}, "the fourth is the listing itself"
    assert str(report) not in numbers - {"3"}


@pytest.mark.parametrize(("argv", "code", "text"), [
    (("nonesuch",), 127, "not found in $PATH"), (("/nonesuch",), 127, "stat /nonesuch: no such file"),
    (("/bin",), 126, "is a directory"), (("{plain}",), 126, "permission denied"),
    (("{bad}",), 126, "exec format error"), (("{lost}",), 127, "no such file or directory"),
])
def test_what_cannot_be_executed_is_told_by_either(report: int, tmp_path: Path, argv: tuple[str, ...], code: int,
                                                   text: str) -> None:
    """By the one who would cross, if it can know; else by the child, which then was born and has ended."""
    for name, content in (("bad", "\0\0"), ("lost", "#!/nonesuch\n")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "plain").touch(0o644)
    done = cross(report, *(word.format(**{path.name: path for path in tmp_path.iterdir()}) for word in argv))
    born = crossing.outcome(report)
    if born.pid:
        assert reap(born.pid) == 125
        assert born.failure is not None
        assert (born.failure[3], text in born.failure[2]) == (code, True), born
    else:
        assert (done.returncode, text in done.stderr) == (code, True), done


@pytest.mark.parametrize("letter", ["a", "é", "\\"])
def test_a_long_name_is_told_as_far_as_there_is_room(report: int, tmp_path: Path, letter: str) -> None:
    """It must not run over into the other page."""
    folder = tmp_path
    while len(os.fsencode(str(folder))) < 3600:
        folder /= letter * 100
    folder.mkdir(parents=True)
    (folder / "program").write_text("#!/nonesuch\n")
    (folder / "program").chmod(0o755)
    cross(report, str(folder / "program"))
    born = crossing.outcome(report)
    assert reap(born.pid) == 125
    assert born.failure is not None
    assert born.failure[3] == 127
    assert born.failure[2].startswith(f'exec: "{tmp_path}')


def test_who_has_not_come_so_far_has_nobody_born(report: int) -> None:
    """An empty report."""
    assert crossing.outcome(report) == (0, ("set-up", 10, "the process was killed before it could execute", 125))


def test_what_the_child_writes_into_its_page_changes_words_at_most(report: int) -> None:
    """Whoever rules it may write there what he likes."""
    cross(report, "sh", "-c", "exit 0")
    good = crossing.outcome(report)
    assert reap(good.pid) == 0
    for filler in (b"\xff", b"\x80", b"\x7f", os.urandom(1)):
        os.pwrite(report, filler * 4096, os.sysconf("SC_PAGE_SIZE"))
        bad = crossing.outcome(report)
        assert bad.pid == good.pid
        assert bad.failure is None or bad.failure[3] in (125, 126, 127)


@pytest.mark.parametrize("machine", sorted(crossing.CODE))
def test_the_code_goes_through_its_list(machine: str, tmp_path: Path) -> None:
    """On either machine: a result that is no error goes on, one that must be none ends it."""
    emulator = "" if platform.machine() == machine else shutil.which(f"qemu-{machine}-static")
    if emulator is None:
        pytest.skip(f"nothing runs {machine} here")
    done = subprocess.run([*([emulator] if emulator else []), _listed(machine, tmp_path)], capture_output=True,
                          timeout=60, check=False)
    assert (done.returncode, done.stdout) == (125, b"first\nthird\n")


def _listed(machine: str, place: Path) -> Path:
    """An executable that gives the code a list: write, jump (a close succeeds), a write that is left out, a failure
    that does not matter, write, a failure that ends it, a write that never comes."""
    code, calls, at = crossing.CODE[machine], CALLS[machine], 0x400000
    start = {"x86_64": b"\x48\xbf" + (at + 0x400).to_bytes(8, "little"),
             "aarch64": b"\x00\x80\x80\xd2\x00\x08\xa0\xf2"}[machine]  # the list's address into the first argument
    words = at + 0x800
    texts = b"first\nsecondthird\n"

    def call(name: str, *arguments: int, then: int = 0) -> bytes:
        values = (calls[name], *arguments, *(0,) * (5 - len(arguments)), then, 0)
        return b"".join((value % 2**64).to_bytes(8, "little") for value in values)

    records = [
        call("write", 1, words, 6), call("close", 0, then=at + 0x400 + 3 * 64), call("write", 1, words + 6, 6),
        call("close", 99), call("write", 1, words + 12, 6), call("close", 99, then=1), call("write", 1, words + 6, 6),
    ]
    header = init_program.program(machine)[:init_program._HEADERS]
    size = 0x1000
    load = header[64:68] + (7).to_bytes(4, "little") + header[72:96] + size.to_bytes(8, "little") * 2 + header[112:120]
    image = bytearray(header[:64] + load + header[120:176] + start + code)
    image += bytes(0x400 - len(image)) + b"".join(records)
    image += bytes(0x800 - len(image)) + texts
    image += bytes(size - len(image))
    path = place / "listed"
    path.write_bytes(bytes(image))
    path.chmod(0o755)
    return path
