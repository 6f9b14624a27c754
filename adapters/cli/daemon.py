"""Starting the daemon when nobody answers, and the verbs of `daemon`.

The daemon's process id is asked of the kernel (SO_PEERCRED on a connection to its socket), never read from a file.
"""

import _signal  # type: ignore[import-not-found]  # the module `signal` without its enums, which cost 2 ms
import _socket
import posix
import sys
from select import POLLIN, poll
from time import monotonic, sleep

from adapters.cli.main import Failed, connect, unreachable, write

START_SECONDS = 30.0
STOP_SECONDS = 30.0
ANOTHER_IS_STARTING = 75
"""Exit status of a daemon that found the data root locked by another one (EX_TEMPFAIL, sysexits.h): wait for it."""
AGAIN_SECONDS = 0.5
"""That other one may also be about to end. Then nobody would ever answer: so one more is started, each time later."""
_USAGE = "Usage:  lading daemon start [--rebuild]|stop [--clean]|status\n"
_HELP = _USAGE + """
Start, stop, and ask for the daemon

Commands:
  start    Start it, unless it runs already; the first other command does the same. With --rebuild every table that
           answers come from is made anew out of the log first
  status   Say whether it runs, and end with 0 if it does
  stop     Stop it; containers run on, and their output and exit statuses are kept. With --clean also every rule, link
           and address of its networks goes, if no container is on any
"""


def control(words: list[str], path: str, daemon: tuple[str, ...]) -> int:
    """The exit status of `daemon …`. Raises Failed."""
    verbs = {"start": _start, "stop": _stop, "status": _status}
    if words[-1:] in (["--help"], ["-h"]) and (len(words) == 1 or words[0] in verbs):
        write(1, _HELP.encode())
        return 0
    if not words:
        write(2, _HELP.encode())
        return 0
    if words[0] not in verbs:
        raise Failed(f"unknown command: lading daemon {_printable(words[0])}\n\n{_USAGE.rstrip()}", 1)
    if words == ["stop", "--clean"]:
        return _stop(path, daemon) or _clean(daemon)
    if words == ["start", "--rebuild"]:
        return _start(path, (*daemon, "--rebuild"), alone=True)
    if len(words) > 1:
        raise Failed(f"'lading daemon {words[0]}' accepts no arguments\n\n{_USAGE.rstrip()}", 1)
    return verbs[words[0]](path, daemon)


def start(path: str, daemon: tuple[str, ...], status: int) -> _socket.socket:
    """Start the daemon and wait until it answers: a connection to it. Raises Failed."""
    reader, writer = posix.pipe2(posix.O_CLOEXEC)
    pid = _spawn(daemon, writer, status)
    begun = monotonic()
    again = AGAIN_SECONDS
    ended: int | None = None
    while (waited := monotonic() - begun) < START_SECONDS:
        try:
            return connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        except OSError as error:
            raise unreachable(path, error, status) from error
        if ended is None:
            ended = _ended(pid)
        if ended not in (None, 0, ANOTHER_IS_STARTING):
            raise Failed(f"the lading daemon could not be started: {_last_line(reader)}", status)
        if ended == ANOTHER_IS_STARTING and waited > again:
            pid, ended, again = _spawn(daemon, writer, status), None, 2 * waited
        sleep(0.005)
    raise Failed(f"the lading daemon did not answer at unix://{path} within {START_SECONDS:.0f} s: "
                 f"{_last_line(reader)}", status)


def _spawn(daemon: tuple[str, ...], errors: int, status: int) -> int:
    """In a session of its own, so that this terminal's ^C and hang-up are not the daemon's; with no more environment
    than it is meant to read."""
    environment = {name: value for name, value in posix.environ.items()
                   if name.startswith(b"LADING_") or name in (b"PATH", b"TZ")}
    actions = [(posix.POSIX_SPAWN_OPEN, 0, "/dev/null", posix.O_RDONLY, 0),
               (posix.POSIX_SPAWN_OPEN, 1, "/dev/null", posix.O_WRONLY, 0),
               (posix.POSIX_SPAWN_DUP2, errors, 2)]
    try:
        return posix.posix_spawn(daemon[0], daemon, environment, file_actions=actions, setsid=True,
                                 setsigdef=[2, 3, 13, 15, 25], setsigmask=[])
    except OSError as error:
        raise Failed(f"the lading daemon could not be started: {daemon[0]}: {error.strerror}", status) from error


def _ended(pid: int) -> int | None:
    """The exit status of the daemon that was started (0 when it has gone into the background); None while it runs."""
    try:
        found, status = posix.waitpid(pid, posix.WNOHANG)
    except ChildProcessError:
        return 0
    return posix.waitstatus_to_exitcode(status) if found else None


def _last_line(reader: int) -> str:
    """What the daemon said last; it may live and say nothing, so this must not wait."""
    posix.set_blocking(reader, False)
    text = b""
    try:
        while piece := posix.read(reader, 65536):
            text += piece
    except BlockingIOError:
        pass
    lines = text.decode("utf-8", "replace").split("\n")
    printable = [line.strip() for line in lines if line.strip()]
    return _printable(printable[-1]) if printable else "it gave no reason"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _start(path: str, daemon: tuple[str, ...], *, alone: bool = False) -> int:
    """`alone`: no other one may run, or come first."""
    try:
        connection = connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        if posix.geteuid():
            raise Failed("only root may start the lading daemon", 1) from None
        connection = start(path, daemon, 1)
    except OSError as error:
        raise unreachable(path, error, 1) from error
    if alone and _ended(_peer(connection)) is not None:
        raise Failed("the lading daemon runs already: stop it first, with lading daemon stop", 1)
    return 0


def _stop(path: str, daemon: tuple[str, ...]) -> int:
    """Ask it to end, wait until it has. The containers run on."""
    try:
        connection = connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return 0
    except OSError as error:
        raise unreachable(path, error, 1) from error
    pid = _peer(connection)
    try:
        pidfd = posix.pidfd_open(pid, 0)
        _signal.pidfd_send_signal(pidfd, 15)
    except ProcessLookupError:
        return 0
    except PermissionError:
        raise Failed("only root may stop the lading daemon", 1) from None
    waiting = poll()
    waiting.register(pidfd, POLLIN)
    if not waiting.poll(int(STOP_SECONDS * 1000)):
        raise Failed(f"the lading daemon (pid {pid}) has not ended after {STOP_SECONDS:.0f} s", 1)
    return 0


def _clean(daemon: tuple[str, ...]) -> int:
    """What networks have left; a program of its own does it, with the settings of the daemon."""
    command = (*daemon[:-1], "shutdown", "--networks")
    pid = posix.posix_spawn(command[0], command, posix.environ)
    return posix.waitstatus_to_exitcode(posix.waitpid(pid, 0)[1])


def _status(path: str, daemon: tuple[str, ...]) -> int:
    try:
        connection = connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        write(1, f"not running (unix://{path})\n".encode("utf-8", "surrogateescape"))
        return 1
    except OSError as error:
        raise unreachable(path, error, 1) from error
    write(1, f"running, pid {_peer(connection)} (unix://{path})\n".encode("utf-8", "surrogateescape"))
    return 0


def _peer(connection: _socket.socket) -> int:
    """The pid in `struct ucred`, of the process that called listen (unix(7))."""
    credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[:4], sys.byteorder)
