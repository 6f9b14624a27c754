"""Directories and files of the host in containers: seen, written, read-only, and never more than was asked for."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tutorial.engine import Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


@pytest.fixture
def srv(tmp_path: Path) -> Path:
    """A directory of the host that everybody may enter."""
    for path in (*reversed([p for p in tmp_path.parents if str(p).startswith("/tmp/")]), tmp_path):
        path.chmod(0o755)
    (tmp_path / "hello").write_text("from the host\n")
    return tmp_path


def test_a_directory_of_the_host_is_seen_and_written(engine: Engine, srv: Path) -> None:
    """In both directions, by both spellings, also by an exec."""
    assert engine.ok("run", "--rm", "-v", f"{srv}:/srv", "busybox", "cat", "/srv/hello") == "from the host"
    engine.ok("run", "--rm", "--mount", f"type=bind,src={srv},dst=/deep/in/it", "busybox", "sh", "-c",
              "echo from inside > /deep/in/it/back")
    assert (srv / "back").read_text() == "from inside\n"
    engine.ok("run", "-d", "--name", "it", "-v", f"{srv}:/srv", "busybox", "sleep", "600")
    assert engine.ok("exec", "it", "cat", "/srv/back") == "from inside"


def test_read_only_is_read_only_all_the_way_down(engine: Engine, srv: Path) -> None:
    """What is mounted below the source, too; the host itself goes on to write."""
    below = srv / "below"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(below)], check=True)
    try:
        done = engine.cli("run", "--rm", "-v", f"{srv}:/srv:ro", "busybox", "sh", "-c",
                          "echo x > /srv/x; echo x > /srv/below/x; ls /srv")
        assert done.err.count("Read-only file system") == 2
        assert done.out == "below\nhello\n"
        flat = f"type=bind,src={srv},dst=/srv,bind-nonrecursive"
        look = "mountpoint -q /srv/below || echo no"
        assert engine.ok("run", "--rm", "--mount", flat, "busybox", "sh", "-c", look) == "no"
    finally:
        subprocess.run(["umount", str(below)], check=True)
    (srv / "x").write_text("the host may")


def test_a_single_file_can_be_mounted_also_over_one_of_the_engine(engine: Engine, srv: Path) -> None:
    """Missing places are made; who brings a hosts file of his own has his own."""
    assert engine.ok("run", "--rm", "-v", f"{srv}/hello:/etc/greeting:ro", "busybox", "cat", "/etc/greeting") == (
        "from the host")
    assert engine.ok("run", "--rm", "-v", f"{srv}/hello:/etc/hosts", "busybox", "cat", "/etc/hosts") == "from the host"


def test_a_missing_source_is_made_for_v_and_refused_for_mount(engine: Engine, srv: Path) -> None:
    """As the industry's CLI has it; a refusal leaves nothing."""
    engine.ok("run", "--rm", "-v", f"{srv}/a/b:/data", "busybox", "true")
    assert (srv / "a/b").is_dir()
    assert (srv / "a").stat().st_mode & 0o777 == 0o755
    done = engine.cli("run", "--mount", f"type=bind,src={srv}/c,dst=/data", "busybox", "true")
    assert done.code == 125
    assert f"bind source path does not exist: {srv}/c" in done.err
    assert engine.ok("ps", "-aq") == ""
    assert not (srv / "c").exists()


@pytest.fixture
def traps(engine: Engine, srv: Path) -> Iterator[Path]:
    """An image in which places are links: to the host's root, to the kernel's files, in a circle."""
    engine.ok("run", "--name", "make", "busybox", "sh", "-c",
              "ln -s / /out; ln -s /proc /kernel; ln -s /loop /loop; ln -s ../../../../etc /up; mkdir /real; "
              "ln -s /real /link")
    engine.ok("commit", "make", "traps")
    yield srv
    engine.ok("rm", "-f", "make")
    engine.ok("rmi", "-f", "traps")


def test_links_of_an_image_lead_mounts_nowhere_but_inside(engine: Engine, traps: Path) -> None:
    """The host is out of sight when they are followed (CVE-2019-16884, CVE-2021-30465 and their family)."""
    mark = traps.name
    for target, real in (("/link", "/real"), (f"/out/{mark}", f"/{mark}"), (f"/up/{mark}", f"/etc/{mark}")):
        seen = engine.ok("run", "--rm", "-v", f"{traps}:{target}", "traps", "cat", f"{real}/hello")
        assert seen == "from the host"
    assert not Path(f"/{mark}").exists()
    assert not Path(f"/etc/{mark}").exists()
    for target in ("/kernel/sys", "/kernel/1", "/loop"):
        done = engine.cli("run", "--rm", "-v", f"{traps}:{target}", "traps", "true")
        assert (target, done.code) == (target, 125)


def test_mounts_of_the_host_appear_later_only_for_a_slave(engine: Engine, srv: Path) -> None:
    """And nothing that is mounted for a container is left on the host."""
    late = srv / "late"
    late.mkdir()
    subprocess.run(["mount", "--bind", str(srv), str(srv)], check=True)
    subprocess.run(["mount", "--make-shared", str(srv)], check=True)
    engine.ok("run", "-d", "--name", "slave", "-v", f"{srv}:/srv:rslave", "busybox", "sleep", "600")
    engine.ok("run", "-d", "--name", "private", "-v", f"{srv}:/srv", "busybox", "sleep", "600")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(late)], check=True)
    try:
        (late / "x").touch()
        until(lambda: engine.cli("exec", "slave", "ls", "/srv/late").out == "x\n", "the slave hears of it")
        assert engine.ok("exec", "private", "ls", "/srv/late") == ""
    finally:
        subprocess.run(["umount", str(late)], check=True)
        subprocess.run(["umount", str(srv)], check=True)


def test_memory_can_be_mounted_by_the_long_form(engine: Engine) -> None:
    """With its size and its mode."""
    memory = "type=tmpfs,dst=/cache,tmpfs-size=1m,tmpfs-mode=700"
    out = engine.ok("run", "--rm", "--mount", memory, "busybox", "sh", "-c",
                    "grep /cache /proc/mounts; stat -c %a /cache")
    assert "size=1024k" in out
    assert out.endswith("\n700")


def test_mounts_are_shown_and_found(engine: Engine, srv: Path) -> None:
    """In the document that tools read, in lists, by filters."""
    also = f"type=bind,src={srv},dst=/too"
    engine.ok("create", "--name", "it", "-v", f"{srv}:/srv:ro", "--mount", also, "busybox", "sh")
    document = json.loads(engine.ok("inspect", "it"))[0]
    assert document["HostConfig"]["Binds"] == [f"{srv}:/srv:ro"]
    assert document["HostConfig"]["Mounts"] == [{"Type": "bind", "Target": "/too", "Source": str(srv)}]
    assert document["Mounts"][0] == {"Type": "bind", "Source": str(srv), "Destination": "/srv", "Mode": "ro",
                                     "RW": False, "Propagation": "rprivate"}
    assert engine.ok("ps", "-a", "--filter", f"volume={srv}", "--format", "{{.Names}}") == "it"
    assert engine.ok("ps", "-a", "--filter", "volume=/srv", "--format", "{{.Names}}") == "it"
    assert engine.ok("ps", "-a", "--filter", "volume=/nothing", "-q") == ""


def test_copies_see_mounts_whether_the_container_runs_or_not(engine: Engine, srv: Path) -> None:
    """Also by a link of the container's, and from above: what is written lands on the host and not below the mount."""
    script = "ln -s /srv /alias; echo made; sleep 600"
    mounts = ("-v", f"{srv}:/srv", "-v", f"{srv}/hello:/etc/hello:ro")
    engine.ok("run", "-d", "--name", "it", *mounts, "busybox", "sh", "-c", script)
    engine.written("it", "made")
    more = srv.parent / "more"
    (more / "srv").mkdir(parents=True)
    (more / "srv/deep").write_text("deep\n")
    for state in ("running", "exited"):
        engine.ok("cp", "it:/srv/hello", str(more / "copy"))
        assert (more / "copy").read_text() == "from the host\n"
        engine.ok("cp", str(more / "copy"), f"it:/alias/{state}")
        assert (srv / state).read_text() == "from the host\n"
        engine.ok("cp", f"{more}/.", "it:/")
        assert (srv / "deep").read_text() == "deep\n"
        (srv / "deep").unlink()
        assert engine.cli("cp", str(more / "copy"), "it:/etc/hello").code == 1
        engine.ok("stop", "-t", "0", "it")
    assert not any("/srv/" in line for line in engine.ok("diff", "it").splitlines())


def test_a_copy_into_what_never_ran_lands_in_the_mount(engine: Engine, srv: Path) -> None:
    """The place is made as a start would make it; a source that is not there yet is no reason to fail."""
    (srv.parent / "file").write_text("early\n")
    engine.ok("create", "--name", "it", "-v", f"{srv}:/deep/in/it", "-v", f"{srv}/later:/later", "busybox", "sh")
    engine.ok("cp", str(srv.parent / "file"), "it:/deep/in/it/file")
    assert (srv / "file").read_text() == "early\n"
    assert not (srv / "later").exists()
    engine.ok("cp", "it:/deep/in/it/file", str(srv / "again"))
    assert (srv / "again").read_text() == "early\n"


def test_what_is_mounted_is_no_part_of_images_exports_and_changes(engine: Engine, srv: Path) -> None:
    """Only the place where it was."""
    engine.ok("run", "--name", "it", "-v", f"{srv}:/srv", "busybox", "sh", "-c", "echo x > /srv/x; echo y > /y")
    engine.ok("commit", "it", "snap")
    assert engine.ok("run", "--rm", "snap", "ls", "/srv", "/y") == "/y\n\n/srv:"
    assert "/srv/x" not in engine.ok("diff", "it")
    engine.ok("rmi", "-f", "snap")


@pytest.mark.parametrize(("options", "says"), [
    (("-v", "/srv:/"), "cannot be '/'"), (("-v", "a/b:/x"), "a/b"), (("-v", "d:/x:rslave"), "for directories"),
    (("-v", "/srv:/x", "--tmpfs", "/x"), "Duplicate mount point: /x"), (("-v", "/srv:/proc/1"), "/proc"),
    (("-v", "/srv:/x", "-v", "/tmp:/x"), "Duplicate mount point: /x"),
    (("--mount", "type=bind,src=/srv"), "no target"),
])
def test_a_mount_that_cannot_be_is_refused_before_anything_is_made(
    engine: Engine, options: tuple[str, ...], says: str
) -> None:
    """125, one reason, no container."""
    done = engine.cli("run", "--rm", *options, "busybox", "true")
    assert done.code == 125
    assert says in done.err
    assert engine.ok("ps", "-aq") == ""
