"""First stage of the tree: prepare everything that needs a path, start the keeper, and end.

Run by the daemon as `main.py launch data=… run=… failpoints=…` with nothing on its standard streams but the daemon's
pipe on 2. Exit status 0: a keeper runs, or already ran. What is wrong stands on standard error.
"""

import errno
import fcntl
import os
import resource
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket

from adapters.kernel.supervisor import interpreter
from domain.errors import LadingError

LOCK_NAME, SOCKET_NAME, ERROR_LOG = "keeper.lock", "warden.sock", "supervisor.log"
_BACKLOG = 64
_LOG_LIMIT = 1 << 20
_OOM_SCORE = "-999"


def main(arguments: list[str]) -> None:
    """Become the parent of nobody: the keeper lives on without us."""
    options = dict(argument.split("=", 1) for argument in arguments)
    state = os.path.join(options["data"], "state")
    os.makedirs(state, 0o700, exist_ok=True)
    os.makedirs(options["run"], 0o711, exist_ok=True)
    lock = _lock(os.path.join(state, LOCK_NAME), options["run"])
    if lock is None:
        return
    listener = _listen(os.path.join(options["run"], SOCKET_NAME))
    try:
        python = interpreter.protected(interpreter.executable())
    except (OSError, LadingError) as error:
        raise SystemExit(f"no interpreter for the supervisor: {error}") from error
    _protect()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    log = _open_log(os.path.join(state, ERROR_LOG))
    for stream, fd in ((0, null), (1, null), (2, log)):
        os.dup2(fd, stream)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    argv = interpreter.command("keeper", *arguments, f"files={files}", "generation=0")
    interpreter.spawn(python, argv, [python, lock, listener.fileno(), null], session=True)


def _lock(path: str, run_dir: str) -> int | None:
    """The lock that keeper and warden hold for as long as one of them lives; None if those of `run_dir` have it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.fsdecode(os.pread(fd, 4096, 0))
        if holder in ("", run_dir):  # "": it has just begun
            return None
        raise SystemExit(f"the data root is in use by the supervisor of {holder}") from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, os.fsencode(run_dir), 0)
    return fd


def _listen(path: str) -> socket:
    """A listening socket at `path`; whoever had it before is dead, for we have the lock."""
    if os.path.lexists(path):
        os.unlink(path)
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    listener.bind(path)  # born 0600: the umask is 077
    os.chmod(path, 0o600)
    listener.listen(_BACKLOG)
    return listener


def _protect() -> None:
    """Let the kernel kill others first when memory runs out; needs CAP_SYS_RESOURCE, so a wish only."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(_OOM_SCORE)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM):
            raise


def _open_log(path: str) -> int:
    """Where tracebacks of the small processes go; begins anew when it has grown."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    if os.fstat(fd).st_size > _LOG_LIMIT:
        os.ftruncate(fd, 0)
    return fd
