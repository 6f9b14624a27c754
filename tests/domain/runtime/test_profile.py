"""Profiles that users bring: read strictly, compiled to what they say, for every way into the kernel."""

import json
from collections.abc import Callable
from errno import ENOSYS, EPERM
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue
from domain.runtime import bpf, capabilities, profile
from domain.runtime.seccomp import AUDIT_ARCH_AARCH64, AUDIT_ARCH_I386, AUDIT_ARCH_X86_64
from domain.runtime.syscall_numbers import AARCH64, I386, X86_64
from tests.domain.runtime.bpf_machine import run

NO, UNKNOWN = bpf.ERRNO | EPERM, bpf.ERRNO | ENOSYS
BOTH = [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}]
WORDS = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1]))
MEANING: dict[str, Callable[[int, int, int], bool]] = {
    "SCMP_CMP_NE": lambda have, value, _: have != value, "SCMP_CMP_LT": lambda have, value, _: have < value,
    "SCMP_CMP_LE": lambda have, value, _: have <= value, "SCMP_CMP_EQ": lambda have, value, _: have == value,
    "SCMP_CMP_GE": lambda have, value, _: have >= value, "SCMP_CMP_GT": lambda have, value, _: have > value,
    "SCMP_CMP_MASKED_EQ": lambda have, mask, wanted: have & mask == wanted & mask,
}


def text(*rules: dict[str, Any], default: str = "SCMP_ACT_ERRNO", **more: Any) -> str:
    """A profile of these rules."""
    return json.dumps({"defaultAction": default, "archMap": BOTH, "syscalls": rules, **more})


def ask(written: str, name: str, *arguments: int, architecture: int = AUDIT_ARCH_X86_64,
        held: int = capabilities.DEFAULT, release: str = "6.1.0") -> int:
    """What a call gets under a profile; a name of the table of `architecture`."""
    machine = "aarch64" if architecture == AUDIT_ARCH_AARCH64 else "x86_64"
    numbers = {AUDIT_ARCH_X86_64: X86_64, AUDIT_ARCH_I386: I386, AUDIT_ARCH_AARCH64: AARCH64}[architecture]
    code = profile.compiled(profile.parse(written), machine, held, release)
    return run(code, numbers[name], architecture, *arguments)


@given(operator=st.sampled_from(sorted(MEANING)), index=st.integers(0, 5), value=WORDS, second=WORDS, have=WORDS,
       close=st.integers(-1, 1))
def test_conditions_compare_all_64_bits_of_any_argument(
    operator: str, index: int, value: int, second: int, have: int, close: int
) -> None:
    """A filter that looks at half of an argument can be deceived with the other half."""
    written = text({"names": ["ioctl"], "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": index, "value": value, "valueTwo": second, "op": operator}]})
    for argument in (have, (value + close) % 2**64, second):
        arguments = [0] * index + [argument]
        wanted = bpf.ALLOW if MEANING[operator](argument, value, second) else NO
        assert ask(written, "ioctl", *arguments) == wanted


def test_conditions_on_different_arguments_must_all_hold_and_those_on_the_same_one_each_suffice() -> None:
    """As the industry's runtime reads them."""
    both = text({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [
        {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 1, "op": "SCMP_CMP_EQ"}]})
    either = text({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [
        {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 10, "op": "SCMP_CMP_EQ"}]})
    assert [ask(both, "socket", *arguments) for arguments in ((2, 1), (2, 2), (3, 1))] == [bpf.ALLOW, NO, NO]
    assert [ask(either, "socket", family) for family in (2, 10, 11)] == [bpf.ALLOW, bpf.ALLOW, NO]


def test_the_first_rule_of_a_call_that_fits_counts() -> None:
    """And the default if none does; rules that only repeat the default do not stand in the way."""
    written = text(
        {"names": ["mount"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13,
         "args": [{"index": 0, "value": 7, "op": "SCMP_CMP_EQ"}]},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW"},
        {"name": "mount", "action": "SCMP_ACT_KILL_PROCESS"})
    assert [ask(written, "mount", first) for first in (7, 8)] == [bpf.ERRNO | 13, bpf.ALLOW]
    assert ask(written, "umount2") == NO


@pytest.mark.parametrize(("action", "data", "answer"), [
    ("SCMP_ACT_ALLOW", None, bpf.ALLOW), ("SCMP_ACT_ERRNO", 38, UNKNOWN), ("SCMP_ACT_KILL", None, 0),
    ("SCMP_ACT_KILL_THREAD", None, 0), ("SCMP_ACT_KILL_PROCESS", None, 0x80000000),
    ("SCMP_ACT_TRAP", None, 0x30000), ("SCMP_ACT_LOG", None, 0x7FFC0000), ("SCMP_ACT_TRACE", 5, 0x7FF00005),
])
def test_every_action_has_its_answer(action: str, data: int | None, answer: int) -> None:
    """The kernel's numbers."""
    assert ask(text({"names": ["swapon"], "action": action, "errnoRet": data}), "swapon") == answer


def test_every_door_answers_what_the_profile_says_or_has_no_calls() -> None:
    """int 0x80 by its own numbers where the profile lists it; x32 never, also where all is allowed by default: a number
    there is a second way to a call that a list refuses."""
    closed = text({"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}, default="SCMP_ACT_ALLOW")
    alone = text(default="SCMP_ACT_ALLOW", archMap=[])
    for written in (closed, alone):
        code = profile.compiled(profile.parse(written), "x86_64", 0, "6.1")
        assert run(code, 0x40000000 | X86_64["mount"], AUDIT_ARCH_X86_64) == UNKNOWN
    assert ask(closed, "mount", architecture=AUDIT_ARCH_I386) == bpf.ERRNO | 13
    assert ask(closed, "umount2", architecture=AUDIT_ARCH_I386) == bpf.ALLOW
    assert ask(alone, "umount2", architecture=AUDIT_ARCH_I386) == UNKNOWN
    assert ask(alone, "umount2", architecture=AUDIT_ARCH_AARCH64) == bpf.ALLOW


def test_numbers_without_a_name_do_not_exist_unless_the_default_opens_all() -> None:
    """Libraries fall back on ENOSYS only."""
    for default, answer in (("SCMP_ACT_ERRNO", UNKNOWN), ("SCMP_ACT_ALLOW", bpf.ALLOW), ("SCMP_ACT_KILL", 0)):
        code = profile.compiled(profile.parse(text(default=default)), "x86_64", 0, "6.1")
        assert run(code, 5000, AUDIT_ARCH_X86_64) == answer


def test_rules_come_and_go_with_capabilities_machines_and_kernels() -> None:
    """`includes` must all hold, none of `excludes` may."""
    allow = {"action": "SCMP_ACT_ALLOW"}
    written = text(
        {"names": ["mount"], **allow, "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["chroot"], **allow, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["ptrace"], **allow, "includes": {"minKernel": "4.8"}},
        {"names": ["reboot"], **allow, "includes": {"arches": ["s390", "amd64"]}},
        {"names": ["acct"], **allow, "excludes": {"arches": ["amd64"]}})
    admin = capabilities.mask(["SYS_ADMIN"])
    names = ("mount", "chroot", "ptrace", "reboot", "acct")
    assert [ask(written, name, held=admin, release="4.7.9") for name in names] == [bpf.ALLOW, NO, NO, bpf.ALLOW, NO]
    assert [ask(written, name, held=0, release="4.10-x") for name in names] == [NO, bpf.ALLOW, bpf.ALLOW, bpf.ALLOW, NO]
    assert ask(written, "acct", held=0, architecture=AUDIT_ARCH_AARCH64) == bpf.ALLOW


@pytest.mark.parametrize(("written", "why"), [
    ("", "no JSON"), ("[]", "no object"), ("[" * 100_000, "no JSON"), ("{}", "defaultAction"),
    (text(default="SCMP_ACT_NOTIFY"), "defaultAction"), (text(default="SCMP_ACT_MAYBE"), "MAYBE"),
    (text({"names": [], "action": "SCMP_ACT_ALLOW"}), "names no"), (text({"names": ["read"]}), "action of read"),
    (text({"names": [3], "action": "SCMP_ACT_ALLOW"}), "names"), (json.dumps({"defaultAction": "SCMP_ACT_ALLOW",
     "syscalls": 3}), "syscalls"),
    (text({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000}), "5000"),
    (text({"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}), "read"),
    (text({"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": -1}]}), "read"),
    (text({"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_NONSENSE"]}}), "NONSENSE"),
    (text({"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "six"}}), "six"),
    (" " * profile.LONGEST + "{}", "longer"),
])
def test_what_is_no_profile_is_refused_in_one_line(written: str, why: str) -> None:
    """Never half understood: a rule that is skipped is a hole."""
    with pytest.raises(InvalidValue, match=why) as caught:
        profile.parse(written)
    assert "\n" not in caught.value.message


@given(st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)), lambda inner: st.one_of(
    st.lists(inner, max_size=3),
    st.dictionaries(st.sampled_from(["defaultAction", "syscalls", "names", "args", "action", "archMap"]), inner))))
def test_anything_else_is_refused_or_read(document: Any) -> None:
    """Whatever JSON it is."""
    try:
        profile.parse(json.dumps(document))
    except InvalidValue:
        return


def test_a_profile_too_large_for_the_kernel_is_refused() -> None:
    """Before a container waits for it."""
    many = [{"index": 0, "value": value * 2**33, "op": "SCMP_CMP_EQ"} for value in range(1, 1200)]
    with pytest.raises(InvalidValue, match="instructions"):
        profile.program(text({"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": many}), "x86_64", 0, "6.1")
