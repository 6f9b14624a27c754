"""The keeper: holds a second set of the warden's descriptors, starts a new warden when it dies, reaps orphans.

It is the warden's parent and subreaper, so whatever the warden leaves behind becomes its child. It understands nothing:
keys and notes are bytes. Descriptors at birth: 2 error log, 3 sealed interpreter, 4 the lock of the data root,
5 the listening socket, 6 the state of a former warden (or /dev/null).
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
    """`arguments` go on to the warden as they are."""

    def __init__(self, arguments: list[str], entries: dict[bytes, Held], generation: int) -> None:
        self._arguments = arguments
        self._entries = entries
        self._statuses: dict[int, int] = {}
        self._warden = 0
        self._channel: socket | None = None
        self._born = 0.0
        self._early_deaths = 0
        self._generation = generation
        self._quit = False

    def run(self) -> None:
        """Until the warden says that it is the end."""
        wake = _wake_on_child()
        poller = select.poll()
        poller.register(wake, select.POLLIN)
        while not self._quit or self._warden:
            if not self._warden:
                self._start()
            if self._channel is not None:
                poller.register(self._channel.fileno(), select.POLLIN)
            ready = dict(poller.poll())
            if wake in ready:
                os.read(wake, 4096)
            if self._channel is not None and self._channel.fileno() in ready:
                poller.unregister(self._channel.fileno())
                self._serve(self._channel)
            self._reap()

    def _start(self) -> None:
        """A new warden, and everything that is held for it."""
        if time.monotonic() - self._born > _LONG_LIFE:
            self._early_deaths = 0
        time.sleep(_BACK_OFF[min(self._early_deaths, len(_BACK_OFF) - 1)])
        self._early_deaths += 1
        self._born = time.monotonic()
        mine, other = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        argv = interpreter.command("warden", *self._arguments, f"generation={self._generation}")
        self._generation += 1
        self._warden = interpreter.spawn(INTERPRETER, argv, [INTERPRETER, LOCK, other.fileno(), LISTENER])
        other.close()
        mine.settimeout(_PATIENCE)
        self._channel = mine
        failpoint("keeper.before-hand-back")
        try:
            for key, held in self._entries.items():
                handover.send_held(mine, key, held)
            for pid, status in self._statuses.items():
                handover.send(mine, handover.STATUS, b"%d" % pid, b"%d" % status)
            handover.send(mine, handover.END)
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


def _wake_on_child() -> int:
    """A descriptor that becomes readable when a child has ended."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    os.write(writing, b"\0")  # children that ended before this point raise no signal any more
    return reading


def main(arguments: list[str]) -> None:
    """Become the keeper."""
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    entries = handover.read_state(STATE)
    for fd in (INTERPRETER, LOCK, LISTENER, *(fd for held in entries.values() for fd in held.fds.values())):
        os.set_inheritable(fd, False)
    options = dict(argument.split("=", 1) for argument in arguments)
    generation = int(options.pop("generation", "0"))
    faults.arm(options["failpoints"], generation)
    Keeper([f"{name}={value}" for name, value in options.items()], entries, generation).run()
    sys.exit(0)
