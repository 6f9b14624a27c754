"""The warden's side of the zygote: requests to clone, answers, a new zygote when it dies."""

import array
import json
import os
import socket
from collections.abc import Callable
from typing import Any

from adapters.kernel.supervisor import handover, interpreter, loop, process, zygote
from adapters.kernel.supervisor.run import Run
from domain.failpoints import failpoint


class Nursery:
    """Calls `cloned`, `failed` or, for every request that a dead zygote left open, `died`."""

    def __init__(self, events: loop.Loop, options: dict[str, str], python: int, *,
                 cloned: Callable[[Run, int, int, dict[str, int]], None], failed: Callable[[Run, dict[str, Any]], None],
                 died: Callable[[Run], None]) -> None:
        self.pid = 0
        self._loop = events
        self._options = options
        self._python = python
        self._cloned, self._failed, self._died = cloned, failed, died
        self._waiting: dict[str, Run] = {}
        self._generation = int(options["generation"])
        self._strangers = False
        self._channel: socket.socket
        self._spawn()

    def clone(self, run: Run) -> None:
        """Ask for the first process of `run`, whose group exists."""
        group = run.group
        assert group is not None
        plan = _memory(run.request["child"])
        failpoint("warden.before-clone")
        status, stdout, stderr = run.childs_ends()
        fds = [status, plan, stdout, stderr, *([group.v2_fd] if group.v2_fd >= 0 else []), *group.tasks]
        request = {"key": run.name, "flags": run.request["flags"], "group": group.v2_fd >= 0}
        self._waiting[run.name] = run
        try:
            self._channel.sendmsg([json.dumps(request).encode()],
                                  [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
        except (BrokenPipeError, ConnectionResetError):
            pass  # its death is about to be noticed, and this request with it
        finally:
            os.close(plan)

    def forget(self, run: Run) -> None:
        """Its answer, if it still comes, is of no use."""
        if self._waiting.get(run.name) is run:
            del self._waiting[run.name]

    def reap_strangers(self, known: set[int]) -> None:
        """Children whose birth nobody could tell us about: a zygote was killed between the clone and its answer."""
        if not self._strangers:
            return
        strangers = process.children() - known - {self.pid}
        self._strangers = bool(strangers)
        for pid in strangers:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)

    def close(self) -> None:
        """End the zygote and wait for it."""
        self._loop.forget(self._channel.fileno())
        self._channel.close()
        os.waitpid(self.pid, 0)

    def _spawn(self) -> None:
        mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        arguments = [f"{name}={self._options[name]}" for name in ("failpoints", "files")]
        argv = interpreter.command("zygote", *arguments, f"generation={self._generation}")
        self._generation += 1
        self.pid = interpreter.spawn(self._python, argv, [other.fileno()])
        other.close()
        self._channel = mine
        self._loop.watch(mine.fileno(), self._event)

    def _event(self, events: int) -> None:
        parcel = handover.receive(self._channel)
        if parcel is None:
            return self._respawn()
        answer = json.loads(parcel.letter + b"\0".join(parcel.fields))
        run = self._waiting.pop(answer["key"], None)
        if run is None:
            return handover.close(parcel.fds)
        run.close_childs_ends()
        if run.group is not None:
            run.group.close_fds()
        if "pid" not in answer:
            return self._failed(run, answer)
        pidfd, *namespaces = parcel.fds
        return self._cloned(run, answer["pid"], pidfd, dict(zip(zygote.NAMESPACES, namespaces, strict=False)))

    def _respawn(self) -> None:
        self._loop.close(self._channel.detach())
        os.waitpid(self.pid, 0)
        self._strangers = True
        open_requests, self._waiting = self._waiting, {}
        self._spawn()
        for run in open_requests.values():
            self._died(run)


def _memory(text: str) -> int:
    """A descriptor with `text` in it: a plan may be longer than a message on a socket."""
    fd = os.memfd_create("lading-plan", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(text.encode())
    return fd

