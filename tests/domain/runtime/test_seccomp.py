"""The default filter, run instruction by instruction: what must be refused is refused through every door."""

from errno import ENOSYS, EPERM
from functools import lru_cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue
from domain.runtime import bpf, capabilities, seccomp
from domain.runtime.seccomp import AUDIT_ARCH_AARCH64, AUDIT_ARCH_I386, AUDIT_ARCH_X86_64
from domain.runtime.syscall_numbers import AARCH64, I386, X86_64
from tests.domain.runtime.bpf_machine import run

DOORS = [
    ("x86_64", AUDIT_ARCH_X86_64, X86_64),
    ("x86_64", AUDIT_ARCH_I386, I386),
    ("aarch64", AUDIT_ARCH_AARCH64, AARCH64),
]
DOOR = st.sampled_from(DOORS)
CAPABILITIES = st.integers(0, 2**41 - 1)
NO, UNKNOWN = bpf.ERRNO | EPERM, bpf.ERRNO | ENOSYS
REFUSED = """
    acct add_key keyctl request_key bpf setns mount umount2 pivot_root open_tree move_mount fsopen fsconfig fsmount
    fspick mount_setattr init_module finit_module delete_module create_module kexec_load kexec_file_load reboot
    swapon swapoff settimeofday clock_settime iopl ioperm perf_event_open userfaultfd io_uring_setup io_uring_enter
    io_uring_register open_by_handle_at lookup_dcookie fanotify_init quotactl quotactl_fd mbind set_mempolicy
    get_mempolicy migrate_pages move_pages kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev
    vhangup syslog nfsservctl sysfs ustat uselib _sysctl unshare sethostname setdomainname
"""


compiled = lru_cache(maxsize=64)(seccomp.default_filter)


def ask(door: tuple[str, int, dict[str, int]], name: str, argument: int = 0, held: int = capabilities.DEFAULT) -> int:
    """What a call gets through a door."""
    machine, architecture, numbers = door
    return run(compiled(machine, held), numbers[name], architecture, argument)


@pytest.mark.parametrize("door", DOORS, ids=["x86_64", "i386", "aarch64"])
def test_calls_against_the_host_are_refused(door: tuple[str, int, dict[str, int]]) -> None:
    """With the default capabilities these reach the host or widen the kernel's surface."""
    answers = {name: ask(door, name) for name in REFUSED.split() if name in door[2]}
    assert set(answers.values()) == {NO}, answers


@given(
    door=DOOR,
    held=CAPABILITIES,
    name=st.sampled_from(sorted(X86_64.keys() | I386.keys() | AARCH64.keys())),
    argument=st.integers(0, 2**32 - 1),
)
def test_the_compiled_filter_is_the_profile(
    door: tuple[str, int, dict[str, int]], held: int, name: str, argument: int
) -> None:
    """For any capabilities, name and argument."""
    if name not in door[2]:
        return
    decision = seccomp.decisions(held, door[2])[door[2][name]]
    match decision:
        case bpf.Return(value):
            wanted = value
        case bpf.Check(then, otherwise, values, bits):
            wanted = then if argument in values or argument & bits else otherwise
    assert ask(door, name, argument, held) == wanted


@pytest.mark.slow
@given(door=DOOR, number=st.integers(0, 2**32 - 1), held=CAPABILITIES)
def test_unknown_numbers_do_not_exist(door: tuple[str, int, dict[str, int]], number: int, held: int) -> None:
    """Libraries fall back to older calls on ENOSYS and on nothing else; x32 is a range of unknown numbers."""
    machine, architecture, numbers = door
    if number not in numbers.values():
        assert run(compiled(machine, held), number, architecture) == UNKNOWN
    assert run(compiled("x86_64", held), 0x40000000 | number, AUDIT_ARCH_X86_64) == UNKNOWN


@given(architecture=st.integers(0, 2**32 - 1), number=st.integers(0, 500))
def test_foreign_architectures_have_no_calls(architecture: int, number: int) -> None:
    """Another table has another meaning for each number."""
    for machine, known in (("x86_64", (AUDIT_ARCH_X86_64, AUDIT_ARCH_I386)), ("aarch64", (AUDIT_ARCH_AARCH64,))):
        if architecture not in known:
            assert run(compiled(machine, capabilities.DEFAULT), number, architecture) == UNKNOWN


@given(door=DOOR, flags=st.integers(0, 2**32 - 1))
def test_clone_makes_processes_and_threads_but_no_namespaces(door: tuple[str, int, dict[str, int]], flags: int) -> None:
    """Any new-namespace flag in whatever company; 0x80 is the new time namespace only in clone3."""
    assert ask(door, "clone", flags) == (NO if flags & 0x7E020000 else bpf.ALLOW)
    assert ask(door, "clone3", flags) == UNKNOWN


@given(door=DOOR, family=st.integers(0, 2**32 - 1))
def test_sockets_of_the_kernels_crypto_and_of_the_host_are_refused(
    door: tuple[str, int, dict[str, int]], family: int
) -> None:
    """AF_ALG and AF_VSOCK; the i386 multiplexer cannot make sockets at all, for nobody sees which."""
    assert ask(door, "socket", family) == (NO if family in (38, 40) else bpf.ALLOW)
    if "socketcall" in door[2]:
        assert ask(door, "socketcall", family) == (UNKNOWN if family == 1 else bpf.ALLOW)


@given(door=DOOR, persona=st.one_of(st.sampled_from([0, 8, 0x20000, 0x20008, 0xFFFFFFFF]), st.integers(0, 2**32 - 1)))
def test_personalities_are_the_five_harmless_ones(door: tuple[str, int, dict[str, int]], persona: int) -> None:
    """Others switch off address randomisation or emulate ancient systems."""
    harmless = persona in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)
    assert ask(door, "personality", persona) == (bpf.ALLOW if harmless else NO)


@pytest.mark.slow
@given(door=DOOR, held=CAPABILITIES)
def test_a_capability_brings_its_calls(door: tuple[str, int, dict[str, int]], held: int) -> None:
    """And nobody gets them without."""
    for capability, names in seccomp.BY_CAPABILITY.items():
        for name in names & door[2].keys():
            if held >> capabilities.NUMBERS[capability] & 1:
                assert ask(door, name, 0x7E020000, held) == bpf.ALLOW


@pytest.mark.parametrize("door", DOORS, ids=["x86_64", "i386", "aarch64"])
def test_what_the_child_still_calls_is_allowed(door: tuple[str, int, dict[str, int]]) -> None:
    """The filter is loaded before ids and capabilities change, so it must let those through."""
    for name in (
        "prctl",
        "setgroups",
        "setresgid",
        "setresuid",
        "capset",
        "capget",
        "chdir",
        "getcwd",
        "rt_sigprocmask",
        "read",
        "write",
        "close",
        "execve",
        "exit_group",
        "mmap",
        "munmap",
        "brk",
        "futex",
        "fstat",
    ):
        if name in door[2]:
            assert ask(door, name) == bpf.ALLOW


def test_every_name_of_the_profile_is_a_call() -> None:
    """A misspelt name would silently not be allowed."""
    known = X86_64.keys() | I386.keys() | AARCH64.keys()
    named = seccomp.ALLOWED.union(*seccomp.BY_CAPABILITY.values()) | seccomp.CHECKED.keys()
    assert not named - known


def test_numbers_are_the_kernels() -> None:
    """Spot checks at both ends of each sequence and around the gaps."""
    assert (X86_64["read"], X86_64["pkey_free"], X86_64["statx"], X86_64["rseq"]) == (0, 331, 332, 334)
    assert (I386["exit"], I386["gettid"], I386["exit_group"], I386["socket"], I386["semget"]) == (1, 224, 252, 359, 393)
    assert (AARCH64["io_setup"], AARCH64["openat"], AARCH64["execve"], AARCH64["rseq"]) == (0, 56, 221, 293)
    for table in (X86_64, I386, AARCH64):
        assert (table["pidfd_send_signal"], table["clone3"], table["mseal"], table["file_setattr"]) == (
            424,
            435,
            462,
            469,
        )


def test_an_unknown_machine_is_refused() -> None:
    """A filter for the wrong machine would be no filter."""
    with pytest.raises(InvalidValue):
        seccomp.default_program("riscv64", 0)
