"""The scribe: writes the files of the log driver `json-file` from the stored output, at its own pace.

A process of its own, so that neither the warden nor any container ever waits for it; containers take turns, so that one
that floods does not keep the others waiting. It may be killed at any byte: see `json_file`.

Descriptors at birth: 2 error log, 3 the warden. From the warden, one message each on a SOCK_SEQPACKET socket:

    {"follow": "3f…", "limits": [20971520, 5]}      a run of that container begins, or goes on
    {"bell": ["3f…", "71…"]}                        these may have written something
    {"over": "3f…"}                                 the run has ended, all it has written is stored
    {"scan": true}                                  finish what others have left unfinished

to the warden, whenever nothing is left to do:

    {"idle": 17}                                    after so many messages
"""

import json
import os
import select
import sys
import time
from _socket import AF_UNIX, MSG_DONTWAIT, SOCK_SEQPACKET, socket
from collections import deque
from typing import Any

from adapters.kernel.supervisor import faults
from adapters.kernel.supervisor.json_file import JsonFile, mark, marked
from domain.logs import Limits

WARDEN = 3
_LONGEST = 1 << 16
_RETRY = 1.0
_TURNS_AT_ONCE = 4
_NICE = 5
_HEXADECIMAL = frozenset("0123456789abcdef")


class _Work:
    """One container: its file while it could be opened, and whether its run is over."""

    def __init__(self, directory: str, id: str, limits: Limits) -> None:
        self.directory, self.id, self.limits = directory, id, limits
        self.over = False
        self.file: JsonFile | None = None

    def turn(self) -> bool:
        """Do a part; True if more may be waiting. Raises OSError: try again later."""
        if self.file is None:
            self.file = JsonFile(self.directory, self.id, self.limits)
        return any([self.file.turn() for _ in range(_TURNS_AT_ONCE)])

    def close(self) -> None:
        """Release the files."""
        if self.file is not None:
            self.file.close()
            self.file = None


class Scribe:
    """`channel` leads to the warden; the containers' directories lie in `root`."""

    def __init__(self, channel: socket, root: str) -> None:
        self._channel, self._root = channel, root
        self._works: dict[str, _Work] = {}
        self._ready: deque[str] = deque()
        self._later: list[tuple[float, str]] = []
        self._heard = self._told = 0

    def run(self) -> None:
        """Until the warden is gone."""
        poller = select.poll()
        poller.register(self._channel.fileno(), select.POLLIN)
        while True:
            if poller.poll(0 if self._ready else self._patience()) and not self._listen():
                return
            self._wake()
            if self._ready:
                self._work(self._works.get(self._ready.popleft()))
            if not self._works and self._told != self._heard:
                self._told = self._heard
                self._channel.send(json.dumps({"idle": self._heard}).encode())

    def _patience(self) -> float | None:
        """In ms."""
        return max(0.0, self._later[0][0] - time.monotonic()) * 1000 if self._later else None

    def _listen(self) -> bool:
        while True:
            try:
                message = self._channel.recv(_LONGEST, MSG_DONTWAIT)
            except BlockingIOError:
                return True
            except ConnectionResetError:
                return False
            if not message:
                return False
            self._heard += 1
            self._take(json.loads(message))

    def _take(self, message: dict[str, Any]) -> None:
        match message:
            case {"follow": str(id), "limits": [int(size), int(files)]}:
                self._follow(id, Limits(size, files), over=False)
            case {"bell": [*ids]}:
                for id in ids:
                    self._call(id)
            case {"over": str(id)} if id in self._works:
                self._works[id].over = True
                self._call(id)
            case {"scan": _}:
                self._scan()

    def _follow(self, id: str, limits: Limits, *, over: bool) -> None:
        work = self._works.get(id)
        if work is None:
            work = self._works[id] = _Work(os.path.join(self._root, id), id, limits)
        if not over:
            mark(work.directory, limits)  # the end of the run before may just have taken it away
        work.over = over
        self._call(id)

    def _scan(self) -> None:
        for id in os.listdir(self._root):
            if id not in self._works and _HEXADECIMAL.issuperset(id):
                limits = marked(os.path.join(self._root, id))
                if limits is not None:
                    self._follow(id, limits, over=True)

    def _call(self, id: str) -> None:
        if id in self._works and id not in self._ready:
            self._ready.append(id)

    def _wake(self) -> None:
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._call(self._later.pop(0)[1])

    def _work(self, work: _Work | None) -> None:
        if work is None:
            return
        try:
            if work.turn():
                self._ready.append(work.id)
            elif work.over and work.file is not None:
                work.file.finish()
                work.close()
                del self._works[work.id]
        except OSError as error:
            sys.stderr.write(f"json-file of {work.id[:12]}: {error}\n")
            work.close()  # what was written is found again
            if os.path.isdir(work.directory):
                self._later.append((time.monotonic() + _RETRY, work.id))
            else:
                del self._works[work.id]


def main(arguments: list[str]) -> None:
    """Become the scribe."""
    options = dict(argument.split("=", 1) for argument in arguments)
    faults.arm(options["failpoints"], int(options["generation"]))
    os.set_inheritable(WARDEN, False)
    os.nice(_NICE)  # whoever writes the output comes before whoever copies it
    Scribe(socket(AF_UNIX, SOCK_SEQPACKET, fileno=WARDEN), os.path.join(options["logs"])).run()
    sys.exit(0)
