"""User namespaces: root inside is nobody outside; files on disk, in images and in copies keep the ids seen inside."""

import io
import tarfile
from pathlib import Path

import pytest

from tests.tutorial.engine import Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

FIRST = 0x70000000
REMAP = ("--userns", "remap")


def owners(archive: bytes) -> dict[str, tuple[int, int]]:
    """Of the files in a tar."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name.strip("/"): (member.uid, member.gid) for member in tar}


def test_root_inside_is_nobody_outside(engine: Engine) -> None:
    """For run and exec, with and without another user; the control is a container without."""
    engine.ok("run", "-d", "--name", "it", *REMAP, "busybox", "sleep", "600")
    engine.ok("run", "-d", "--name", "plain", "busybox", "sleep", "600")
    for name, uid in (("it", FIRST), ("plain", 0)):
        pid = engine.ok("inspect", "-f", "{{.State.Pid}}", name)
        ids = [line.split()[1:] for line in Path("/proc", pid, "status").read_text().splitlines()
               if line.startswith(("Uid:", "Gid:"))]
        assert ids == [[str(uid)] * 4] * 2
    assert engine.ok("exec", "it", "id", "-u") == "0"
    assert engine.ok("exec", "it", "cat", "/proc/self/uid_map").split() == ["0", str(FIRST), "65536"]
    assert engine.ok("exec", "-u", "33:44", "it", "sh", "-c", "id -u; id -g; echo x > /dev/stdout").split() == [
        "33", "44", "x"]
    assert engine.ok("inspect", "-f", "{{.HostConfig.UsernsMode}}", "it") == "remap"
    assert engine.cli("exec", "it", "ping", "-c1", "-W3", "plain").code == 0  # its network is its own
    engine.ok("run", "--rm", *REMAP, "--cap-add", "NET_ADMIN", "busybox", "ip", "link", "set", "eth0", "mtu", "1400")


def test_files_keep_the_ids_that_are_seen_inside(engine: Engine, tmp_path: Path) -> None:
    """On disk, in a copy, an export and an image; running and at rest; back in a container without the namespace."""
    script = "echo x > /new; chown 33:44 /new /etc/passwd; rm -r /usr/no-such; mkdir /d; chown 7:8 /d; sleep 600"
    engine.ok("run", "-d", "--name", "it", *REMAP, "busybox", "sh", "-c", script)
    until_there(engine)
    for _ in range(2):
        engine.ok("cp", "-a", "it:/new", str(tmp_path / "new"))
        found = (tmp_path / "new").stat()
        assert (found.st_uid, found.st_gid) == (33, 44)
        (tmp_path / "new").unlink()
        engine.ok("export", "-o", str(tmp_path / "all.tar"), "it")
        exported = owners((tmp_path / "all.tar").read_bytes())
        assert (exported["new"], exported["etc/passwd"], exported["d"]) == ((33, 44), (33, 44), (7, 8))
        assert {line for line in engine.ok("diff", "it").splitlines() if "new" in line} == {"A /new"}
        engine.ok("stop", "-t", "0", "it")
    engine.ok("commit", "it", "made")
    look = ("stat", "-c", "%u:%g", "/new", "/etc/passwd", "/d", "/")
    for options in ((), REMAP):
        assert engine.ok("run", "--rm", *options, "made", *look).split() == ["33:44", "33:44", "7:8", "0:0"]


def until_there(engine: Engine) -> None:
    """Wait until the script has come to its end."""
    until(lambda: engine.cli("exec", "it", "stat", "-c", "%u", "/d").out.strip() == "7", "the files are made")


def test_what_is_copied_in_belongs_to_root_inside(engine: Engine, tmp_path: Path) -> None:
    """Running and at rest; and root inside may do with it what it likes."""
    (tmp_path / "file").write_text("x")
    engine.ok("run", "-d", "--name", "it", *REMAP, "busybox", "sleep", "600")
    engine.ok("cp", str(tmp_path / "file"), "it:/running")
    assert engine.ok("exec", "it", "sh", "-c", "chown 5:6 /running && stat -c %u:%g /running") == "5:6"
    engine.ok("stop", "-t", "0", "it")
    engine.ok("cp", str(tmp_path / "file"), "it:/resting")
    engine.ok("start", "it")
    assert engine.ok("exec", "it", "stat", "-c", "%u:%g", "/resting", "/running").split() == ["0:0", "5:6"]


def test_its_root_has_its_rights_in_its_own_namespaces_only(engine: Engine) -> None:
    """Owner of everything that was made for it; no capability helps against the host."""
    script = (
        "hostname; stat -c %u / /dev /dev/null /dev/shm /etc/hosts; echo x > /etc/hosts && echo hosts; "
        "head -c 1 /dev/zero | wc -c; mount -t tmpfs t /tmp 2>&1; echo 1 > /proc/sys/vm/swappiness; "
        "chown 70000 /etc/passwd 2>&1; hostname other && hostname"
    )
    done = engine.cli("run", "--rm", "-h", "box", *REMAP, "--cap-add", "ALL", "--security-opt", "seccomp=unconfined",
                      "busybox", "sh", "-c", script)
    lines = done.lines
    assert lines[:8] == ["box", "0", "0", "0", "0", "0", "hosts", "1"], done
    assert "denied" in lines[8] or "not permitted" in lines[8]
    assert "Invalid argument" in lines[9]
    assert lines[10] == "other"


def test_options_work_with_it_as_without(engine: Engine) -> None:
    """Limits, parameters, devices, tmpfs, read-only root, init, logs, a network of its own."""
    engine.ok("run", "--name", "it", *REMAP, "--read-only", "--init", "--tmpfs", "/t:uid=5,gid=6", "--ulimit",
              "nofile=99", "--sysctl", "kernel.msgmax=4711", "--sysctl", "net.ipv4.ip_forward=1", "--oom-score-adj",
              "100", "--device", "/dev/null:/dev/own", "-u", "33:33", "--group-add", "7", "busybox", "sh", "-c",
              "cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_forward; stat -c %u:%g /t; ulimit -n; id -G; "
              "echo x > /dev/own && stat -c %u /dev/own; ip addr show lo | grep -c UP")
    assert engine.ok("logs", "it").split() == ["4711", "1", "5:6", "99", "33", "7", "0", "1"]


def test_a_terminal_belongs_to_the_user(engine: Engine) -> None:
    """Of the first process and of an exec."""
    script = "tty; stat -c %u:%g $(tty); echo x > /dev/console && echo console"
    for user, wanted in (("0", "0:5"), ("33", "33:5")):
        lines = engine.ok("run", "--rm", "-t", "-u", user, *REMAP, "busybox", "sh", "-c", script).split()
        assert [line for line in lines if line != "x"] == ["/dev/pts/0", wanted, "console"]


@pytest.mark.parametrize("options", [("--network", "host"), ("--privileged",)])
def test_what_would_give_it_rights_over_the_host_is_refused(engine: Engine, options: tuple[str, ...]) -> None:
    """And the way out is named."""
    assert "--userns host" in engine.refused("run", "--rm", *REMAP, *options, "busybox", "true", code=125)
    assert "nosuch" in engine.refused("run", "--rm", "--userns", "nosuch", "busybox", "true", code=125)


def test_the_configuration_makes_it_the_rule_with_a_way_out(engine: Engine) -> None:
    """And says which ids; another range at the next start needs no change of files."""
    script = "echo x >> /f; stat -c %u /f; cat /proc/self/uid_map"
    engine.ok("create", "--name", "old", *REMAP, "busybox", "sh", "-c", script)
    assert engine.ok("start", "-a", "old").split() == ["0", "0", str(FIRST), "65536"]
    config = engine.folder / "config.toml"
    config.write_text('userns = "remap"\nuserns_ids = "300000:65536"\n')
    try:
        engine.stop()
        engine.start()
        assert engine.ok("start", "-a", "old").split() == ["0", "0", "300000", "65536"]
        look = ("busybox", "cat", "/proc/self/uid_map")
        assert engine.ok("run", "--rm", *look).split() == ["0", "300000", "65536"]
        assert engine.ok("run", "--rm", "--userns", "host", *look).split()[1] == "0"
    finally:
        config.write_text("")
        engine.stop()
        engine.start()
