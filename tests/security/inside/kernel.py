"""Runs in a container: which device nodes open, what of /proc and /sys can be read and written, as JSON."""

import errno
import json
import os
import stat
import sys

HIDDEN = ("kcore", "keys", "timer_list", "timer_stats", "latency_stats", "sched_debug", "scsi", "acpi", "asound",
          "kmsg", "interrupts")
READ_ONLY = ("/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/sys")


def opens(path: str, flags: int) -> str:
    """`ok`, or why not."""
    try:
        os.close(os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY))
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


def content(path: str) -> int:
    """How much there is to see."""
    try:
        if os.path.isdir(path):
            return len(os.listdir(path))
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return len(os.read(fd, 100))
        finally:
            os.close(fd)
    except FileNotFoundError:
        return 0


def nodes() -> dict[str, list[str]]:
    """Every device that the kernel names, and some that it might have; each made here, and opened."""
    wanted = {f"{kind}{number}": (kind, number) for kind in ("block", "char")
              if os.path.isdir(f"/sys/dev/{kind}") for number in os.listdir(f"/sys/dev/{kind}")}
    wanted |= {f"char{number}": ("char", number) for number in (
        "1:1", "1:2", "1:4", "1:11", "4:0", "4:64", "5:1", "10:200", "10:229", "10:232", "10:237")}
    found: dict[str, list[str]] = {}
    for name, (kind, number) in wanted.items():
        major, minor = map(int, number.split(":"))
        os.mknod("/tmp/node", (stat.S_IFBLK if kind == "block" else stat.S_IFCHR) | 0o666, os.makedev(major, minor))
        answers = [opens("/tmp/node", flags) for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)]
        os.unlink("/tmp/node")
        if answers != ["EPERM"] * 3:
            found[name] = answers
    return found


def writable() -> list[str]:
    """Files below the read-only paths that open for writing."""
    return [f"{folder}/{name}" for root in READ_ONLY for folder, _, names in os.walk(root) for name in names
            if not os.path.islink(f"{folder}/{name}") and opens(f"{folder}/{name}", os.O_WRONLY) == "ok"]


json.dump({
    "nodes": nodes(), "writable": writable(), "sysrq": opens("/proc/sysrq-trigger", os.O_WRONLY),
    "hidden": {name: content(f"/proc/{name}") for name in HIDDEN},
    "sys": {path: content(path) for path in ("/sys/firmware", "/sys/kernel/debug", "/sys/kernel/tracing",
                                                 "/sys/devices/virtual/powercap")},
    "dev": sorted(os.listdir("/dev")),
    "mounts": [line.split()[:4] for line in open("/proc/self/mounts")],  # noqa: SIM115 - ends with the program
}, sys.stdout)
