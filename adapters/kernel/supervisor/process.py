"""What the kernel tells about processes that are not, or no longer, ours."""

import ctypes
import os
import signal

from adapters.kernel import syscalls
from domain.errors import KernelError

_RT_SIGACTION = {"x86_64": 13, "aarch64": 134}


def wait_status(pidfd: int) -> int | None:
    """How a dead process ended: from the zombie, if it is our child and without reaping it, else from the kernel's
    memory of the pidfd (6.15); None if neither knows, or there is no pidfd."""
    if pidfd < 0:
        return None
    try:
        ended = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        try:
            return syscalls.pidfd_exit_status(pidfd)
        except KernelError:
            return None
    return None if ended is None else encoded(ended)


def encoded(ended: os.waitid_result) -> int:
    """What waitid(2) has told, as a wait status."""
    return ended.si_status << 8 if ended.si_code == os.CLD_EXITED else ended.si_status


def reap(pidfd: int) -> None:
    """Let a zombie go, if it is our child."""
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return  # the keeper's child


def start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat, counted behind the name, which may hold anything; 0 if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        return 0


def parent(pid: int) -> int:
    """Field 4 of /proc/PID/stat; 0 if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def forget_internal_signals() -> None:
    """Signals 32 and 33 to their default: posix_spawn of the C library leaves them ignored (glibc 2.38, spawni.c), that
    outlives exec, and the library's own sigaction refuses to touch them."""
    libc = ctypes.CDLL(None)
    for number in (32, 33):
        libc.syscall(_RT_SIGACTION[os.uname().machine], number, bytes(32), None, 8)


def first_of(pids: list[int]) -> int:
    """The one that is number 1 in its pid namespace; 0 if none is."""
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status", "rb") as file:
                numbers = next((line.split()[1:] for line in file if line.startswith(b"NSpid:")), [])
        except OSError:
            continue
        if numbers and numbers[-1] == b"1":
            return pid
    return 0


def children() -> set[int]:
    """Our children, by the kernel's list (CONFIG_PROC_CHILDREN); empty where there is none."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return set(map(int, file.read().split()))
    except OSError:
        return set()


def wake_on_child() -> int:
    """A descriptor that becomes readable when a child has ended."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    os.write(writing, b"\0")  # children that ended before this point raise no signal any more
    return reading


def boot_id() -> str:
    """A name for the time since the host was booted."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
