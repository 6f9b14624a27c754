"""A Python interpreter that nobody can write to, and how the small processes are started with it.

Whoever gets a container to execute /proc/self/exe of one of our processes must not end up with a writable handle to the
host's interpreter (CVE-2019-5736). So the processes run from a sealed memfd: it may be opened for writing, and no write
succeeds.
"""

import fcntl
import os
import sys
from collections.abc import Sequence

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
_MFD_EXEC = 0x10  # linux/memfd.h, 6.3: without it vm.memfd_noexec may refuse the exec; older kernels say EINVAL
_CLEAR_OF_ROLES = 64

_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "main.py")


def executable() -> str:
    """The interpreter behind this process, also in a virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def seal(path: str) -> int:
    """A descriptor of a sealed copy of the program at `path`."""
    try:
        copy = os.memfd_create("lading-python", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | _MFD_EXEC)
    except OSError:
        copy = os.memfd_create("lading-python", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while os.sendfile(copy, source, None, 1 << 24):
            pass
    finally:
        os.close(source)
    os.fchmod(copy, 0o500)
    fcntl.fcntl(copy, fcntl.F_ADD_SEALS, _SEALS)
    return copy


def runs(interpreter: int) -> bool:
    """Whether the copy works: one that finds its shared library relative to itself does not."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        quiet = [(os.POSIX_SPAWN_DUP2, null, stream) for stream in (0, 1, 2)]
        argv = [executable(), "-I", "-S", "-c", ""]
        pid = os.posix_spawn(f"/proc/self/fd/{interpreter}", argv, {}, file_actions=quiet)
    finally:
        os.close(null)
    return os.waitpid(pid, 0)[1] == 0


def command(role: str, *arguments: str) -> list[str]:
    """The argument vector of a small process; the first entry lets Python find its library."""
    return [executable(), "-I", "-S", _PROGRAM, role, *arguments]


def spawn(interpreter: int, argv: list[str], fds: Sequence[int], *, session: bool = False) -> int:
    """Start a small process in an empty environment; `fds` become 3, 4, …; everything not inheritable is closed."""
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _CLEAR_OF_ROLES) for fd in (interpreter, *fds)]
    try:
        actions = [(os.POSIX_SPAWN_DUP2, fd, 3 + index) for index, fd in enumerate(moved[1:])]
        return os.posix_spawn(f"/proc/self/fd/{moved[0]}", argv, {}, file_actions=actions, setsid=session)
    finally:
        for fd in moved:
            os.close(fd)


def become(interpreter: int, role: str, arguments: Sequence[str]) -> None:
    """Turn this process into another role; what is inheritable stays open under its number; never returns."""
    os.execve(f"/proc/self/fd/{interpreter}", command(role, *arguments), {})
