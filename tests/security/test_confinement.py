"""What a container may ask of the kernel, through every door, as a running engine starts it."""

import errno
import json
import os

import pytest

from tests.security.conftest import Look

pytestmark = [
    pytest.mark.kernel, pytest.mark.slow,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64"),
]

NEW_USER, NEW_MOUNTS, BAD_PERSONALITY, ANY_PERSONALITY = 0x10000000, 0x20000, 0x400000, 0xFFFFFFFF
REFUSED = {
    "acct": 163, "add_key": 248, "request_key": 249, "keyctl": 250, "bpf": 321, "setns": 308, "mount": 165,
    "umount2": 166, "pivot_root": 155, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431,
    "fsmount": 432, "fspick": 433, "mount_setattr": 442, "init_module": 175, "finit_module": 313,
    "delete_module": 176, "kexec_load": 246, "kexec_file_load": 320, "reboot": 169, "swapon": 167, "swapoff": 168,
    "settimeofday": 164, "clock_settime": 227, "iopl": 172, "ioperm": 173, "perf_event_open": 298,
    "userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_by_handle_at": 304, "lookup_dcookie": 212, "fanotify_init": 300, "quotactl": 179, "quotactl_fd": 443,
    "mbind": 237, "set_mempolicy": 238, "get_mempolicy": 239, "migrate_pages": 256, "move_pages": 279, "kcmp": 312,
    "pidfd_getfd": 438, "process_madvise": 440, "process_vm_readv": 310, "process_vm_writev": 311, "vhangup": 153,
    "syslog": 103, "nfsservctl": 180, "sysfs": 139, "ustat": 136, "uselib": 134, "_sysctl": 156,
}
REFUSED_ON_I386 = {
    "acct": 51, "add_key": 286, "request_key": 287, "keyctl": 288, "bpf": 357, "setns": 346, "mount": 21,
    "umount": 22, "umount2": 52, "pivot_root": 217, "fsopen": 430, "init_module": 128, "kexec_load": 283,
    "reboot": 88, "swapon": 87, "settimeofday": 79, "stime": 25, "clock_settime": 264, "clock_settime64": 404,
    "iopl": 110, "ioperm": 101, "perf_event_open": 336, "userfaultfd": 374, "io_uring_setup": 425,
    "open_by_handle_at": 342, "fanotify_init": 338, "quotactl": 131, "mbind": 274, "kcmp": 349,
    "process_vm_readv": 347, "vhangup": 111, "syslog": 103, "sysfs": 135, "ustat": 62, "uselib": 86, "vm86": 166,
}
CLOSER = {
    "new user namespace": (56, NEW_USER | 17), "unshare user": (272, NEW_USER), "unshare mounts": (272, NEW_MOUNTS),
    "kernel crypto": (41, 38, 5), "host sockets": (41, 40, 1), "a personality": (135, BAD_PERSONALITY),
    "kernel crypto behind bits that nobody sees": (41, 1 << 32 | 38, 5),
    "host sockets behind bits that nobody sees": (41, 5 << 40 | 40, 1),
}
CLOSER_ON_I386 = {
    "new user namespace": (120, NEW_USER | 17), "unshare user": (310, NEW_USER), "kernel crypto": (359, 38, 5),
    "host sockets": (359, 40, 1), "a personality": (136, BAD_PERSONALITY),
}
UNKNOWN = {"clone3": (435,), "unknown": (500,), "far above": (0x3FFFFFFF,)}
HARMLESS = {"tcp": (41, 2, 1), "which personality": (135, ANY_PERSONALITY), "getpid": (39,)}
DEVICES = ["core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
           "urandom", "zero"]
OPEN = {"char1:3", "char1:5", "char1:7", "char1:8", "char1:9"}
NEVER_REFUSED_BY_THE_FILTER = {"char5:0", "char5:2"}  # a terminal of one's own, which is not there


def test_no_door_into_the_kernel_leads_out(look: Look) -> None:
    """Through `syscall`, with the numbers of x32, and through int 0x80: refused, or unknown so that libraries fall
    back; what everybody needs works. The kernel looks at half of a number that says the family of a socket, and
    elsewhere a filter looked at all of it, or not at all of the ways (CVE-2026-123876).

    CVE-2022-0185, CVE-2026-31431.
    """
    native = {name: (number,) for name, number in REFUSED.items()} | CLOSER
    old = {name: (number,) for name, number in REFUSED_ON_I386.items()} | CLOSER_ON_I386
    asked = {"native": native | UNKNOWN | HARMLESS, "x32": native | HARMLESS,
             "i386": old | {"clone3": (435,), "unknown": (500,), "socketcall": (102, 1), "getpid": (20,)}}
    told = look("doors", json.dumps(asked))
    assert {name: told["native"][name] for name in native} == dict.fromkeys(native, "EPERM")
    assert {name: told["native"][name] for name in UNKNOWN} == dict.fromkeys(UNKNOWN, "ENOSYS")
    assert {name: told["native"][name] for name in HARMLESS} == dict.fromkeys(HARMLESS, "ok")
    assert set(told["x32"].values()) == {"ENOSYS"}
    assert {name: told["i386"][name] for name in old} == dict.fromkeys(old, "EPERM")
    assert [told["i386"][name] for name in ("clone3", "unknown", "socketcall")] == ["ENOSYS"] * 3
    assert told["i386"]["getpid"] == "ok"


def test_devices_and_kernel_files_of_the_host_stay_closed(look: Look) -> None:
    """Each device the kernel has, as a node made inside; each file below what is read-only; each hidden file.

    CVE-2015-3630, CVE-2017-16539, CVE-2018-10892, GHSA-7ww5-4wqc-m92c, GHSA-g54h-m393-cpwq.
    """
    told = look("kernel")
    assert set(told["nodes"]) - NEVER_REFUSED_BY_THE_FILTER == OPEN
    assert not {answer for name in NEVER_REFUSED_BY_THE_FILTER for answer in told["nodes"].get(name, [])} & {"ok"}
    assert told["dev"] == DEVICES
    assert told["writable"] == []
    assert told["sysrq"] in (errno.errorcode[errno.EROFS], errno.errorcode[errno.ENOENT])
    assert set(told["hidden"].values()) == {0}
    assert set(told["sys"].values()) == {0}


def test_kernel_file_systems_are_mounted_without_devices_programs_or_set_ids(look: Look) -> None:
    """And where the container must not write, read-only."""
    for _, target, kind, options in look("kernel")["mounts"]:
        words = set(options.split(","))
        if kind in ("proc", "sysfs", "mqueue", "cgroup", "cgroup2") or target == "/dev/shm":
            assert {"nosuid", "nodev", "noexec"} <= words, target
        if kind in ("sysfs", "cgroup", "cgroup2") or (kind == "proc" and target != "/proc"):
            assert "ro" in words, target
        if target.startswith("/etc/"):
            assert {"nosuid", "nodev"} <= words, target

