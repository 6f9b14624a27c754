"""Devices, limits, shared memory, kernel parameters, groups and names: what was asked for is what is inside."""

import json
import os
import stat
from pathlib import Path

import pytest

from tests.tutorial.engine import Engine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def inside(engine: Engine, *options: str, script: str) -> list[str]:
    """What a shell in a new container prints."""
    return engine.ok("run", "--rm", *options, "busybox", "sh", "-c", script).splitlines()


def test_limits_of_processes_hold_for_run_and_exec(engine: Engine) -> None:
    """Soft and hard; what was not named is the engine's."""
    asked = ("--ulimit", "nofile=1024:2048", "--ulimit", "core=0", "--ulimit", "memlock=4096")
    engine.ok("run", "-d", "--name", "it", *asked, "busybox", "sleep", "600")
    for look in (("exec", "it"), ("exec", "-u", "33", "it"), ("run", "--rm", *asked, "busybox")):
        lines = engine.ok(*look, "cat", "/proc/self/limits").splitlines()
        limits = {line[:26].strip(): line[26:].split()[:2] for line in lines}
        assert limits["Max open files"] == ["1024", "2048"]
        assert limits["Max core file size"] == ["0", "0"]
        assert limits["Max locked memory"] == ["4096", "4096"]
    shown = json.loads(engine.ok("inspect", "-f", "{{json .HostConfig.Ulimits}}", "it"))
    assert {"Name": "nofile", "Soft": 1024, "Hard": 2048} in shown


def test_a_limit_beyond_what_the_kernel_has_fails_at_the_start(engine: Engine) -> None:
    """`fs.nr_open` bounds the number of open files, for everybody."""
    said = engine.refused("run", "--rm", "--ulimit", "nofile=9000000000", "busybox", "true", code=125)
    assert "rlimit nofile" in said


def test_shared_memory_has_the_size_that_was_asked_for(engine: Engine) -> None:
    """64 MiB otherwise, also for 0."""
    for options, kilobytes in (((), 65536), (("--shm-size", "8m"), 8192), (("--shm-size", "0"), 65536)):
        assert inside(engine, *options, script="df -k /dev/shm | tail -1")[0].split()[1] == str(kilobytes)


def test_the_score_for_being_killed_holds_for_run_and_exec(engine: Engine) -> None:
    """Whom the kernel kills first."""
    engine.ok("run", "-d", "--name", "it", "--oom-score-adj", "500", "busybox", "sleep", "600")
    assert engine.ok("exec", "it", "cat", "/proc/1/oom_score_adj", "/proc/self/oom_score_adj").split() == ["500", "500"]
    assert engine.ok("inspect", "-f", "{{.HostConfig.OomScoreAdj}}", "it") == "500"


def test_groups_are_given_by_name_or_number_to_run_and_exec(engine: Engine) -> None:
    """Besides those of the user."""
    engine.ok("run", "-d", "--name", "it", "-u", "33:33", "--group-add", "4711", "busybox", "sleep", "600")
    assert engine.ok("exec", "it", "id", "-G").split() == ["33", "4711"]
    said = engine.refused("run", "--rm", "--group-add", "nosuch", "busybox", "true", code=125)
    assert "unable to find group nosuch" in said


def test_the_domain_is_in_the_kernel_and_in_hosts(engine: Engine) -> None:
    """The host name stays what it was."""
    script = "cat /proc/sys/kernel/domainname; hostname; cat /etc/hostname; grep example /etc/hosts; hostname -f"
    lines = inside(engine, "--network", "none", "-h", "box", "--domainname", "example.org", script=script)
    assert lines == ["example.org", "box", "box", "127.0.1.1\tbox.example.org box", "box.example.org"]


def test_kernel_parameters_are_set_for_the_container_alone(engine: Engine) -> None:
    """Ours win over the engine's own defaults, and nobody inside can change them."""
    asked = ("--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=4711", "--sysctl", "fs.mqueue.msg_max=21",
             "--sysctl", "net.ipv4.ip_unprivileged_port_start=700", "--sysctl", "kernel.sem=1 2 3 4")
    script = (
        "cd /proc/sys; cat net/ipv4/ip_forward kernel/msgmax fs/mqueue/msg_max net/ipv4/ip_unprivileged_port_start "
        "kernel/sem; echo 0 > net/ipv4/ip_forward || echo closed"
    )
    lines = inside(engine, *asked, script=script + " 2>&1 | tail -1")
    assert lines == ["1", "4711", "21", "700", "1\t2\t3\t4", "closed"]
    with open("/proc/sys/kernel/msgmax", encoding="ascii") as host:
        assert host.read().strip() != "4711"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--sysctl", "kernel.core_pattern=|/x"), "kernel.core_pattern"),
        (("--sysctl", "net.ipv4.ip_forward=1", "--network", "host"), "host network namespace"),
        (("--sysctl", "net.no.such.thing=1"), "net/no/such/thing"),
        (("--sysctl", "kernel.msgmax=many"), "kernel/msgmax"),
        (("--ulimit", "nofile=2:1"), "soft limit"),
        (("--shm-size", "-1"), "-1"),
        (("--oom-score-adj", "1001"), "1001"),
        (("--domainname", "a b"), "domainname"),
        (("--group-add", ""), "group"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(engine: Engine, options: tuple[str, ...], says: str) -> None:
    """With the value."""
    said = engine.refused("run", "--rm", *options, "busybox", "true", code=125)
    assert says in said
    assert engine.everything() == []


NOBODYS = os.makedev(240, 99)
"""Of the numbers for experiments, so nobody drives it: whoever may open it hears ENXIO, whoever may not EPERM."""
FOUND, CLOSED = "No such device", "not permitted"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A node of the host."""
    path = tmp_path / "disk"
    os.mknod(path, stat.S_IFBLK | 0o640, NOBODYS)
    os.chown(path, 0, 4711)
    path.chmod(0o640)
    return path


def test_without_a_rule_a_device_cannot_be_opened(engine: Engine) -> None:
    """A node can be made all the same."""
    script = "mknod /disk b 240 99; cat /disk; mknod /log c 1 11; cat /log"
    assert engine.cli("run", "--rm", "busybox", "sh", "-c", script).err.count(CLOSED) == 2


def test_a_device_has_owner_mode_and_access(engine: Engine, disk: Path) -> None:
    """Those of the host, and what was asked for; for exec as well."""
    engine.ok("run", "-d", "--name", "it", "--device", f"{disk}:/dev/my/disk:r", "busybox", "sleep", "600")
    look = "stat -c '%F %t:%T %a %u:%g' /dev/my/disk; cat /dev/my/disk 2>&1; dd of=/dev/my/disk </dev/null 2>&1"
    lines = engine.cli("exec", "it", "sh", "-c", look).lines
    assert lines[0] == "block special file f0:63 640 0:4711"
    assert FOUND in lines[1]
    assert CLOSED in lines[2]


def test_a_rule_opens_by_number_and_only_what_it_names(engine: Engine) -> None:
    """`a` is both kinds, `*` every number."""
    script = "mknod /a b 240 99; mknod /b b 241 99; mknod /c c 240 99; for i in a b c; do cat /$i 2>&1; done"
    lines = engine.cli("run", "--rm", "--device-cgroup-rule", "b 240:* rm", "busybox", "sh", "-c", script).lines
    assert [FOUND in line for line in lines] == [True, False, False]
    lines = engine.cli("run", "--rm", "--device-cgroup-rule", "a 240:99 r", "busybox", "sh", "-c", script).lines
    assert [CLOSED in line for line in lines] == [False, True, False]


def test_a_directory_stands_for_all_devices_below(engine: Engine, disk: Path) -> None:
    """Links and other files are left out."""
    (disk.parent / "more").mkdir()
    os.mknod(disk.parent / "more" / "tape", stat.S_IFCHR | 0o600, os.makedev(9, 0))
    (disk.parent / "link").symlink_to("disk")
    (disk.parent / "text").write_text("")
    lines = inside(engine, "--device", f"{disk.parent}:/dev/all", script="cd /dev/all && find . | sort")
    assert lines == [".", "./disk", "./more", "./more/tape"]


@pytest.mark.parametrize(
    ("device", "status", "says"),
    [("/dev/no-such-device", 127, "no such file or directory"), ("/etc/passwd", 125, "not a device node"),
     ("/dev/zero:/dev/null", 125, "/dev/null")],
)
def test_a_device_that_cannot_be_given_fails_the_start(engine: Engine, device: str, status: int, says: str) -> None:
    """The container is there, and can be started when the device is."""
    assert says in engine.refused("run", "--name", "it", "--device", device, "busybox", "true", code=status)
    assert engine.state("it") == "created"


def test_a_device_that_comes_later_is_found_by_the_next_start(engine: Engine, tmp_path: Path) -> None:
    """It is looked at when the container starts, not when it is written down."""
    path = tmp_path / "late"
    engine.ok("create", "--name", "it", "--device", f"{path}:/dev/late", "busybox", "stat", "-c", "%t:%T", "/dev/late")
    engine.refused("start", "it")
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    assert engine.ok("start", "-a", "it") == "1:3"
    path.unlink()
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    assert engine.ok("start", "-a", "it") == "1:5"


def test_a_device_outside_of_dev_lies_in_the_root_file_system(engine: Engine, disk: Path) -> None:
    """And is still there at the next start."""
    device = f"{disk}:/some/where/disk"
    engine.ok("create", "--name", "it", "--device", device, "busybox", "stat", "-c", "%t:%T", "/some/where/disk")
    assert engine.ok("start", "-a", "it") == "f0:63"
    assert engine.ok("start", "-a", "it") == "f0:63"
