"""What a user may ask for, more or less confinement, is what the kernel then says of the container and its execs."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.security.conftest import Look
from tests.security.test_execs import status
from tests.tutorial.engine import Engine

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
    ("--security-opt", "label=disable"),
], ids=" ".join)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(engine: Engine, options: tuple[str, ...]) -> None:
    """A wish for confinement that is not understood must not be taken for granted."""
    said = engine.cli("run", "--name", "never", *options, "busybox", "true")
    assert said.code == 125
    assert len(said.err.strip().splitlines()) <= 4
    assert "Traceback" not in said.err
    assert engine.cli("inspect", "never").code == 1


def test_inspect_says_what_was_asked_for(engine: Engine) -> None:
    """In the industry's keys, with one spelling."""
    engine.ok("create", "--name", "wished", "--cap-add", "sys_time", "--cap-drop", "mknod", "--security-opt",
              "no-new-privileges", "--security-opt", "seccomp=unconfined", "busybox", "true")
    (told,) = json.loads(engine.ok("inspect", "wished"))
    shown = {name: told["HostConfig"][name] for name in ("CapAdd", "CapDrop", "SecurityOpt")}
    assert shown == {"CapAdd": ["CAP_SYS_TIME"], "CapDrop": ["CAP_MKNOD"],
                     "SecurityOpt": ["no-new-privileges", "seccomp=unconfined"]}
