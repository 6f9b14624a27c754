"""The warden's side of the scribe: tells it what to write, never waits for it, starts a new one when it dies.

A file in the state directory says that there may be something to write, so that the next warden knows after a crash.
"""

import json
import os
import socket
import time
from collections import deque
from contextlib import suppress

from adapters.kernel.supervisor import interpreter, json_file, loop
from adapters.kernel.supervisor.run import Run
from adapters.kernel.supervisor.wire import Message

_NAME = "scribe"
_BACK_OFF, _LONGEST_BACK_OFF = 0.2, 5.0
_LONG_LIFE = 1.0
_PAUSE = 0.05
_A_TIME = 100


class Dictation:
    """`logs` is where the containers' directories lie."""

    def __init__(self, events: loop.Loop, options: dict[str, str], python: int) -> None:
        self._loop, self._options, self._python = events, options, python
        self._logs = os.path.join(options["data"], "logs")
        self._note = os.path.join(options["data"], "state", _NAME)
        self._generation = int(options["generation"])
        self._channel: socket.socket | None = None
        self.pid = 0
        self._sent = 0
        self._born = 0.0
        self._back_off = _BACK_OFF
        self._followed: dict[str, Run] = {}
        self._queue: deque[Message] = deque()
        self._bells: set[str] = set()

    def begin(self) -> None:
        """After a restart: whatever is unfinished."""
        if self._channel is None and os.path.exists(self._note):
            self._spawn()

    def follow(self, run: Run) -> None:
        """The output of this run is wanted for log shippers, if it is."""
        if run.keeping.driver != "json-file":
            return
        with suppress(OSError):  # a full disk: it is written as long as nobody is killed
            json_file.mark(run.directory, run.keeping.limits)
        self._followed[run.id] = run
        if self._channel is None:
            self._spawn()
        else:
            self._say(_follow(run))

    def bell(self, id: str) -> None:
        """It may have written something; told with the next `flush`."""
        if id in self._followed:
            self._bells.add(id)

    def over(self, run: Run) -> None:
        """It has ended, and all of its output is stored."""
        if self._followed.get(run.id) is run:
            del self._followed[run.id]
            self._bells.discard(run.id)
            self._say({"over": run.id})

    def flush(self) -> None:
        """Say what there is to say, as much as the scribe has room for."""
        if self._channel is None or not (self._queue or self._bells):
            return
        try:
            while self._queue:
                self._send(self._queue[0])
                self._queue.popleft()
            while self._bells:
                ids = [self._bells.pop() for _ in range(min(len(self._bells), _A_TIME))]
                try:
                    self._send({"bell": ids})
                except BlockingIOError:
                    self._bells.update(ids)
                    raise
        except BlockingIOError:
            self._loop.watch(self._channel.fileno(), self._event, loop.READ | loop.WRITE)
        except OSError:
            return  # its death is about to be noticed

    def close(self) -> None:
        """End the scribe and wait for it."""
        if self._channel is not None:
            self._loop.forget(self._channel.fileno())
            self._channel.close()
            with suppress(ChildProcessError):
                os.waitpid(self.pid, 0)

    def _say(self, message: Message) -> None:
        self._queue.append(message)

    def _send(self, message: Message) -> None:
        assert self._channel is not None
        self._channel.send(json.dumps(message).encode())
        self._sent += 1

    def _spawn(self) -> None:
        with suppress(OSError):
            os.close(os.open(self._note, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.setblocking(False)
        arguments = [f"failpoints={self._options['failpoints']}", f"logs={self._logs}"]
        argv = interpreter.command("scribe", *arguments, f"generation={self._generation}")
        self._generation += 1
        self.pid = interpreter.spawn(self._python, argv, [other.fileno()])
        other.close()
        self._channel, self._sent, self._born = mine, 0, time.monotonic()
        self._queue = deque([*map(_follow, self._followed.values()), {"scan": True}])
        self._loop.watch(mine.fileno(), self._event)

    def _event(self, events: int) -> None:
        assert self._channel is not None
        if events & loop.WRITE:
            self._loop.watch(self._channel.fileno(), self._event)
        if not events & (loop.READ | loop.HANGUP):
            return
        try:
            message = self._channel.recv(1 << 12)
        except BlockingIOError:
            return
        except ConnectionResetError:
            message = b""
        if not message:
            return self._end()
        if json.loads(message) == {"idle": self._sent} and not (self._queue or self._bells or self._followed):
            self._rest()

    def _end(self) -> None:
        """It has died."""
        self._let_go()
        again = time.monotonic() - self._born < _LONG_LIFE
        self._back_off = min(2 * self._back_off, _LONGEST_BACK_OFF) if again else _BACK_OFF
        self._loop.later(self._back_off, lambda: self._spawn() if self._channel is None else None)

    def _rest(self) -> None:
        """Nothing is left to write."""
        self._let_go()
        with suppress(FileNotFoundError):
            os.unlink(self._note)

    def _let_go(self) -> None:
        if self._channel is not None:
            self._loop.close(self._channel.detach())
            self._channel = None
            self._reap(self.pid)

    def _reap(self, pid: int) -> None:
        """It ends as soon as it sees that nobody is there."""
        with suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0] != pid:
                self._loop.later(_PAUSE, lambda: self._reap(pid))


def _follow(run: Run) -> Message:
    return {"follow": run.id, "limits": list(run.keeping.limits)}
