"""What the first process of a container has got from the engine, compared with fixed tables."""

from pathlib import Path

import pytest

from tests.security.conftest import Look
from tests.tutorial.engine import Engine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

ALL = "00000000a80425fb"
NO_PACKETS = "00000000a80405fb"  # without NET_RAW
NONE = "0000000000000000"
STATUS = {
    "Pid": "1", "PPid": "0", "TracerPid": "0", "Umask": "0022", "NSpid": "1", "NSsid": "1", "Threads": "1",
    "SigPnd": NONE, "ShdPnd": NONE, "SigBlk": NONE, "SigIgn": NONE, "SigCgt": NONE,
    "CapInh": NONE, "CapAmb": NONE, "NoNewPrivs": "0", "Seccomp": "2", "Seccomp_filters": "1",
}
ROOT = {"Uid": "0 0 0 0", "Gid": "0 0 0 0", "Groups": "0", "CapPrm": ALL, "CapEff": ALL, "CapBnd": ALL}
NOBODY = {"Uid": "65534 65534 65534 65534", "Gid": "65534 65534 65534 65534", "Groups": "65534",
          "CapPrm": NONE, "CapEff": NONE, "CapBnd": ALL}
ON_HOST = {**ROOT, "CapPrm": NO_PACKETS, "CapEff": NO_PACKETS, "CapBnd": NO_PACKETS}
PROCESS = {
    "pid": 1, "session": 1, "group": 1, "cwd": "/", "umask": 0o022, "ids": [0] * 6, "groups": [0], "nice": 0,
    "policy": 0, "parent_death_signal": 0, "subreaper": 0, "dumpable": 1, "keepcaps": 0, "securebits": 0,
    "no_new_privs": 0, "personality": 0,
}


@pytest.mark.parametrize(("options", "expected"), [
    ((), ROOT), (("--user", "nobody"), NOBODY), (("--network", "host"), ON_HOST), (("--read-only",), ROOT),
])
def test_the_kernel_says_of_the_first_process_exactly_this(engine: Engine, options: tuple[str, ...],
                                                          expected: dict[str, str]) -> None:
    """Signals, ids, capabilities and filter, in the words of /proc/1/status.

    CVE-2016-8867, CVE-2018-10856, CVE-2021-20188, CVE-2022-24769, CVE-2022-27649, CVE-2022-27650,
    GHSA-c9cp-9c75-9v8c, CVE-2022-36109, CVE-2022-2989, CVE-2023-25173.
    """
    said = engine.ok("run", "--rm", *options, "busybox", "cat", "/proc/self/status")
    found = {name: " ".join(value.split()) for name, _, value in (line.partition(":") for line in said.splitlines())}
    wanted = {**STATUS, **expected}
    assert {name: found[name] for name in wanted} == wanted


def test_nothing_that_python_or_the_engine_had_set_is_left(look: Look) -> None:
    """What only the process itself can ask for."""
    assert look("first") == PROCESS


def test_the_first_process_has_three_descriptors(engine: Engine) -> None:
    """A fourth is the listing itself; a leaked directory would be the host.

    CVE-2015-3627.
    """
    said = engine.ok("run", "--rm", "busybox", "ls", "-l", "/proc/self/fd").splitlines()
    targets = {line.split()[8]: line.split()[-1] for line in said if "->" in line}
    assert targets.pop("0") == "/dev/null"
    assert {name: target.partition(":")[0] for name, target in targets.items()} == {"1": "pipe", "2": "pipe"}


def test_the_environment_is_that_of_image_and_command_line(engine: Engine) -> None:
    """Neither the client's, nor the daemon's, nor the supervisor's."""
    said = engine.ok("run", "--rm", "--hostname", "box", "-e", "A=1", "busybox", "cat", "/proc/self/environ",
                     env={"LEAK": "1", "PYTHONPATH": "/x", "LD_PRELOAD": ""})
    assert said.rstrip("\0").split("\0") == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=box", "A=1", "HOME=/root"]


def test_limits_and_the_oom_score_are_not_the_engines_own(engine: Engine) -> None:
    """The engine protects itself, not the container; limits are those of the daemon."""
    assert engine.ok("run", "--rm", "busybox", "cat", "/proc/self/oom_score_adj") == "0"
    inside = engine.ok("run", "--rm", "busybox", "cat", "/proc/self/limits")
    daemon = engine.processes()["daemon"]
    assert inside.split() == Path(f"/proc/{daemon}/limits").read_text().split()


def test_the_control_groups_begin_at_the_container(engine: Engine) -> None:
    """No path of the host, in no hierarchy."""
    said = engine.ok("run", "--rm", "busybox", "cat", "/proc/self/cgroup").splitlines()
    assert {line.split(":", 2)[2] for line in said} == {"/"}
