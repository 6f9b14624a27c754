"""What a user may ask for, more or less confinement, is what the kernel then says of the container and its execs."""

import json
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.system import facts
from tests.security.conftest import Look
from tests.security.test_execs import status
from tests.tutorial.engine import Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

Twice = Callable[..., list[str]]
CAPABILITIES = ("CapEff", "CapPrm", "CapBnd")


@pytest.fixture
def twice(engine: Engine) -> Twice:
    """What a command says as the first process of a container with these options, and as an exec in one."""

    def run(*options: str, command: tuple[str, ...], image: str = "busybox") -> list[str]:
        first = engine.ok("run", "--rm", *options, image, *command)
        engine.ok("run", "-d", "--name", "wished", *options, image, "sleep", "1000000")
        return [first, engine.ok("exec", "wished", *command)]

    return run


def holds(*numbers: int) -> str:
    """As /proc/PID/status spells a set of capabilities."""
    return f"{sum(1 << number for number in numbers):016x}"


@pytest.mark.parametrize(("options", "wanted"), [
    (("--cap-drop", "ALL"), holds()), (("--cap-drop", "all", "--cap-add", "chown"), holds(0)),
    (("--cap-drop", "CAP_MKNOD"), f"{0xA80425FB & ~(1 << 27):016x}"), (("--cap-add", "SYS_TIME"), "00000000aa0425fb"),
    (("--network", "host", "--cap-add", "NET_RAW"), "00000000a80425fb"),
], ids=" ".join)
def test_capabilities_are_those_that_were_asked_for(twice: Twice, options: tuple[str, ...], wanted: str) -> None:
    """Effective, permitted and bounding; nothing is inheritable or ambient, for a user there is the bound alone."""
    for said in map(status, twice(*options, command=("cat", "/proc/self/status"))):
        assert {said[name] for name in CAPABILITIES} == {wanted}
        assert {said["CapInh"], said["CapAmb"]} == {holds()}


def test_a_user_has_the_bound_alone(twice: Twice) -> None:
    """As everywhere in the industry: root's capabilities are no gift to others."""
    for said in map(status, twice("--cap-add", "SYS_TIME", "-u", "7", command=("cat", "/proc/self/status"))):
        assert [said[name] for name in CAPABILITIES] == [holds(), holds(), "00000000aa0425fb"]


@pytest.mark.parametrize("spelling", ["no-new-privileges", "no-new-privileges=true", "no-new-privileges:true"])
def test_nobody_gets_new_rights_where_that_was_asked_for(twice: Twice, spelling: str) -> None:
    """And the filter is there all the same."""
    for said in map(status, twice("--security-opt", spelling, command=("cat", "/proc/self/status"))):
        assert (said["NoNewPrivs"], said["Seccomp"], said["CapEff"]) == ("1", "2", "00000000a80425fb")


def test_without_a_filter_there_is_none(twice: Twice) -> None:
    """`seccomp=unconfined`."""
    for said in map(status, twice("--security-opt", "seccomp=unconfined", command=("cat", "/proc/self/status"))):
        assert (said["Seccomp"], said["CapEff"]) == ("0", "00000000a80425fb")


@pytest.mark.parametrize("more", [(), ("--security-opt", "no-new-privileges"), ("-u", "7")], ids=" ".join)
def test_a_profile_of_a_file_is_in_force(twice: Twice, tmp_path: Path, more: tuple[str, ...]) -> None:
    """For the first process and for execs; old ones know nothing of the calls that the engine itself uses last."""
    file = tmp_path / "profile.json"
    file.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
        {"names": ["openat2", "faccessat2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}))
    said = twice("--security-opt", f"seccomp={file}", *more, command=("sh", "-c", "mkdir /tmp/x 2>&1; echo $?"))
    assert said == ["mkdir: can't create directory '/tmp/x': No space left on device\n1"] * 2


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
def test_a_profile_guards_every_door(look: Look, tmp_path: Path) -> None:
    """int 0x80 by its own numbers; the numbers of x32 are no way around a list of what is forbidden."""
    file = tmp_path / "profile.json"
    file.write_text(json.dumps({
        "defaultAction": "SCMP_ACT_ALLOW",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}],
        "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
                     {"names": ["socket"], "action": "SCMP_ACT_ERRNO",
                      "args": [{"index": 0, "value": 38, "op": "SCMP_CMP_EQ"}]}]}))
    asked = {"native": {"acct": (163,), "crypto": (41, 38, 5), "tcp": (41, 2, 1)}, "x32": {"acct": (163,)},
             "i386": {"acct": (51,), "crypto": (359, 38, 5), "getpid": (20,)}}
    told = look("doors", json.dumps(asked), options=("--security-opt", f"seccomp={file}"))
    assert told == {"native": {"acct": "ENOSPC", "crypto": "EPERM", "tcp": "ok"}, "x32": {"acct": "ENOSYS"},
                    "i386": {"acct": "ENOSPC", "crypto": "EPERM", "getpid": "ok"}}


@pytest.mark.parametrize("options", [
    ("--cap-add", "NONSENSE"), ("--cap-drop", ""), ("--security-opt", "nonsense"), ("--security-opt", "seccomp="),
    ("--security-opt", "seccomp=/nowhere"), ("--security-opt", "seccomp=/proc/version"),
    ("--security-opt", "seccomp=/dev/zero"), ("--security-opt", "no-new-privileges=perhaps"),
    ("--security-opt", "label=disable"), ("--pid", "container:x"), ("--pid", "private"), ("--ipc", "nonsense"),
    ("--uts", "container:x"), ("--cgroupns", "none"), ("--runtime", "runsc"), ("--isolation", "hyperv"),
], ids=" ".join)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(engine: Engine, options: tuple[str, ...]) -> None:
    """A wish for confinement that is not understood must not be taken for granted."""
    said = engine.cli("run", "--name", "never", *options, "busybox", "true")
    assert said.code == 125
    assert len(said.err.strip().splitlines()) <= 4
    assert "Traceback" not in said.err
    assert engine.cli("inspect", "never").code == 1


def test_kernel_paths_are_open_where_that_was_asked_for(twice: Twice) -> None:
    """`systempaths=unconfined`: nothing is hidden or read-only in /proc; filter and capabilities stay."""
    look = ("sh", "-c", "grep -c ' /proc/' /proc/self/mountinfo; wc -c < /proc/interrupts; grep ^Seccomp: "
                        "/proc/self/status; test -w /proc/sys/kernel/hostname && echo writable")
    for said in twice("--security-opt", "systempaths=unconfined", command=look):
        mounts, size, mode, writable = said.splitlines()
        assert (mounts, mode.split()[1], writable) == ("0", "2", "writable")
        assert int(size) > 0


def test_privileged_is_everything_that_the_engine_holds(twice: Twice) -> None:
    """Capabilities, no filter, nothing hidden or read-only, the control groups and every device of the host; still
    namespaces, a root and a group of its own. The engine's own part of /dev stays as it is."""
    ours = status(Path("/proc/self/status").read_text())
    script = ("cat /proc/self/status; mount | grep -c ' /proc/'; mount | grep -E ' on /sys(/fs/cgroup.*)? ' | "
              "grep -c 'ro,'; ls -l /dev; readlink /dev/ptmx; readlink /proc/self/ns/pid; mknod -m 600 /p c 1 9; "
              "head -c 1 /p | wc -c")
    for said in twice("--privileged", command=("sh", "-c", script)):
        told = status(said)
        assert [told[name] for name in CAPABILITIES] == [ours["CapEff"]] * 3
        assert (told["Seccomp"], told["NoNewPrivs"], told["CapInh"]) == ("0", "0", holds())
        *_, mounts, read_only = (line for line in said.partition("nonvoluntary")[2].splitlines()[1:3])
        assert (mounts, read_only) == ("0", "0")
        numbers = {tuple(line.split()[4:6]) for line in said.splitlines() if line[:1] in "bc" and "," in line}
        assert {(f"{os.major(number)},", str(os.minor(number))) for number in host_devices()} <= numbers
        assert said.splitlines()[-3:-1] == ["pts/ptmx", said.splitlines()[-2]]
        assert said.splitlines()[-1] == "1"
        assert os.readlink("/proc/self/ns/pid") not in said


def host_devices() -> set[int]:
    """The numbers of block devices and of the likes of /dev/fuse; what is only a name for a terminal aside."""
    found = (entry.stat() for entry in Path("/dev").iterdir() if not entry.is_symlink())
    return {state.st_rdev for state in found if stat.S_ISBLK(state.st_mode)} | {os.stat("/dev/null").st_rdev}


def test_groups_that_a_privileged_container_has_made_go_with_it(engine: Engine) -> None:
    """It may write in its control groups, as an engine inside of it would."""
    script = "for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir -p $d/mine/deeper; done; find /sys/fs -name mine"
    assert "mine" in engine.ok("run", "--rm", "--privileged", "busybox", "sh", "-c", f"{script}; true")


def test_more_rights_than_others_do_not_reach_other_containers(engine: Engine) -> None:
    """The rules of one container are those of its own group."""
    engine.ok("run", "-d", "--name", "mighty", "--privileged", "busybox", "sleep", "1000000")
    said = engine.cli("run", "--rm", "busybox", "sh", "-c", "mknod /kmsg c 1 11 && head -c 1 /kmsg")
    assert (said.code, "Operation not permitted" in said.err) == (1, True)


@pytest.mark.skipif(facts.apparmor(), reason="this host has AppArmor")
def test_a_profile_that_the_host_cannot_enforce_is_refused(engine: Engine) -> None:
    """Where there is no AppArmor, a container that wants to be confined by it does not start; one that does not want
    to, does."""
    said = engine.cli("run", "--security-opt", "apparmor=strict", "busybox", "true")
    assert (said.code, "this host has no AppArmor" in said.err) == (125, True)
    engine.ok("run", "--rm", "--security-opt", "apparmor=unconfined", "busybox", "true")


@pytest.mark.skipif(not facts.apparmor(), reason="this host has no AppArmor")
def test_a_profile_of_the_host_is_in_force(engine: Engine) -> None:
    """One that is not loaded cannot be used."""
    said = engine.cli("run", "--security-opt", "apparmor=not-loaded-anywhere", "busybox", "true")
    assert said.code == 125


SPACES = ("pid", "ipc", "uts", "cgroup", "mnt", "net")


@pytest.mark.parametrize(("options", "shared"), [
    ((), set()), (("--pid", "host"), {"pid"}), (("--ipc", "host"), {"ipc"}), (("--uts", "host"), {"uts"}),
    (("--cgroupns", "host"), {"cgroup"}), (("--network", "host"), {"net"}), (("--ipc", "none"), set()),
    (("--ipc", "shareable", "--cgroupns", "private"), set()),
    (("--pid", "host", "--ipc", "host", "--uts", "host", "--cgroupns", "host"), {"pid", "ipc", "uts", "cgroup"}),
], ids=lambda value: " ".join(sorted(value)) or "nothing")
def test_namespaces_are_shared_where_that_was_asked_for_and_nowhere_else(
    twice: Twice, options: tuple[str, ...], shared: set[str]
) -> None:
    """With the host; the same for execs."""
    command = ("sh", "-c", "for n in " + " ".join(SPACES) + "; do readlink /proc/self/ns/$n; done")
    host = {name: os.readlink(f"/proc/self/ns/{name}") for name in SPACES}
    for said in twice(*options, command=command):
        inside = dict(zip(SPACES, said.splitlines(), strict=True))
        assert {name for name in SPACES if inside[name] == host[name]} == shared


def test_memory_is_shared_with_the_host_and_its_control_groups_stay_closed(engine: Engine) -> None:
    """--ipc host has the host's /dev/shm, none has none; a view of all control groups is read-only."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(b"shared")
        file.flush()
        assert engine.ok("run", "--rm", "--ipc", "host", "busybox", "cat", file.name) == "shared"
        assert engine.cli("run", "--rm", "busybox", "cat", file.name).code == 1
    assert engine.cli("run", "--rm", "--ipc", "none", "busybox", "ls", "/dev/shm").code == 1
    assert engine.cli("run", "--rm", "--cgroupns", "host", "busybox", "mkdir", "/sys/fs/cgroup/mine").code == 1


def test_in_the_hosts_pid_namespace_all_of_a_container_ends_with_its_first_process(engine: Engine) -> None:
    """There no death of a first one ends the others; the engine does."""
    said = engine.ok("run", "--pid", "host", "--name", "wished", "busybox", "sh", "-c", "sleep 1000000 & echo $!")
    until(lambda: not Path(f"/proc/{said.strip()}").exists(), "the other one has ended")
    engine.ok("run", "-d", "--pid", "host", "--name", "stopped", "busybox", "sleep", "1000000")
    engine.ok("stop", "-t", "0", "stopped")


def test_the_only_way_to_start_containers_may_be_named(engine: Engine) -> None:
    """Scripts do."""
    engine.ok("run", "--rm", "--runtime", "lading", "--isolation", "default", "busybox", "true")


def test_the_host_is_not_renamed(engine: Engine) -> None:
    """Neither by a wish nor from inside."""
    name = os.uname().nodename
    said = engine.cli("run", "--uts", "host", "--hostname", "other", "busybox", "true")
    assert (said.code, "conflicting options: hostname and the UTS mode" in said.err) == (125, True)
    script = "hostname evil 2>/dev/null; hostname"
    assert engine.ok("run", "--rm", "--uts", "host", "busybox", "sh", "-c", script) == name
    assert os.uname().nodename == name


def test_inspect_says_what_was_asked_for(engine: Engine) -> None:
    """In the industry's keys, with one spelling."""
    engine.ok("create", "--name", "wished", "--cap-add", "sys_time", "--cap-drop", "mknod", "--security-opt",
              "no-new-privileges", "--security-opt", "seccomp=unconfined", "busybox", "true")
    (told,) = json.loads(engine.ok("inspect", "wished"))
    shown = {name: told["HostConfig"][name] for name in ("CapAdd", "CapDrop", "SecurityOpt")}
    assert shown == {"CapAdd": ["CAP_SYS_TIME"], "CapDrop": ["CAP_MKNOD"],
                     "SecurityOpt": ["no-new-privileges", "seccomp=unconfined"]}
