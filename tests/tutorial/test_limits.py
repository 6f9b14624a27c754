"""Limits hold: told to the kernel, kept by it, and explained afterwards. What is measured are the kernel's counters."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tutorial.engine import CGROUPS, Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

NONE = ("--network", "none")  # limits are shown to hold also where the kernel has no nftables
RUN = ("run", *NONE)
BUSY = ("sh", "-c", "while :; do :; done")
HOG = "x=a; while :; do x=$x$x; done"
MIB = 1 << 20


def files_of(engine: Engine, name: str) -> list[Path]:
    """That file in all hierarchies; groups of other engines come and go meanwhile, and are not looked into."""
    return [*CGROUPS.glob(f"{engine.group_root}/{name}"), *CGROUPS.glob(f"*/{engine.group_root}/{name}")]


def counter(engine: Engine, id: str, file: str, key: str = "") -> int:
    """A number in a file of a container's group, in whatever hierarchy that is; with a key, that line's."""
    for path in files_of(engine, f"{id}.1/{file}"):
        lines = [line.split() for line in path.read_text().splitlines()]
        found = [line[-1] for line in lines if line[0] == key or not key]
        if found:
            return int(found[0])
    pytest.skip(f"this machine has no {file}")


def processor_time(engine: Engine, id: str) -> int:
    """Microseconds."""
    if files_of(engine, f"{id}.1/cpuacct.usage"):
        return counter(engine, id, "cpuacct.usage") // 1000
    return counter(engine, id, "cpu.stat", "usage_usec")


def controlled(engine: Engine, file: str) -> bool:
    """Whether groups here have that file."""
    return bool(files_of(engine, file))


def test_two_busy_containers_share_a_processor_by_their_shares(engine: Engine) -> None:
    """1024 and 512 on one processor: two to one, within a tenth."""
    one = () if not controlled(engine, "cpuset.cpus") else ("--cpuset-cpus", str(min(os.sched_getaffinity(0))))
    if not one and len(os.sched_getaffinity(0)) > 1:
        pytest.skip("this machine cannot keep two containers on one processor")
    ids = [engine.ok(*RUN, "-d", *one, "--cpu-shares", shares, "busybox", *BUSY) for shares in ("1024", "512")]
    begun = [processor_time(engine, id) for id in ids]
    until(lambda: sum(processor_time(engine, id) for id in ids) - sum(begun) > 3_000_000, "both have worked", 60)
    first, second = (processor_time(engine, id) - before for id, before in zip(ids, begun, strict=True))
    assert 1.8 < first / second < 2.2


def test_a_quota_is_not_exceeded_and_can_be_used_up(engine: Engine) -> None:
    """A tenth of a processor: of every period in which it wanted more it had ten percent, and not less than eight."""
    id = engine.ok(*RUN, "-d", "--cpus", "0.1", "busybox", *BUSY)
    periods = counter(engine, id, "cpu.stat", "nr_periods")
    before = processor_time(engine, id)
    until(lambda: counter(engine, id, "cpu.stat", "nr_periods") - periods >= 20, "twenty periods have passed", 60)
    used = processor_time(engine, id) - before
    passed = counter(engine, id, "cpu.stat", "nr_periods") - periods
    assert 0.08 <= used / (passed * 100_000) <= 0.12
    assert counter(engine, id, "cpu.stat", "nr_throttled") > 0


def test_a_memory_hog_ends_at_its_limit_and_is_named(engine: Engine) -> None:
    """137, out of memory in the list, the limit in the answer to why, the victim in the history."""
    done = engine.cli(*RUN, "--name", "hog", "-m", "16m", "busybox", "sh", "-c", HOG)
    assert done.code == 137
    assert engine.ok("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "hog") == "true 137"
    assert engine.ok("ps", "-a", "--format", "{{.Reason}}") == "out of memory"
    why = engine.ok("why", "hog")
    assert "it ran out of memory (known)" in why
    assert "its limit was 16MiB" in why
    assert "name=sh" in engine.ok("audit", "--no-trunc", "hog")
    assert engine.ok("start", "hog") == "hog", "it can be started again"


def test_a_child_that_is_killed_for_its_memory_is_named_while_the_first_process_lives(engine: Engine) -> None:
    """The container goes on; who looks later still finds which process it was, and when."""
    engine.ok(*RUN, "-d", "--name", "parent", "-m", "16m", "busybox", "sh", "-c",
              f"sh -c '{HOG}'; echo survived; while :; do sleep 1; done")
    engine.written("parent", "survived")
    until(lambda: "oom-killed" in engine.ok("audit", "parent"), "the kill is in the history")
    assert engine.state("parent") == "running"
    assert "name=sh" in engine.ok("audit", "--no-trunc", "parent")
    assert " container oom " in engine.ok("events", "--since", "1h", "--until", "0s", "--filter", "container=parent")


def test_a_kill_for_memory_while_no_daemon_runs_is_not_lost(engine: Engine) -> None:
    """The group counts, and the kernel's log remembers the name."""
    engine.ok(*RUN, "-d", "--name", "parent", "-m", "16m", "busybox", "sh", "-c",
              f"while [ ! -e /go ]; do sleep 0.05; done; sh -c '{HOG}'; echo survived; while :; do sleep 1; done")
    engine.kill("daemon")
    pid = next(iter(engine.processes().contained))
    Path(f"/proc/{pid}/root/go").touch()
    until(lambda: "survived" in _stored(engine), "the first process goes on")
    engine.start()
    until(lambda: "oom-killed" in engine.ok("audit", "parent"), "the kill is in the history")
    assert engine.ok("audit", "parent").count("oom-killed") == 1


def _stored(engine: Engine) -> str:
    return "".join(path.read_bytes().decode(errors="replace") for path in (engine.data / "logs").rglob("*.log"))


def test_an_exec_is_limited_as_well(engine: Engine) -> None:
    """It is in the same group: its hunger ends at the same place, and its end says so."""
    engine.ok(*RUN, "-d", "--name", "it", "-m", "16m", "busybox", "sleep", "600")
    assert engine.cli("exec", "it", "sh", "-c", HOG).code == 137
    assert engine.state("it") == "running"


def test_a_fork_bomb_stops_at_its_limit_and_the_engine_answers(engine: Engine) -> None:
    """Forking fails inside; outside nobody notices, and the container is ended at once."""
    engine.ok(*RUN, "-d", "--name", "bomb", "--pids-limit", "50", "busybox", "sh", "-c",
              "(b() { b & b; }; b) 2>/dev/null & exec sleep 600")
    id = engine.ok("inspect", "-f", "{{.Id}}", "bomb")
    until(lambda: counter(engine, id, "pids.current") > 40 or counter(engine, id, "pids.events", "max") > 0,
          "it has grown")
    assert counter(engine, id, "pids.current") <= 50
    begun = time.monotonic()
    assert "bomb" in engine.ok("ps", "--format", "{{.Names}}")
    engine.ok("rm", "-f", "bomb")
    assert time.monotonic() - begun < 20


def test_a_container_without_a_wish_has_the_engines_own_limit_of_processes(engine: Engine) -> None:
    """Nobody has to think of it; who wants none says so."""
    assert engine.ok(*RUN, "--rm", "busybox", "sh", "-c", "cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max "
                     "2>/dev/null || true").splitlines()[0] == "4096"
    shown = engine.ok(*RUN, "--rm", "--pids-limit", "-1", "busybox", "sh", "-c",
                      "cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null || true")
    assert shown.splitlines()[0] == "max"


def test_an_update_changes_what_runs_and_says_what_was_before(engine: Engine) -> None:
    """At once, for what runs; the history has both values."""
    id = engine.ok(*RUN, "-d", "--name", "it", "-m", "32m", "busybox", "sleep", "600")
    assert engine.ok("update", "-m", "64m", "--memory-swap", "-1", "--pids-limit", "99", "it") == "it"
    assert counter(engine, id, "pids.max") == 99
    assert engine.ok("inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}", "it") == f"{64 * MIB} -1"
    assert "64MiB" in engine.ok("stats", "--no-stream", "--format", "{{.MemUsage}}", "it")
    assert f"memory={32 * MIB}->{64 * MIB}" in engine.ok("audit", "--no-trunc", "it")
    assert engine.ok("ps", "--format", "{{.Limits}}") == "64MiB, 99 pids"
    engine.ok("restart", "-t", "0", "it")
    assert engine.ok("inspect", "-f", "{{.HostConfig.PidsLimit}}", "it") == "99"


def test_an_update_that_the_kernel_refuses_leaves_everything_as_it_was(engine: Engine) -> None:
    """Less than is in use cannot be had; version 2 would kill for it, so it may also take it."""
    fill = "dd if=/dev/zero of=/dev/shm/x bs=1M count=24 2>/dev/null; echo full; sleep 600"
    engine.shell(fill, *NONE, "-m", "64m", name="it")
    engine.written("it", "full")
    done = engine.cli("update", "-m", "8m", "--memory-swap", "8m", "it")
    if done.code == 0:
        pytest.skip("this kernel takes any limit and kills for it")
    assert done.code == 1
    assert "the container uses more than that" in done.err
    assert engine.ok("inspect", "-f", "{{.HostConfig.Memory}}", "it") == str(64 * MIB)
    assert "limits-failed" in engine.ok("audit", "it")


@pytest.mark.parametrize(("options", "says"), [
    (("-m", "4m"), "Minimum memory limit allowed is 6MB"),
    (("--memory-swap", "1g"), "You should always set the Memory limit"),
    (("-m", "64m", "--memory-swap", "32m"), "smaller than the memory limit"),
    (("--cpus", "1000"), "Range of CPUs is from 0.01"),
    (("--cpus", "0.5", "--cpu-quota", "5000"), "Conflicting options"),
    (("--cpuset-cpus", "4000"), "Requested CPUs are not available"),
    (("--cpu-period", "5"), "CPU cfs period"),
    (("--cpu-quota", "5"), "CPU cfs quota"),
    (("--blkio-weight", "5"), "Range of blkio weight is from 10 to 1000"),
    (("--device-read-bps", "/dev/null:1mb",), "no block device"),
    (("-m", "lots"), 'invalid argument "lots"'),
    (("--pids-limit", "many"), "many"),
])
def test_a_limit_that_cannot_be_is_refused_before_anything_is_made(
    engine: Engine, options: tuple[str, ...], says: str
) -> None:
    """125, one reason, no container."""
    done = engine.cli(*RUN, "--rm", *options, "busybox", "true")
    assert done.code == 125
    assert says in done.err
    assert engine.ok("ps", "-aq") == ""


def test_limits_are_shown_as_they_were_asked_for(engine: Engine) -> None:
    """In the document that tools read."""
    one = ("--cpuset-cpus", "0") if controlled(engine, "cpuset.cpus") else ()
    engine.ok("create", *NONE, "--name", "it", "-m", "64m", "-c", "512", *one, "--pids-limit", "7", "busybox", "sh")
    shown = json.loads(engine.ok("inspect", "-f", "{{json .HostConfig}}", "it"))
    assert (shown["Memory"], shown["MemorySwap"], shown["CpuShares"]) == (64 * MIB, 128 * MIB, 512)
    assert (shown["CpusetCpus"], shown["PidsLimit"], shown["NanoCpus"]) == ("0" if one else "", 7, 0)


def disk_of(path: Path) -> str:
    """The disk on which a path lies, as the kernel counts it: of a partition the whole."""
    place = path.stat().st_dev
    block = Path(f"/sys/dev/block/{os.major(place)}:{os.minor(place)}")
    if not block.exists():
        pytest.skip("the data root lies on no block device")
    whole = block.resolve().parent if (block / "partition").exists() else block.resolve()
    return f"/dev/{whole.name}"


@pytest.mark.parametrize(("option", "copy"), [
    ("--device-write-bps={}:4mb", "dd if=/dev/zero of=new bs=1M count=8 oflag=direct"),
    ("--device-write-iops={}:32", "dd if=/dev/zero of=new bs=64k count=64 oflag=direct"),
    ("--device-read-bps={}:4mb", "dd if=old of=/dev/null bs=1M count=8 iflag=direct"),
    ("--device-read-iops={}:32", "dd if=old of=/dev/null bs=64k count=64 iflag=direct"),
])
def test_a_disk_is_not_used_faster_than_allowed(engine: Engine, option: str, copy: str) -> None:
    """What the rate gives in two seconds takes at least one and a half, past all caches; a busy machine only takes
    longer."""
    disk = disk_of(engine.data)
    if not any(controlled(engine, file) for file in ("blkio.throttle.write_bps_device", "io.max")):
        pytest.skip("this machine has no rates of disks")
    engine.ok(*RUN, "--rm", "-v", "disk:/v", "busybox", "sh", "-c", "dd if=/dev/zero of=/v/old bs=1M count=8")
    script = f"cat /proc/uptime; cd /v; {copy}; cat /proc/uptime"
    done = engine.ok(*RUN, "--rm", option.format(disk), "-v", "disk:/v", "busybox", "sh", "-c", script)
    before, after = (float(line.split()[0]) for line in done.splitlines())
    assert after - before > 1.5


@pytest.fixture
def weighing_disk(tmp_path: Path) -> Iterator[str]:
    """A disk that heeds weights."""
    image = tmp_path / "disk"
    image.write_bytes(bytes(32 * MIB))
    made = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"this machine has no loop devices: {made.stderr.strip()}")
    disk = Path(made.stdout.strip())
    scheduler = Path(f"/sys/block/{disk.name}/queue/scheduler")
    try:
        before = scheduler.read_text()
        if "bfq" not in before:
            pytest.skip("this kernel has no scheduler that heeds weights")
        scheduler.write_text("bfq")
        yield str(disk)
        scheduler.write_text(before.partition("[")[2].partition("]")[0])
    finally:
        subprocess.run(["losetup", "-d", disk], check=True)


def test_a_disk_is_shared_by_weight(engine: Engine, weighing_disk: str) -> None:
    """Ten to one is asked for; without the weights both would read the same."""
    script = "while :; do dd if=/dev/disk of=/dev/null bs=64k iflag=direct 2>/dev/null; done"
    reads = ("--device", f"{weighing_disk}:/dev/disk:r", "busybox", "sh", "-c", script)
    heavy, light = (engine.ok(*RUN, "-d", "--blkio-weight", weight, *reads) for weight in ("1000", "100"))
    file = next((file for file in ("blkio.bfq.io_service_bytes", "io.stat") if controlled(engine, file)), "")
    numbers = Path(f"/sys/block/{Path(weighing_disk).name}/dev").read_text().strip()
    before = [read_of(engine, id, file, numbers) for id in (heavy, light)]
    until(lambda: read_of(engine, light, file, numbers) - before[1] > 256 * MIB, "the light one has read enough")
    done = [read_of(engine, id, file, numbers) - start for id, start in zip((heavy, light), before, strict=True)]
    assert done[0] > 1.4 * done[1]


def read_of(engine: Engine, id: str, file: str, numbers: str) -> int:
    """Bytes that a container has read of a disk."""
    for path in files_of(engine, f"{id}.1/{file}"):
        for line in path.read_text().splitlines():
            if line.startswith(f"{numbers} ") and ("Read" in line or "rbytes" in line):
                return int(line.split("rbytes=")[-1].split()[0] if "rbytes" in line else line.split()[-1])
    return 0
