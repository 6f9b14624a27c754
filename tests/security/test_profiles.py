"""Filters for system calls that users bring, capabilities and new rights: what a wish for less (or more) confinement
really gives, and what comes of one that makes no sense."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue
from domain.runtime import profile
from tests.examples import examples
from tests.security import prober
from tests.security.conftest import Look
from tests.tutorial.engine import Engine, until

MACHINES = ("x86_64", "aarch64")
X86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
ALLOW, REFUSE = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"

_actions = st.sampled_from([ALLOW, REFUSE, "SCMP_ACT_KILL", "SCMP_ACT_TRACE", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "X", 5,
                            None])
_junk: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=2), st.just({}))
_conditions = st.fixed_dictionaries({}, optional={
    "index": st.integers(-1, 7) | _junk,
    "value": st.integers(-1, 2**65) | _junk,
    "valueTwo": st.integers(0, 2**64) | _junk,
    "op": st.sampled_from(["SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_GE", "x", 1]),
})
_cases = st.fixed_dictionaries({}, optional={
    "caps": st.lists(st.sampled_from(["CAP_SYS_ADMIN", "CAP_X", ""]), max_size=2),
    "minKernel": st.sampled_from(["4.8", "99.1", "x", "4", "4.8.1"]),
})
_rules = st.fixed_dictionaries({"action": _actions}, optional={
    "names": st.lists(st.sampled_from(["mkdir", "read", "socket", "nosuch", "", "x" * 300]), max_size=4) | _junk,
    "name": st.just("kill") | _junk,
    "args": st.lists(_conditions, max_size=8) | _junk,
    "errnoRet": st.integers(-1, 70_000) | _junk,
    "includes": _cases | _junk,
    "excludes": _cases | _junk,
})
_architecture = st.fixed_dictionaries({"architecture": st.just("SCMP_ARCH_X86_64") | _junk})
_profiles = st.fixed_dictionaries({"defaultAction": _actions}, optional={
    "syscalls": st.lists(_rules, max_size=12) | _junk,
    "architectures": st.lists(st.text(max_size=5), max_size=2) | _junk,
    "archMap": st.lists(_architecture, max_size=2) | _junk,
    "defaultErrnoRet": st.integers(-1, 5000) | _junk,
})


def rule(names: list[str], *conditions: tuple[int, int, str]) -> dict[str, Any]:
    """One that is meant to be the exception from the default."""
    args = [{"index": index, "value": value, "op": f"SCMP_CMP_{operator}"} for index, value, operator in conditions]
    return {"names": names, "args": args}


@examples(300, unchecked=True)
@given(document=_profiles | _junk, machine=st.sampled_from(MACHINES), held=st.integers(0, 2**41 - 1))
@pytest.mark.slow
def test_every_profile_is_a_filter_or_refused(document: Any, machine: str, held: int) -> None:
    """With a reason, whatever stands in it."""
    with suppress(InvalidValue):
        assert len(profile.program(json.dumps(document), machine, held, "6.1.0")) % 8 == 0


@pytest.mark.slow
@pytest.mark.parametrize("rules", [
    [rule(["mkdir"], (0, number, "EQ")) for number in range(1500)],
    [rule(["mkdir", "read", "write", "open"] * 500, *((index, 2**63, "GT") for index in range(6)))] * 8,
    [rule(["mkdir"], *((0, number, "EQ") for number in range(900)))],
], ids=["many rules", "many names", "many conditions"])
def test_a_profile_that_is_too_large_is_refused_and_not_cut(rules: list[dict[str, Any]]) -> None:
    """The kernel takes 4096 instructions, and jumps in them reach 255 far."""
    for default, exception in ((ALLOW, REFUSE), (REFUSE, ALLOW)):
        wished = [{**one, "action": exception} for one in rules]
        made = outcome({"defaultAction": default, "syscalls": wished})
        assert made.startswith("invalid seccomp profile: it ") or int(made) <= profile.LARGEST


def outcome(document: Any) -> str:
    """How many instructions a profile makes, or why none."""
    try:
        return str(len(profile.program(json.dumps(document), "x86_64", 0, "6.1.0")) // 8)
    except InvalidValue as error:
        return error.message


@pytest.fixture
def profile_of(tmp_path: Path) -> Any:
    """A file with a profile; the option that names it."""

    def write(document: Any) -> str:
        (tmp_path / "profile.json").write_text(document if isinstance(document, str) else json.dumps(document))
        return f"seccomp={tmp_path}/profile.json"

    return write


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.parametrize("text", [
    "", "{", "null", "[]", "5", '"x"', "{}", '{"defaultAction": "SCMP_ACT_ALLO"}', "[" * 100_000, '{"a":' * 50_000,
    '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {}}', '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [5]}',
    '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_KILL"}]}', "\xff", "\x00",
    '{"defaultAction": "SCMP_ACT_NOTIFY"}', "x" * 1_000_000, '{"defaultAction": NaN}', '{"defaultAction": "\\ud800"}',
], ids=range(19))
def test_a_profile_that_makes_no_sense_is_refused_in_one_line(engine: Engine, profile_of: Any, text: str) -> None:
    """And not taken for none."""
    done = engine.cli("run", "--rm", "--security-opt", profile_of(text), "busybox", "true")
    assert (done.code, done.out) == (125, ""), done
    assert "internal" not in done.err


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--security-opt", "no-new-privileges")], ids=["", "no-new-privileges"])
@pytest.mark.parametrize("call", ["setresuid", "setresgid", "setgroups", "capset", "prctl", "chdir", "getcwd",
                                  "openat2"])
@pytest.mark.parametrize("answer", [1, 38])
def test_a_profile_that_forbids_what_the_engine_does_last_leaves_nobody_with_too_much(
    engine: Engine, profile_of: Any, call: str, answer: int, more: tuple[str, ...]
) -> None:
    """The container starts as the user it was wished for, or not at all."""
    forbidden = {"defaultAction": ALLOW, "syscalls": [{"names": [call], "action": REFUSE, "errnoRet": answer}]}
    done = engine.cli("run", "--rm", "-u", "7:8", "--security-opt", profile_of(forbidden), *more, "busybox", "sh", "-c",
                      "grep -E '^(Uid|Gid|Groups|CapEff|CapPrm)' /proc/self/status")
    if done.code == 0:
        none = "0" * 16
        assert done.out.split() == ["Uid:", *"7777", "Gid:", *"8888", "Groups:", "8", "CapPrm:", none, "CapEff:", none]
    else:
        assert done.code in (125, 126), done
        assert done.out == ""


@X86
@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.parametrize("options", [("--cap-add", "SYS_ADMIN"), ("--cap-add", "ALL"), ("--cap-add", "SYS_PTRACE"),
                                     ("--cap-drop", "ALL"), ("--security-opt", "no-new-privileges")], ids=" ".join)
def test_with_other_capabilities_the_other_doors_stay_closed(look: Look, options: tuple[str, ...]) -> None:
    """The filter lets through what a capability is for, by the native numbers; kernel modules of the host, its crypto
    sockets and the numbers of x32 are for nobody who did not ask."""
    calls = {"kexec_file_load": (320,), "add_key": (248,), "userfaultfd": (323,), "io_uring_setup": (425,),
             "uselib": (134,), "_sysctl": (156,), "crypto": (41, 38, 5)}
    told = look("doors", json.dumps({"native": calls, "x32": {**calls, "getpid": (39,)}}), options=options)
    opened = {name for name, said in told["native"].items() if said != "EPERM"}
    assert opened <= ({"kexec_file_load"} if "ALL" in options and "--cap-add" in options else set())
    assert set(told["x32"].values()) == {"ENOSYS"}


@pytest.mark.kernel
@pytest.mark.slow
def test_a_program_with_the_bit_of_root_gives_nothing_where_that_was_asked_for(engine: Engine, python: str) -> None:
    """`no-new-privileges`, for the first process and for an exec; without it, it does."""
    program = prober.interpreter()
    ask = ("-I", "-S", "-c", "import os; print(*os.getresuid())")
    for name, more, ids in (("strict", ("--security-opt", "no-new-privileges"), "7 7 7"), ("loose", (), "7 0 0")):
        script = f"chmod 755 /root; chmod 4755 {program}; touch /ok; exec sleep 1000"
        engine.ok("run", "-d", "--name", name, *more, python, "sh", "-c", script)
        until(lambda name=name: engine.cli("exec", name, "ls", "/ok").code == 0, "it is prepared")  # type: ignore[misc]
        assert engine.ok("exec", "-u", "7:8", name, program, *ask) == ids
