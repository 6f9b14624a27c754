"""A process more in a container is exactly as confined as the first one, and a hostile container gets nothing of the
engine while that process is made."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.security import prober
from tests.security.conftest import INSIDE
from tests.security.test_confinement import DEVICES, REFUSED
from tests.security.test_first_process import PROCESS
from tests.tutorial.engine import Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

QUICK = 10.0
SAME = ("Umask", "TracerPid", "Uid", "Gid", "Groups", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "CapInh",
        "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters", "Threads",
        "Cpus_allowed", "Mems_allowed")
Sleeper = Callable[..., str]


@pytest.fixture
def sleeper(engine: Engine) -> Sleeper:
    """Starts a container that does nothing."""

    def start(*options: str, image: str = "busybox") -> str:
        engine.ok("run", "-d", "--name", "host-of-execs", *options, image, "sleep", "1000000")
        return "host-of-execs"

    return start


def status(text: str) -> dict[str, str]:
    """A /proc/N/status as a table."""
    pairs = (line.partition(":")[::2] for line in text.splitlines())
    return {name: " ".join(value.split()) for name, value in pairs}


@pytest.mark.parametrize("options", [(), ("--user", "nobody"), ("--network", "host"), ("--read-only",), ("--init",),
                                     ("--user", "7:8")], ids=" ".join)
def test_the_kernel_says_of_an_exec_what_it_says_of_the_first_process(engine: Engine, sleeper: Sleeper,
                                                                      options: tuple[str, ...]) -> None:
    """Ids, groups, signals, capabilities, filter.

    CVE-2022-29162.
    """
    name = sleeper(*options)
    first, more = (status(engine.ok("exec", name, "cat", path)) for path in ("/proc/1/status", "/proc/self/status"))
    if "--init" in options:  # a handler and a mask are its work
        first |= {"SigBlk": more["SigBlk"]}
    assert {field: more[field] for field in SAME} == {field: first[field] for field in SAME}
    assert more["NSpid"] != "1"


def test_nothing_that_python_or_the_engine_had_set_is_left_in_an_exec(engine: Engine, python: str,
                                                                      sleeper: Sleeper) -> None:
    """What only the process itself can ask for; it leads its own session."""
    name = sleeper(image=python)
    told = _look(engine, name, "first")
    assert told["session"] == told["group"] == told["pid"] != 1
    alone = {"session": 1, "group": 1, "pid": 1}
    assert told | alone == PROCESS


def test_an_exec_has_three_descriptors_of_the_containers_own(engine: Engine, sleeper: Sleeper) -> None:
    """The null device is that of the container's /dev: the mode of the host's could be changed from inside."""
    name = sleeper()
    said = engine.ok("exec", name, "sh", "-c", "ls -l /proc/self/fd; grep ' /dev ' /proc/self/mountinfo; "
                     "cat /proc/self/fdinfo/0 | grep mnt_id").splitlines()
    targets = {line.split()[8]: line.split()[-1] for line in said if "->" in line}
    assert targets.pop("0") == "/dev/null"
    assert {number: target.partition(":")[0] for number, target in targets.items()} == {"1": "pipe", "2": "pipe"}
    mount = next(line.split()[0] for line in said if " /dev " in line)
    assert said[-1].split() == ["mnt_id:", mount]


def test_the_environment_of_an_exec_is_the_containers_and_its_own(engine: Engine, sleeper: Sleeper) -> None:
    """Nothing of client, daemon or supervisor."""
    name = sleeper("--hostname", "box", "-e", "A=1", "-e", "B=2")
    said = engine.ok("exec", "-e", "B=3", "-e", "C=4", name, "cat", "/proc/self/environ", env={"LEAK": "1"})
    assert said.rstrip("\0").split("\0") == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=box", "A=1", "B=3", "C=4",
        "HOME=/root"]


def test_limits_and_groups_of_an_exec_are_the_containers(engine: Engine, sleeper: Sleeper) -> None:
    """As the first process has them."""
    name = sleeper()
    for file in ("limits", "oom_score_adj", "cgroup", "sessionid", "loginuid"):
        said = engine.cli("exec", name, "cat", f"/proc/1/{file}", f"/proc/self/{file}")
        if said.code == 0:
            first, more = said.out[:len(said.out) // 2], said.out[len(said.out) // 2:]
            assert first == more, file


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
def test_no_door_into_the_kernel_is_open_for_an_exec(engine: Engine, python: str, sleeper: Sleeper) -> None:
    """The filter is the container's, through every way in; so are devices, masks and read-only files."""
    name = sleeper(image=python)
    calls = {what: (number,) for what, number in REFUSED.items()}
    told = _look(engine, name, "doors", json.dumps({"native": calls, "x32": calls, "i386": {"getpid": (20,)}}))
    assert set(told["native"].values()) == {"EPERM"}
    assert set(told["x32"].values()) == {"ENOSYS"}
    seen = _look(engine, name, "kernel")
    assert seen["writable"] == []
    assert set(seen["hidden"].values()) == set(seen["sys"].values()) == {0}
    assert seen["dev"] == DEVICES


def test_privileged_is_more_rights_and_no_more_host(engine: Engine, sleeper: Sleeper) -> None:
    """All capabilities that the engine has and no filter; still the container's namespaces, root and devices."""
    name = sleeper()
    more = status(engine.ok("exec", "--privileged", name, "cat", "/proc/self/status"))
    ours = status(Path("/proc/self/status").read_text())
    assert (more["CapEff"], more["CapBnd"]) == (ours["CapEff"], ours["CapBnd"])
    assert (more["CapInh"], more["CapAmb"], more["Seccomp"], more["NoNewPrivs"]) == ("0" * 16, "0" * 16, "0", "0")
    user = status(engine.ok("exec", "--privileged", "-u", "nobody", name, "cat", "/proc/self/status"))
    assert (user["CapEff"], user["CapPrm"]) == ("0" * 16, "0" * 16)
    spaces = [engine.ok("exec", *options, name, "sh", "-c", "for n in /proc/self/ns/*; do readlink $n; done")
              for options in ((), ("--privileged",))]
    assert spaces[0] == spaces[1]
    assert engine.cli("exec", "--privileged", name, "sh", "-c", "mknod /sd b 8 0; mknod /mem c 1 1; cat /mem").code != 0
    plain = status(engine.ok("exec", name, "cat", "/proc/self/status"))
    assert plain["CapEff"] == "00000000a80425fb", "it was for that one exec"


@pytest.fixture
def spy(engine: Engine, python: str) -> Callable[[], Any]:
    """A container whose first process looks into all others; call it for what it has seen."""
    code = (INSIDE / "spy.py").read_text()
    engine.ok("run", "-d", "--name", "spy", python, prober.interpreter(), "-I", "-S", "-c", code)
    until(lambda: engine.cli("exec", "spy", "ls", "/ready").code == 0, "it looks")

    def told() -> Any:
        engine.ok("exec", "spy", "touch", "/stop")
        until(lambda: engine.state("spy") == "exited", "it has ended")
        return json.loads(engine.ok("logs", "spy"))

    return told


def test_a_hostile_container_learns_nothing_while_an_exec_is_made(engine: Engine, spy: Callable[[], Any]) -> None:
    """It looks at the half-built process, which is a copy of the engine's, and sees neither program nor memory nor
    environment nor descriptors nor directories of it (the class of CVE-2016-9962)."""
    for options in 10 * ((), ("-t",), ("--privileged",), ("-u", "nobody")):
        engine.ok("exec", "-e", "MINE=1", *options, "spy", "true")
    seen = spy()
    found = seen["found"]
    assert sum(seen["looks"].values()), "it has looked at something"
    assert "opened" not in found
    assert set(found.get("exe", [])) <= {"/bin/busybox", prober.interpreter()}
    assert set(found.get("root", [])) | set(found.get("cwd", [])) <= {"/"}
    assert {path for path in found.get("maps", []) if not path.startswith("[")} <= {"/bin/busybox"}
    assert {target.partition(":")[0] for target in found.get("fd", [])} <= {"pipe", "/dev/pts/0", "/stop"}
    names = {entry.partition("=")[0] for text in found.get("environ", []) for entry in text.split("\0") if entry}
    assert names <= {"PATH", "HOSTNAME", "HOME", "MINE", "TERM"}


OTHERS = "swordfish-of-another-container"


def test_a_container_that_may_trace_gets_nothing_by_an_exec_that_it_has_not(engine: Engine, python: str) -> None:
    """With CAP_SYS_PTRACE it takes hold of the process that an exec is about to become, before that has executed
    anything: it has no right, no descriptor, no page of the engine's, and no secret of other containers (the class of
    CVE-2016-9962). What ends so is reaped all the same."""
    code = (INSIDE / "tracer.py").read_text()
    engine.ok("run", "-d", "--name", "other", "-e", f"SECRET={OTHERS}", "busybox", "sleep", "1000000")
    engine.ok("run", "-d", "--name", "tracer", "--cap-add", "SYS_PTRACE", "--health-cmd", "true", "--health-interval",
              "100ms", python, prober.interpreter(), "-I", "-S", "-c", code, OTHERS)
    until(lambda: engine.cli("exec", "tracer", "ls", "/ready").code == 0, "it waits")
    for options in 10 * ((), ("-t",), ("-u", "nobody"), ("-i",)):
        engine.ok("exec", "other", "true")
        engine.ok("exec", *options, "tracer", "true")
    engine.ok("exec", "tracer", "touch", "/stop")
    until(lambda: engine.state("tracer") == "exited", "it has ended")
    seen = json.loads(engine.ok("logs", "tracer"))
    assert seen["caught"] >= 40, seen
    assert seen["halted"] >= 40, seen
    assert "/memfd:lading-report (deleted)" in seen["files"], "it has looked at a half-built process"
    assert {path for path in seen["files"] if not path.startswith("[")} <= {
        "/memfd:lading-report (deleted)", "/bin/busybox"}
    assert (seen["powers"], seen["secrets"], _opened(seen)) == ([], [], [])


def test_a_container_that_may_trace_gets_nothing_of_guests_that_are_made_in_its_sight(engine: Engine,
                                                                                    python: str) -> None:
    """Whoever joins its processes with `--pid container:` is set up out of its sight as well."""
    code = (INSIDE / "tracer.py").read_text()
    engine.ok("run", "-d", "--name", "other", "-e", f"SECRET={OTHERS}", "busybox", "sleep", "1000000")
    engine.ok("run", "-d", "--name", "tracer", "--cap-add", "SYS_PTRACE", python, prober.interpreter(), "-I", "-S",
              "-c", code, OTHERS)
    until(lambda: engine.cli("exec", "tracer", "ls", "/ready").code == 0, "it waits")
    for options in 5 * ((), ("-t",), ("--read-only",), ("--init",)):
        engine.ok("run", "--rm", "--pid", "container:tracer", *options, "busybox", "true")
    engine.ok("exec", "tracer", "touch", "/stop")
    until(lambda: engine.state("tracer") == "exited", "it has ended")
    seen = json.loads(engine.ok("logs", "tracer"))
    assert "/memfd:lading-report (deleted)" in seen["files"], "it has looked at a half-built process"
    assert {path for path in seen["files"] if not path.startswith("[")} <= {
        "/memfd:lading-report (deleted)", "/bin/busybox", "/sbin/lading-init"}
    assert (seen["powers"], seen["secrets"], _opened(seen)) == ([], [], [])


def _opened(seen: dict[str, Any]) -> list[str]:
    """What the tracer has opened, without the file of its own by which the last exec tells it to end."""
    return [path for path in seen["opened"] if path != "/stop"]


def test_a_process_without_a_parent_in_its_container_does_not_keep_it(engine: Engine, python: str) -> None:
    """An exec may give birth to its own siblings: children of the engine, which nobody there has asked for."""
    engine.ok("run", "-d", "--name", "stay", python, "sleep", "1000000")
    code = ("import ctypes, os, time; s = ctypes.CDLL(None).syscall; "
            f"s({56 if os.uname().machine == 'x86_64' else 220}, 0x8000, 0, 0, 0, 0) or os._exit(0); time.sleep(0.2)")
    engine.ok("exec", "stay", prober.interpreter(), "-I", "-S", "-c", code)
    engine.ok("rm", "-f", "stay", timeout=QUICK)
    assert engine.groups() == {}


def _shell(engine: Engine, name: str, script: str) -> None:
    engine.ok("exec", name, "sh", "-c", script)


@pytest.mark.parametrize("trap", [
    "rm /etc/passwd; mkfifo /etc/passwd", "rm /etc/passwd; ln -s /dev/zero /etc/passwd",
    "rm /etc/passwd; ln -s /proc/self/mem /etc/passwd", "rm /etc/passwd; mknod /etc/passwd c 1 5",
    "dd if=/dev/zero of=/etc/passwd bs=1M count=60", "rm -r /etc/passwd; mkdir /etc/passwd",
    "rm /etc/passwd; ln -s passwd /etc/passwd", "rm /etc/group; mkfifo /etc/group",
])
def test_a_container_cannot_hang_an_exec_by_its_account_files(engine: Engine, sleeper: Sleeper, trap: str) -> None:
    """They are read like those of a hostile image: as far as they are files, and no further than is decent."""
    name = sleeper()
    _shell(engine, name, trap)
    begun = time.monotonic()
    assert engine.cli("exec", "-u", "nosuchuser", name, "true", timeout=QUICK).code != 0
    more = status(engine.ok("exec", "-u", "7:8", name, "cat", "/proc/self/status", timeout=QUICK))
    assert (more["Uid"], more["Groups"]) == ("7 7 7 7", "8")
    assert time.monotonic() - begun < QUICK


@pytest.mark.parametrize("trap", [
    "mkfifo /dev/null", "ln -s /etc/passwd /dev/null", "touch /dev/null", "mknod /dev/null c 1 5",
    "mknod /dev/null b 8 0", "ln -s zero /dev/null", "mkdir /dev/null", "true",
])
def test_a_null_device_that_is_none_is_not_used(engine: Engine, sleeper: Sleeper, trap: str) -> None:
    """Neither is the host's, which is not touched; an exec that needs none works."""
    host = os.stat("/dev/null")
    name = sleeper()
    _shell(engine, name, f"rm /dev/null; {trap}")
    assert "null device" in engine.refused("exec", "-d", name, "true", code=1)
    assert engine.ok("exec", "-t", name, "echo", "fine").strip() == "fine"
    after = os.stat("/dev/null")
    assert (host.st_mode, host.st_uid, host.st_rdev) == (after.st_mode, after.st_uid, after.st_rdev)


@pytest.mark.parametrize(("options", "command", "code"), [
    (("-w", "/proc/self/fd/4"), "true", 127), (("-w", "/proc/self/fd/5"), "true", 127),
    (("-w", "/proc/1/root"), "true", 126), (("-w", "/proc/self/cwd"), "true", 127), (("-w", "/escape"), "true", 127),
    ((), "/proc/self/exe", 127), ((), "/proc/self/fd/4", 127), ((), "/script", 126), ((), "/link", 127),
    ((), "/proc/1/exe", 126),
])
def test_no_path_of_an_exec_leads_to_the_engine(engine: Engine, sleeper: Sleeper, options: tuple[str, ...],
                                                command: str, code: int) -> None:
    """Neither a directory nor a program is reached through a magic link (CVE-2024-21626, CVE-2019-5736)."""
    name = sleeper()
    _shell(engine, name, "ln -s /proc/self/exe /link; ln -s /proc/self/fd/4 /escape; "
           "printf '#!/proc/self/exe\\n' >/script; chmod +x /script")
    done = engine.cli("exec", *options, name, command, timeout=QUICK)
    assert done.code == code or (command == "/script" and done.code != 0), done
    assert "python" not in (done.out + done.err).lower()


def test_a_container_that_ends_in_the_middle_of_execs_leaves_nothing(engine: Engine, sleeper: Sleeper) -> None:
    """No process, no group, whatever half-built processes there were."""
    for _ in range(3):
        name = sleeper()
        for _ in range(4):
            engine.ok("exec", "-d", name, "sh", "-c", "while :; do :; done")
        engine.ok("rm", "-f", name)
        assert engine.groups() == {}


def _look(engine: Engine, name: str, program: str, *arguments: str) -> Any:
    code = (INSIDE / f"{program}.py").read_text()
    return json.loads(engine.ok("exec", name, prober.interpreter(), "-I", "-S", "-c", code, *arguments))
