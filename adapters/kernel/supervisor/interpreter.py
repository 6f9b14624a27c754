"""A Python interpreter that nobody can write to, and how the small processes are started with it.

Whoever gets a container to execute /proc/self/exe of one of our processes must not end up with a writable handle to the
host's interpreter (CVE-2019-5736). So the processes run from a sealed memfd: it may be opened for writing, and no write
succeeds. Its mode is not sealed on every kernel, and root in a container may change it: so it is set before each start.

A relocatable Python looks for its library beside the executable, where a memfd has none: it is told in its environment.
"""

import errno
import fcntl
import os
import sys
from collections.abc import Mapping, Sequence

from adapters.kernel import syscalls

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
_SEAL_EXEC = 0x20  # linux/fcntl.h, 6.3: nobody may change who can execute it
_MFD_EXEC = 0x10  # linux/memfd.h, 6.3: without it vm.memfd_noexec may refuse the exec; older kernels say EINVAL
_CLEAR_OF_ROLES = 64
_MODE = 0o500
_LIBRARIES = "LD_LIBRARY_PATH"

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
    os.fchmod(copy, _MODE)
    try:
        fcntl.fcntl(copy, fcntl.F_ADD_SEALS, _SEALS | _SEAL_EXEC)
    except OSError:
        fcntl.fcntl(copy, fcntl.F_ADD_SEALS, _SEALS)
    return copy


def protected(path: str) -> int:
    """A descriptor of an interpreter that runs, and that no container can write to; `spawn` starts it from then on.

    Where no program may be executed from a memfd, the file itself on a mount of its own that is read-only. Raises
    OSError when neither runs.
    """
    beside = os.path.join(os.path.dirname(os.path.dirname(path)), "lib")
    for copy_of in (seal, _mount_read_only):
        copy = copy_of(path)
        for libraries in ("", beside):
            os.environ[_LIBRARIES] = libraries
            if runs(copy):
                return copy
        os.close(copy)
    raise OSError(errno.ENOEXEC, "cannot be run from a protected copy", path)


def _mount_read_only(path: str) -> int:
    tree = syscalls.open_tree(syscalls.AT_FDCWD, path, syscalls.OPEN_TREE_CLONE)
    syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH, syscalls.MOUNT_ATTR_RDONLY)
    return tree


def runs(interpreter: int) -> bool:
    """Whether the copy works: one that finds its shared library relative to itself does not."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        quiet = [(os.POSIX_SPAWN_DUP2, null, stream) for stream in (0, 1, 2)]
        argv = [executable(), "-I", "-S", "-c", ""]
        pid = os.posix_spawn(f"/proc/self/fd/{interpreter}", argv, _environment(), file_actions=quiet)
    except OSError:  # where no program may be executed from a memfd
        return False
    finally:
        os.close(null)
    return os.waitpid(pid, 0)[1] == 0


def command(role: str, *arguments: str) -> list[str]:
    """The argument vector of a small process; the first entry lets Python find its library."""
    return [executable(), "-I", "-S", _PROGRAM, role, *arguments]


def spawn(interpreter: int, argv: list[str], fds: Sequence[int], *, session: bool = False,
          settings: Mapping[str, str] | None = None) -> int:
    """Start a small process whose environment tells nothing but `settings`; `fds` become 3, 4, …, and nothing else
    stays open."""
    _restore_mode(interpreter)
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _CLEAR_OF_ROLES) for fd in (interpreter, *fds)]
    try:
        actions = [(os.POSIX_SPAWN_DUP2, fd, 3 + index) for index, fd in enumerate(moved[1:])]
        program = f"/proc/self/fd/{moved[0]}"
        return os.posix_spawn(program, argv, {**_environment(), **(settings or {})}, file_actions=actions,
                              setsid=session)
    finally:
        for fd in moved:
            os.close(fd)


def become(interpreter: int, role: str, arguments: Sequence[str]) -> None:
    """Turn this process into another role; what is inheritable stays open under its number; never returns."""
    _restore_mode(interpreter)
    os.execve(f"/proc/self/fd/{interpreter}", command(role, *arguments), _environment())


def _restore_mode(interpreter: int) -> None:
    try:
        os.fchmod(interpreter, _MODE)
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.EPERM):  # read-only, or sealed: there is nothing to restore
            raise


def _environment() -> dict[str, str]:
    """Empty, but for where a relocatable Python finds its library."""
    return {_LIBRARIES: os.environ[_LIBRARIES]} if os.environ.get(_LIBRARIES) else {}
