"""The keeper: holds a second set of the warden's descriptors, starts a new warden when it dies, reaps orphans.

It is the warden's parent and subreaper, so whatever the warden leaves behind becomes its child. (If the keeper dies as
well, later, those become init's, and only a kernel since 6.15 can tell their status: else it is reported as unknown.)
It understands nothing: keys and notes are bytes.

Descriptors at birth: 2 error log, 3 sealed interpreter, 4 the lock of the data root, 5 the listening socket, 6 the
state of a former warden (or /dev/null).
"""

import os
import select
import signal
import sys
import time
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socket, socketpair

from adapters.kernel import syscalls
from adapters.kernel.supervisor import faults, handover, interpreter, process
from adapters.kernel.supervisor.handover import Held
from domain.failpoints import failpoint

INTERPRETER, LOCK, LISTENER, STATE = 3, 4, 5, 6
_BACK_OFF = (0.0, 0.05, 0.2, 1.0, 5.0)
_LONG_LIFE = 10.0
_PATIENCE = 10.0


class Keeper:
    """`options` go on to the warden as they are; `channel` and `warden` are those of one that runs already."""

    def __init__(self, options: dict[str, str], entries: dict[bytes, Held], channel: socket | None = None,
                 warden: int = 0) -> None:
        self._options = options
        self._entries = entries
        self._statuses: dict[int, int] = {}
        self._warden = warden
        self._channel = channel
        self._born = time.monotonic()
        self._early_deaths = 0
        self._quit = False

    def run(self) -> None:
        """Until the warden says that it is the end."""
        wake = process.wake_on_child()
        while not self._quit or self._warden:
            if not self._warden:
                self._start()
            ready = self._wait(wake)
            if wake in ready:
                os.read(wake, 4096)
            if self._channel is not None and self._channel.fileno() in ready:
                self._serve(self._channel)
            self._reap()

    def _wait(self, wake: int) -> set[int]:
        poller = select.poll()
        poller.register(wake, select.POLLIN)
        if self._channel is not None:
            poller.register(self._channel.fileno(), select.POLLIN)
        return {fd for fd, _ in poller.poll()}

    def _start(self) -> None:
        """A new warden, and everything that is held for it."""
        if time.monotonic() - self._born > _LONG_LIFE:
            self._early_deaths = 0
        time.sleep(_BACK_OFF[min(self._early_deaths, len(_BACK_OFF) - 1)])
        self._early_deaths += 1
        self._born = time.monotonic()
        self._channel, self._warden = start_warden(self._options)
        self._options["generation"] = str(int(self._options["generation"]) + 1)
        failpoint("keeper.before-hand-back")
        try:
            hand_over(self._channel, self._entries, self._statuses)
        except OSError:
            self._lose()

    def _serve(self, channel: socket) -> None:
        """One message from the warden."""
        parcel = handover.receive(channel)
        if parcel is None:
            self._lose()
        elif parcel.letter == handover.HOLD:
            key, held = handover.held(parcel)
            self._drop(key)
            self._entries[key] = held
        elif parcel.letter == handover.DROP:
            self._drop(parcel.fields[0])
        elif parcel.letter == handover.FORGET:
            self._statuses.pop(int(parcel.fields[0]), None)
        elif parcel.letter == handover.QUIT:
            self._quit = True

    def _drop(self, key: bytes) -> None:
        held = self._entries.pop(key, None)
        if held is not None:
            handover.close(list(held.fds.values()))

    def _lose(self) -> None:
        """The warden has closed its end: it is dead, or past helping."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._warden:
            try:
                os.kill(self._warden, signal.SIGKILL)
            except ProcessLookupError:
                return

    def _reap(self) -> None:
        """Every child that has ended: told first, then reaped, so that a keeper killed in between loses no status."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            if ended.si_pid == self._warden:
                self._drain()
                os.waitpid(ended.si_pid, 0)
                self._warden = 0
                continue
            self._tell(ended.si_pid, process.encoded(ended))
            failpoint("keeper.before-reap")
            os.waitpid(ended.si_pid, 0)

    def _tell(self, pid: int, status: int) -> None:
        self._statuses[pid] = status
        if self._channel is not None:
            try:
                handover.send(self._channel, handover.STATUS, b"%d" % pid, b"%d" % status)
            except OSError:
                self._lose()

    def _drain(self) -> None:
        """What the dead warden has sent before its end still counts."""
        while self._channel is not None:
            self._serve(self._channel)


def start_warden(options: dict[str, str], listener: int = LISTENER) -> tuple[socket, int]:
    """A new warden as a child of this process: (channel, pid)."""
    mine, other = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    argv = interpreter.command("warden", *(f"{name}={value}" for name, value in options.items()))
    pid = interpreter.spawn(INTERPRETER, argv, [INTERPRETER, LOCK, other.fileno(), listener])
    other.close()
    mine.settimeout(_PATIENCE)
    return mine, pid


def hand_over(channel: socket, entries: dict[bytes, Held], statuses: "dict[int, int] | None" = None) -> None:
    """Everything a new warden must know; it lies in the channel from now on, whoever dies. Raises OSError."""
    for key, held in entries.items():
        handover.send_held(channel, key, held)
    for pid, status in (statuses or {}).items():
        handover.send(channel, handover.STATUS, b"%d" % pid, b"%d" % status)
    handover.send(channel, handover.END)


def main(arguments: list[str]) -> None:
    """Become the keeper."""
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    entries = handover.read_state(STATE)
    options = dict(argument.split("=", 1) for argument in arguments)
    warden = int(options.pop("warden", "0"))
    channel = socket(fileno=int(options.pop("channel"))) if warden else None
    for fd in (INTERPRETER, LOCK, LISTENER, *(fd for held in entries.values() for fd in held.fds.values())):
        os.set_inheritable(fd, False)
    if channel is not None:
        os.set_inheritable(channel.fileno(), False)
        channel.settimeout(_PATIENCE)
    faults.arm(options["failpoints"], int(options["generation"]))
    Keeper(options, entries, channel, warden).run()
    sys.exit(0)
