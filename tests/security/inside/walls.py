"""Runs in a container and tries the known ways out of it; what came of each, as JSON.

    python walls.py CANARY       CANARY is a directory that only the host has
"""

import ctypes
import errno
import json
import os
import signal
import sys
from collections.abc import Callable

libc = ctypes.CDLL(None, use_errno=True)
canary = sys.argv[1]
MS_REMOUNT, MS_BIND, CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWCGROUP = 32, 4096, 0x10000000, 0x20000, 0x02000000
PTRACE_ATTACH = 16


def asked(call: Callable[..., int], *arguments: object) -> str:
    """`ok`, or the name of the errno."""
    return "ok" if call(*arguments) != -1 else errno.errorcode[ctypes.get_errno()]


def tried(act: Callable[[], object]) -> str:
    """`ok`, or why not."""
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


def put(path: str, text: str) -> str:
    """Write into a file that is there."""
    def write() -> None:
        fd = os.open(path, os.O_WRONLY)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    return tried(write)


def mounting() -> dict[str, str]:
    """Another view of the kernel, or the same one with other flags."""
    os.makedirs("/tmp/at", exist_ok=True)
    told = {f"mount {kind}": asked(libc.mount, b"x", b"/tmp/at", kind.encode(), 0, options)
            for kind, options in (("proc", b""), ("sysfs", b""), ("cgroup2", b""), ("cgroup", b"rdma"), ("tmpfs", b""),
                                  ("overlay", b"lowerdir=/,upperdir=/tmp,workdir=/tmp"), ("debugfs", b""))}
    told["remount proc"] = asked(libc.mount, b"", b"/proc/sys", b"", MS_REMOUNT | MS_BIND, None)
    told["remount groups"] = asked(libc.mount, b"", b"/sys/fs/cgroup", b"", MS_REMOUNT | MS_BIND, None)
    told["bind"] = asked(libc.mount, b"/proc", b"/tmp/at", b"", MS_BIND, None)
    told["unmask"] = asked(libc.umount2, b"/proc/kcore", 2)
    told["unshare user"] = asked(libc.unshare, CLONE_NEWUSER)
    told["unshare mounts"] = asked(libc.unshare, CLONE_NEWNS)
    told["unshare groups"] = asked(libc.unshare, CLONE_NEWCGROUP)
    return told


def groups() -> list[str]:
    """What of the control groups could be changed: a file that opens for writing, a group that can be made."""
    found = []
    for folder, _, names in os.walk("/sys/fs/cgroup"):
        found += [f"{folder}/{name}" for name in names if not os.path.islink(f"{folder}/{name}")
                  and put(f"{folder}/{name}", "1") not in ("EROFS", "EACCES", "EPERM")]
        if tried(lambda folder=folder: os.mkdir(f"{folder}/mine")) == "ok":  # type: ignore[misc]
            found.append(f"{folder}/mine")
    return found


def helpers() -> dict[str, str]:
    """Files by which the kernel can be told to run a program on the host, or to stop it: opened, not written to."""
    return {path: tried(lambda path=path: os.close(os.open(path, os.O_WRONLY))) for path in (  # type: ignore[misc]
        "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug",
        "/proc/sys/fs/binfmt_misc/register", "/sys/kernel/uevent_helper", "/sys/fs/cgroup/release_agent",
        "/proc/sysrq-trigger", "/proc/sys/vm/panic_on_oom", "/proc/sys/kernel/panic")}


def outside_of_a_chroot() -> list[str]:
    """The old way out: a directory that is held while the root is changed below it. Whether the host is reached so."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        with open("/tmp/seen") as file:
            seen: list[str] = json.load(file)
        return seen
    try:
        held = os.open("/", os.O_RDONLY)
        os.makedirs("/tmp/cell", exist_ok=True)
        os.chroot("/tmp/cell")
        os.fchdir(held)
        for _ in range(64):
            os.chdir("..")
        os.chroot(".")
        with open("/tmp/seen", "w") as file:
            json.dump([canary] if os.path.exists(canary) else [], file)
    finally:
        os._exit(0)


def neighbours() -> dict[str, str]:
    """What another process in this container gives away; there must be none of the host's to ask."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    others = [pid for pid in pids if pid not in (os.getpid(), 1)]
    return {str(pid): tried(lambda pid=pid: os.kill(pid, signal.SIGCONT)) for pid in others}  # type: ignore[misc]


def reached() -> list[str]:
    """Ways by which the host's directory is there: by name, by `..`, through the kernel's links."""
    ways = ("", "/..", "/../../..", "/proc/1/root", "/proc/1/cwd", "/proc/self/cwd", "/proc/self/root/..",
            "/proc/1/root/..", "/dev/..")
    return [way for way in ways if os.path.exists(way + canary)]


json.dump({
    "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")},
    "mounts": open("/proc/self/mountinfo").read(),  # noqa: SIM115 - ends with the program
    "mounting": mounting(), "groups": groups(), "helpers": helpers(), "chroot": outside_of_a_chroot(),
    "others": neighbours(), "reached": reached(),
}, sys.stdout)
