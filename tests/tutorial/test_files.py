"""cp, diff and export, as users see them, on containers in every state."""

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tutorial.engine import PROGRAMS, Engine, until
from tests.tutorial.keyboard import Keyboard

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

SLEEP = ("sleep", "600")


def _running(engine: Engine) -> None:
    engine.ok("run", "-d", "--name", "web", "busybox", *SLEEP)


def _paused(engine: Engine) -> None:
    _running(engine)
    engine.ok("pause", "web")


def _ended(engine: Engine) -> None:
    engine.ok("run", "--name", "web", "busybox", "sh", "-c", "echo kept > /written")


def _created(engine: Engine) -> None:
    engine.ok("create", "--name", "web", "busybox", *SLEEP)


STATES = pytest.mark.parametrize("make", [_running, _paused, _ended, _created])


def raw(engine: Engine, *words: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """A command line whose streams are bytes."""
    argv = [str(PROGRAMS / "lading"), *words]
    return subprocess.run(argv, env=engine.environment, input=stdin, capture_output=True, timeout=60, check=False)


def tar(**files: bytes) -> bytes:
    """A small archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name.replace("__", "/"))
            entry.size, entry.mtime, entry.uid = len(data), 1_000_000, 1234
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@STATES
def test_a_file_and_a_tree_go_in_and_come_out_the_same(
    engine: Engine, tmp_path: Path, make: Callable[[Engine], None]
) -> None:
    """Whether anything runs or not."""
    make(engine)
    source = tmp_path / "site"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "index").write_bytes(os.urandom(300_000))
    (source / "sub" / "run").write_text("#!/bin/sh\n")
    (source / "sub" / "run").chmod(0o751)
    os.link(source / "sub" / "index", source / "same")
    os.symlink("sub/index", source / "link")
    engine.ok("cp", str(source), "web:/srv")
    engine.ok("cp", str(source / "same"), "web:/etc/one")
    engine.ok("cp", "web:/srv", str(tmp_path / "back"))
    engine.ok("cp", "web:/etc/one", str(tmp_path / "one"))
    back = tmp_path / "back"
    assert (tmp_path / "one").read_bytes() == (source / "same").read_bytes()
    assert (back / "sub" / "index").read_bytes() == (source / "sub" / "index").read_bytes()
    assert (back / "sub" / "run").stat().st_mode == (source / "sub" / "run").stat().st_mode
    assert (back / "same").stat().st_ino == (back / "sub" / "index").stat().st_ino
    assert os.readlink(back / "link") == "sub/index"


@STATES
def test_what_was_copied_in_is_there_when_it_runs(
    engine: Engine, tmp_path: Path, make: Callable[[Engine], None]
) -> None:
    """It belongs to root, whoever it was; with -a to whom it belonged."""
    make(engine)
    (tmp_path / "f").write_text("hello")
    os.chown(tmp_path / "f", 1234, 1234)
    engine.ok("cp", str(tmp_path / "f"), "web:/etc/mine")
    engine.ok("cp", "-a", str(tmp_path / "f"), "web:/etc/theirs")
    engine.cli("unpause", "web")
    engine.ok("commit", "web", "made")
    script = "cat /etc/mine; stat -c ' %u:%g' /etc/mine /etc/theirs"
    assert engine.ok("run", "--rm", "made", "sh", "-c", script) == "hello 0:0\n 1234:1234"
    engine.ok("rm", "-f", "web")
    engine.ok("rmi", "made")


@STATES
def test_streams_pass_through(engine: Engine, make: Callable[[Engine], None]) -> None:
    """In as a tar and out as one."""
    make(engine)
    done = raw(engine, "cp", "-", "web:/etc", stdin=tar(new=b"x" * 3_000_000, deep__er=b"y"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    done = raw(engine, "cp", "web:/etc/new", "-")
    assert (done.returncode, done.stderr) == (0, b"")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        (entry,) = archive.getmembers()
        assert (entry.name, entry.size, entry.mtime, entry.uid) == ("new", 3_000_000, 1_000_000, 0)


def test_a_running_container_shows_what_its_process_sees(engine: Engine, tmp_path: Path) -> None:
    """File systems in memory and the engine's own files; a stopped one has none of them."""
    engine.shell("echo inside > /mem/f; echo done; sleep 600", "--tmpfs", "/mem", name="web")
    engine.written("web", "done")
    engine.ok("cp", "web:/mem/f", str(tmp_path / "f"))
    assert (tmp_path / "f").read_text() == "inside\n"
    (tmp_path / "g").write_text("given")
    engine.ok("cp", str(tmp_path / "g"), "web:/mem/")
    inside = Path(f"/proc/{engine.pid('web')}/root")
    assert (inside / "mem/g").read_text() == "given"
    (tmp_path / "hosts").write_text("127.0.0.1 mine\n")
    engine.ok("cp", str(tmp_path / "hosts"), "web:/etc/hosts")  # a file that is mounted is written over
    assert (inside / "etc/hosts").read_text() == "127.0.0.1 mine\n"
    assert b"Linux version" in raw(engine, "cp", "web:/proc/version", "-").stdout
    engine.ok("stop", "-t", "0", "web")
    assert "Could not find the file /mem/f in container web" in engine.refused("cp", "web:/mem/f", str(tmp_path))


def test_a_whole_container_can_be_copied_without_the_kernels_files(engine: Engine, tmp_path: Path) -> None:
    """And without its devices, which are told."""
    _running(engine)
    done = engine.cli("cp", "web:/", str(tmp_path / "all"))
    assert done.code == 0
    assert "device nodes were left out" in done.err
    assert list((tmp_path / "all" / "proc").iterdir()) == []
    assert list((tmp_path / "all" / "sys").iterdir()) == []
    assert (tmp_path / "all" / "bin" / "busybox").exists()


def test_holes_are_not_filled_on_the_way(engine: Engine, tmp_path: Path) -> None:
    """A gibibyte of nothing takes a moment and no disk."""
    _running(engine)
    with (tmp_path / "hole").open("wb") as file:
        file.seek(1 << 30)
        file.write(b"end")
    engine.ok("cp", str(tmp_path / "hole"), "web:/hole")
    engine.ok("cp", "web:/hole", str(tmp_path / "back"))
    back = (tmp_path / "back").stat()
    assert back.st_size == (1 << 30) + 3
    assert back.st_blocks * 512 < 1 << 20
    assert Path(f"/proc/{engine.pid('web')}/root/hole").stat().st_blocks * 512 < 1 << 20


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("web:/nope", "."), "Could not find the file /nope in container web"),
        (("web:/etc/passwd/x", "."), "Could not find the file /etc/passwd/x in container web"),
        (("{dir}", "web:/etc/passwd"), "cannot copy directory"),
        (("{file}", "web:/no/where"), "Could not find the file /no in container"),
        (("{file}", "web:/no/"), "no such directory"),
        (("{dir}/nope", "web:/"), "no such file or directory"),
        (("{file}", "web:/etc"), 'cannot overwrite directory "f" with a non-directory'),
        (("{dir}", "web:/tree"), 'cannot overwrite non-directory "d" with a directory'),
    ],
)
def test_refusals(engine: Engine, tmp_path: Path, words: tuple[str, str], text: str) -> None:
    """Each in one line, with status 1."""
    (tmp_path / "f").write_text("x")
    (tmp_path / "d").mkdir()
    engine.ok("run", "--name", "web", "busybox", "sh", "-c", "mkdir -p /etc/f /tree; touch /tree/d")
    filled = [word.format(dir=tmp_path / "d", file=tmp_path / "f") for word in words]
    assert text in engine.refused("cp", *filled)


@pytest.mark.parametrize("running", [True, False])
def test_a_read_only_container_takes_nothing(engine: Engine, tmp_path: Path, running: bool) -> None:
    """But file systems in memory do."""
    (tmp_path / "f").write_text("x")
    options = ("--read-only", "--tmpfs", "/mem", "--name", "web", "busybox", *SLEEP)
    engine.ok(*(("run", "-d") if running else ("create",)), *options)
    assert "container rootfs is marked read-only" in engine.refused("cp", str(tmp_path / "f"), "web:/etc")
    if running:
        engine.ok("cp", str(tmp_path / "f"), "web:/mem")
    engine.ok("cp", "web:/etc/passwd", str(tmp_path / "p"))


def test_the_summary_is_for_people(engine: Engine, tmp_path: Path) -> None:
    """On a terminal; elsewhere silence."""
    _running(engine)
    (tmp_path / "f").write_text("x")
    argv = [str(PROGRAMS / "lading"), "cp", str(tmp_path / "f"), "web:/tmp"]
    screen = Keyboard(argv, engine.environment)
    assert screen.process.wait(30) == 0
    until(lambda: _shown(screen).endswith(b"Successfully copied 2.05kB to web:/tmp\r\n"), "the summary")
    screen.close()


def _shown(screen: Keyboard) -> bytes:
    os.set_blocking(screen.master, False)
    try:
        screen.shown += os.read(screen.master, 4096)
    except BlockingIOError:
        pass
    return screen.shown


def test_copies_are_in_the_history_and_in_the_events(engine: Engine, tmp_path: Path) -> None:
    """Who took what, and how much of it."""
    _running(engine)
    (tmp_path / "f").write_text("x")
    engine.ok("cp", str(tmp_path / "f"), "web:/tmp")
    engine.ok("cp", "web:/etc/passwd", str(tmp_path / "p"))
    engine.ok("export", "-o", str(tmp_path / "x.tar"), "web")
    assert engine.steps("web")[-3:] == ["copied-in", "copied-out", "exported"]
    assert "path=/tmp bytes=2048" in engine.ok("audit", "web")
    told = engine.ok("events", "--since", "1h", "--until", "0s", "--format", "{{.Action}}").splitlines()
    assert told[-3:] == ["extract-to-dir", "archive-path", "export"]


def test_a_copy_that_is_interrupted_leaves_nobody_behind(engine: Engine, tmp_path: Path) -> None:
    """And says in the history that it was broken off."""
    _running(engine)
    process = subprocess.Popen(
        [str(PROGRAMS / "lading"), "cp", "-", "web:/tmp"], env=engine.environment, stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    process.stdin.write(tar(big=b"x" * 2_000_000)[:1_000_000])
    process.stdin.flush()
    begun = Path(f"/proc/{engine.pid('web')}/root/tmp/big")
    until(begun.exists, "it has begun")
    process.kill()
    process.stdin.close()
    process.wait(30)
    until(lambda: engine.steps("web")[-1] == "copied-in", "it is written down")
    assert "broken=True" in engine.ok("audit", "web")
    until(lambda: not engine.processes().others, "its process is gone")


def test_a_copy_ends_with_the_daemon(fresh: Engine) -> None:
    """Nobody goes on inside, and the client says so."""
    _running(fresh)
    with subprocess.Popen(
        [str(PROGRAMS / "lading"), "cp", "-", "web:/tmp"], env=fresh.environment, stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as copying:
        assert copying.stderr is not None
        until(lambda: any(" inside " in line for line in fresh.processes().others.values()), "it is inside")
        fresh.crash()
        assert b"the daemon went away before the command was finished" in copying.stderr.read()
        assert copying.wait(30) == 1
    until(lambda: not any(" inside " in line for line in fresh.processes().others.values()), "nobody is inside")
    fresh.start()
    assert fresh.state("web") == "running"


def test_a_run_that_is_over_is_not_written_to_when_the_next_one_begins(engine: Engine) -> None:
    """A copy that began before holds the mounts of the run before: two overlays over one directory."""
    _running(engine)
    process = subprocess.Popen(
        [str(PROGRAMS / "lading"), "cp", "-", "web:/etc"], env=engine.environment, stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    with process:
        process.stdin.write(tar(big=b"x" * 2_000_000)[:1_000_000])
        process.stdin.flush()
        begun = Path(f"/proc/{engine.pid('web')}/root/etc/big")
        until(begun.exists, "it has begun")
        engine.ok("restart", "-t", "0", "web")
        assert b"the container was started while files were copied into it" in process.stderr.read()
        assert process.wait(30) == 1


def test_a_start_does_not_wait_for_a_copy(engine: Engine) -> None:
    """It ends it, and the one who copies is told."""
    _created(engine)
    process = subprocess.Popen(
        [str(PROGRAMS / "lading"), "cp", "-", "web:/etc"], env=engine.environment, stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(tar(big=b"x" * 2_000_000)[:1_000_000])
    process.stdin.flush()
    upper = engine.data / "containers" / engine.ok("ps", "-aq", "--no-trunc") / "upper"
    until(lambda: (upper / "etc" / "big").exists(), "it has begun")
    engine.ok("start", "web")
    assert process.stderr is not None
    with process, process.stdin, process.stderr:
        assert b"the container was started while files were copied into it" in process.stderr.read()
        assert process.wait(30) == 1
    assert engine.state("web") == "running"


def test_two_copies_into_a_stopped_container_come_one_after_the_other(engine: Engine, tmp_path: Path) -> None:
    """Two overlays over one directory would spoil it."""
    _created(engine)
    for number in range(6):
        (tmp_path / f"f{number}").write_text(str(number))
    running = [engine.begin("cp", str(tmp_path / f"f{number}"), "web:/etc") for number in range(6)]
    assert [process.wait(30) for process in running] == [0] * 6
    listed = raw(engine, "cp", "web:/etc/.", "-").stdout
    with tarfile.open(fileobj=io.BytesIO(listed)) as archive:
        assert {f"f{number}" for number in range(6)} <= set(archive.getnames())


CHANGES = (
    "rm /etc/passwd; echo x >> /etc/group; echo new > /new; mkdir -p /opt/a/b; touch /opt/a/b/c; chmod 711 /root;"
    "rm -r /bin; mkdir /bin; touch /bin/mine; ln -s x /tmp/link; touch /tmp/t; rm /tmp/t; echo done"
)


@pytest.mark.parametrize("running", [True, False])
def test_diff_tells_what_was_added_changed_and_deleted(engine: Engine, running: bool) -> None:
    """Parents before what is in them, by name; the engine's own mount points are no changes."""
    engine.ok("run", "-d", "--name", "web", "busybox", "sh", "-c", f"{CHANGES}; sleep 600")
    engine.written("web", "done")
    if not running:
        engine.ok("stop", "-t", "0", "web")
    lines = engine.ok("diff", "web").splitlines()
    gone = [line for line in lines if line.startswith("D /bin/")]
    assert "D /bin/busybox" in gone
    assert [line for line in lines if line not in gone] == [
        "C /bin", "A /bin/mine", "C /etc", "C /etc/group", "D /etc/passwd", "A /new", "A /opt", "A /opt/a",
        "A /opt/a/b", "A /opt/a/b/c", "C /root", "C /tmp", "A /tmp/link",
    ]  # fmt: skip


def test_a_container_that_changed_nothing_differs_in_nothing(engine: Engine) -> None:
    """Neither before its first start nor after it."""
    _created(engine)
    assert engine.ok("diff", "web") == ""
    engine.ok("start", "web")
    assert engine.ok("diff", "web") == ""


@STATES
def test_an_export_makes_the_same_files_again(
    engine: Engine, tmp_path: Path, make: Callable[[Engine], None]
) -> None:
    """Through `import`, byte for byte; without what is mounted."""
    make(engine)
    engine.ok("cp", str(Path(__file__)), "web:/etc/mine")
    engine.ok("export", "-o", str(tmp_path / "web.tar"), "web")
    assert (tmp_path / "web.tar").stat().st_mode & 0o777 == 0o600
    assert raw(engine, "export", "web").stdout == (tmp_path / "web.tar").read_bytes()
    with tarfile.open(tmp_path / "web.tar") as archive:
        found = archive.getnames()
    assert {"bin/busybox", ".dockerenv"} <= set(found)
    assert not [name for name in found if name.startswith(("proc/", "sys/", "dev/"))]
    engine.ok("import", str(tmp_path / "web.tar"), "again")
    names = "find /bin /etc /root ! -name hosts ! -name hostname ! -name resolv.conf"
    script = f"{names} | sort | xargs stat -c '%n %A %u:%g %Y'; {names} -type f | sort | xargs md5sum"
    engine.cli("unpause", "web")
    engine.ok("commit", "web", "whole")
    one, other = (engine.ok("run", "--rm", image, "sh", "-c", script) for image in ("again", "whole"))
    assert one == other
    engine.ok("rm", "-f", "web")
    engine.ok("rmi", "again", "whole")


def test_an_export_on_a_terminal_is_refused(engine: Engine) -> None:
    """Nobody reads it there."""
    _created(engine)
    screen = Keyboard([str(PROGRAMS / "lading"), "export", "web"], engine.environment)
    assert screen.process.wait(30) == 1
    until(lambda: b"cowardly refusing to save to a terminal" in _shown(screen), "it says why")
    screen.close()
