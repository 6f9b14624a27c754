"""A small process that owns an engine: starts what it is told to, reaps whatever falls to it, kills all at the end.

Engines leave processes behind on purpose (supervisors, shims). The nursery is their subreaper (prctl(2)), so they stay
its descendants: they can be told apart from everything else on the machine, and none outlives it. Directories named as
arguments are covered with an empty tmpfs in a mount namespace of its own, which vanishes with the last process: what an
engine writes at fixed places does not stay. It reads one JSON object a line and answers each with the pid of what
it has started:

    {"argv": ["/usr/sbin/dockerd", "--debug"], "env": {"PATH": "/usr/bin"}, "log": "/var/tmp/x/dockerd.log"}

End of input, which the death of the bench is as well, ends it and everything below it.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE = 0x4000, 0x40000


def descendants(root: int) -> list[int]:
    """All processes below `root`, children before grandchildren."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry))
    found = list(children.get(root, ()))
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def spawn(argv: list[str], env: dict[str, str], log: str) -> int:
    """Start a program with its output in a file, in a session of its own, so that ^C is ours alone."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
    try:
        return os.posix_spawn(argv[0], argv, env, file_actions=actions, setsid=True)
    finally:
        os.close(output)
        os.close(null)


def reap() -> None:
    """Take every ended child off the process table."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def kill_all(patience: float = 30.0) -> None:
    """SIGKILL for all descendants until there are none: what a killed parent leaves falls to us."""
    end = time.monotonic() + patience
    while time.monotonic() < end and (left := descendants(os.getpid())):
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        reap()
        time.sleep(0.02)


def serve() -> None:
    """Answer requests until the input ends."""
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    pending = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            reap()
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                request = json.loads(line)
                pid = spawn(request["argv"], request["env"], request["log"])
                os.write(1, f"{pid}\n".encode())


def cover(directories: list[str]) -> None:
    """Leave the mount namespace of the machine and hide these directories; see unshare(2), mount_namespaces(7)."""
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.unshare(CLONE_NEWNS))
    _checked(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    for directory in directories:
        _checked(libc.mount(b"tmpfs", directory.encode(), b"tmpfs", 0, b"mode=0755"))


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def main() -> None:
    """Be the nursery; signals of the terminal are the bench's business."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.argv[1:]:
        cover(sys.argv[1:])
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        serve()
    finally:
        kill_all()


if __name__ == "__main__":
    main()
    sys.exit(0)
