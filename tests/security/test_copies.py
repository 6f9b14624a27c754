"""cp, diff and export against containers that want more than their own files: CVE-2018-15664, CVE-2019-14271,
CVE-2021-41089 and their kin."""

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.security import prober
from tests.security.conftest import INSIDE
from tests.tutorial.engine import PROGRAMS, Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

TRIES = 60


def swapping(engine: Engine, python: str, target: Path) -> None:
    """A container that exchanges /data/d and a link to `target` all the time."""
    program = (INSIDE / "swap.py").read_text()
    command = (prober.interpreter(), "-I", "-S", "-c", program, "/data", str(target))
    engine.ok("run", "-d", "--name", "web", python, *command)
    engine.written("web", "swapping")


def lading(engine: Engine, *words: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """A command line with bytes."""
    argv = [str(PROGRAMS / "lading"), *words]
    return subprocess.run(argv, env=engine.environment, input=stdin, capture_output=True, timeout=60, check=False)


def contents(data: bytes) -> dict[str, bytes]:
    """The files of an archive."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for entry in archive:
            file = archive.extractfile(entry) if entry.isreg() else None
            found[entry.name] = file.read() if file else b""
    return found


def test_who_swaps_links_during_a_copy_out_gives_only_his_own_files(
    engine: Engine, python: str, tmp_path: Path
) -> None:
    """The link leads to a directory that exists on the host, too, with another file in it.

    CVE-2019-10152, CVE-2019-18466, CVE-2026-41568, CVE-2026-42306.
    """
    place = tmp_path / "host"
    place.mkdir()
    (place / "secret").write_text("of the host")
    swapping(engine, python, place)
    seen = set()
    for number in range(TRIES):
        path = ("web:/data/d/secret", "web:/data/d/", "web:/data")[number % 3]
        done = lading(engine, "cp", path, "-")
        if done.returncode == 0:
            seen |= {data for name, data in contents(done.stdout).items() if name.endswith("secret")}
    assert b"harmless" in seen
    assert seen <= {b"harmless", b"also harmless"}


def test_who_swaps_links_during_a_copy_in_gets_the_file_himself(
    engine: Engine, python: str, canary: Path, tmp_path: Path
) -> None:
    """Whatever the link leads to on the host stays as it was.

    CVE-2019-10152, CVE-2019-18466, CVE-2026-41568, CVE-2026-42306.
    """
    swapping(engine, python, canary)
    (tmp_path / "tree").mkdir()
    for name in ("hosts", "hostname", "passwd", "new"):
        (tmp_path / "tree" / name).write_text("from outside")
    for number in range(TRIES):
        target = ("web:/data/d", "web:/data/d/", "web:/data/d/passwd")[number % 3]
        source = tmp_path / "tree" / "passwd" if number % 3 == 2 else f"{tmp_path}/tree/."
        lading(engine, "cp", str(source), target)
    assert sorted(path.name for path in canary.iterdir()) == ["hostname", "hosts", "passwd"]


@pytest.mark.parametrize("running", [True, False])
def test_links_lead_to_the_containers_own_files(engine: Engine, canary: Path, tmp_path: Path, running: bool) -> None:
    """Absolute ones, ones with many `..`, and links to links."""
    script = (
        f"mkdir -p {canary} /d; echo mine > {canary}/passwd; ln -s {canary} /d/abs;"
        f"ln -s ../../../../../..{canary} /d/rel; ln -s abs /d/twice; echo done; sleep 600"
    )
    engine.ok("run", "-d", "--name", "web", "busybox", "sh", "-c", script)
    engine.written("web", "done")
    if not running:
        engine.ok("stop", "-t", "0", "web")
    (tmp_path / "f").write_text("from outside")
    for link in ("abs", "rel", "twice"):
        assert contents(lading(engine, "cp", f"web:/d/{link}/passwd", "-").stdout) == {"passwd": b"mine\n"}
        engine.ok("cp", str(tmp_path / "f"), f"web:/d/{link}/")
    engine.ok("cp", f"web:{canary}/f", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "from outside"


@pytest.mark.parametrize(
    "path", ["/proc/1/root/etc/passwd", "/proc/1/cwd/", "/proc/self/root/", "/proc/thread-self/root/etc", "/l/etc/"]
)
def test_the_kernels_magic_links_are_not_followed(engine: Engine, tmp_path: Path, path: str) -> None:
    """They mean whatever the process means that looks at them."""
    engine.shell("ln -s /proc/1/root /l; echo done; sleep 600", name="web")
    engine.written("web", "done")
    (tmp_path / "f").write_text("x")
    assert lading(engine, "cp", f"web:{path}", "-").returncode == 1
    assert lading(engine, "cp", str(tmp_path / "f"), f"web:{path}").returncode == 1


def test_devices_in_a_container_are_neither_opened_nor_made_on_the_host(engine: Engine, tmp_path: Path) -> None:
    """A node for the disk of the host under the name of a file."""
    engine.shell("mkdir /data; mknod /data/disk b 8 0; mknod /data/kmsg c 1 11; mkfifo /data/p; echo done; sleep 600",
                 name="web")
    engine.written("web", "done")
    done = lading(engine, "cp", "web:/data", str(tmp_path / "out"))
    assert done.returncode == 0
    assert b"2 device nodes were left out" in done.stderr
    assert os.listdir(tmp_path / "out") == ["p"]
    with tarfile.open(fileobj=io.BytesIO(lading(engine, "cp", "web:/data", "-").stdout)) as archive:
        assert archive.getmember("data/disk").isblk()


def test_no_program_and_no_library_of_the_image_is_run(engine: Engine, tmp_path: Path) -> None:
    """tar, sh, libnss: each would leave a mark where the copy can see it.

    CVE-2026-41567.
    """
    trap = "#!/bin/sh\necho ran >> /marks\n"
    script = (
        "printf '%s' \"$TRAP\" > /bin/trap; chmod 755 /bin/trap;"
        "for f in tar gzip xz ls; do rm /bin/$f; cp /bin/trap /bin/$f; done;"
        "mkdir -p /lib; cp /bin/trap /lib/libnss_files.so.2; echo done; sleep 600"
    )
    engine.ok("run", "-d", "--name", "web", "-e", f"TRAP={trap}", "busybox", "sh", "-c", script)
    engine.written("web", "done")
    (tmp_path / "f").write_text("x")
    engine.ok("cp", str(tmp_path / "f"), "web:/tmp")
    engine.ok("cp", "web:/bin/.", str(tmp_path / "bin"))
    engine.ok("export", "-o", str(tmp_path / "x.tar"), "web")
    engine.ok("diff", "web")
    assert "/marks" not in engine.ok("diff", "web")


def test_the_process_inside_is_not_seen_from_inside(engine: Engine) -> None:
    """Nor can it be signalled: it lives in the host's pid namespace."""
    engine.shell("while sleep 0.05; do echo /proc/[0-9]*; done", name="web")
    process = subprocess.Popen(
        [str(PROGRAMS / "lading"), "cp", "-", "web:/tmp"], env=engine.environment, stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    with process:
        until(lambda: any("inside" in line for line in engine.processes().others.values()), "it is inside")
        before = len(engine.cli("logs", "web").out.splitlines())
        until(lambda: len(engine.cli("logs", "web").out.splitlines()) > before + 5, "the container has looked around")
        seen = {len(line.split()) for line in engine.cli("logs", "web").out.splitlines()[before:]}
        process.stdin.close()
        assert process.wait(30) == 0
    assert max(seen) <= 3


def test_a_tree_without_a_bottom_ends_a_copy_and_harms_nobody(engine: Engine, tmp_path: Path) -> None:
    """2,000 directories in one another, each with a long name."""
    name = "d" * 200
    engine.shell(f"mkdir /deep; cd /deep; for i in $(seq 200); do mkdir {name}; cd {name}; done; echo done; sleep 600",
                 name="web")
    engine.written("web", "done")
    for words in (("cp", "web:/deep", str(tmp_path / "out")), ("export", "-o", str(tmp_path / "x.tar"), "web"),
                  ("diff", "web")):
        done = lading(engine, *words)
        assert done.returncode == 1, words
        assert b"its name is too long" in done.stderr
    assert not (tmp_path / "x.tar").exists()
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    engine.ok("cp", "web:/etc/passwd", str(tmp_path / "p"))


@pytest.mark.parametrize("entry", ["../../etc/evil", "/../evil", "d/../../evil"])
def test_an_archive_that_leads_out_is_refused(engine: Engine, entry: str) -> None:
    """On the way into a container, too, where it could only mean another place of the container."""
    engine.ok("run", "-d", "--name", "web", "busybox", "sleep", "600")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(entry))
    done = lading(engine, "cp", "-", "web:/tmp", stdin=out.getvalue())
    assert done.returncode == 1
    assert b"it would lead out of the destination" in done.stderr
    assert engine.ok("diff", "web") == ""


def test_the_process_inside_keeps_only_the_rights_that_files_need(engine: Engine) -> None:
    """What a defect in it could be used for is what is left then."""
    engine.ok("run", "-d", "--name", "web", "busybox", "sleep", "600")
    process = subprocess.Popen(
        [str(PROGRAMS / "lading"), "cp", "-", "web:/tmp"], env=engine.environment, stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    with process:
        until(lambda: _rights(engine) == {"CapEff": _FILES, "CapPrm": _FILES, "CapBnd": _FILES}, "it has dropped them")
        process.stdin.close()
        process.wait(30)


_FILES = f"{0b11111 | 1 << 27 | 1 << 31:016x}"


def _rights(engine: Engine) -> dict[str, str]:
    """Of the process that is inside; nothing while there is none."""
    for pid, line in engine.processes().others.items():
        if " inside " in line:
            words = [text.split() for text in Path(f"/proc/{pid}/status").read_text().splitlines()]
            return {word[0][:-1]: word[1] for word in words if word[0] in ("CapEff:", "CapPrm:", "CapBnd:")}
    return {}
