"""The warden's side of the zygote: requests to clone, answers, a new zygote when it dies."""

import array
import json
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from adapters.kernel.child import crossing
from adapters.kernel.supervisor import handover, interpreter, loop, zygote
from adapters.kernel.supervisor.ward import Ward
from domain.failpoints import failpoint


class Nursery:
    """Calls `cloned`, `failed` or, for every request that a dead zygote left open, `died`."""

    def __init__(self, events: loop.Loop, options: dict[str, str], python: int, *,
                 cloned: Callable[[Ward, int, int, dict[str, int]], None],
                 failed: Callable[[Ward, dict[str, Any]], None],
                 died: Callable[[Ward], None]) -> None:
        self.pid = 0
        self._loop = events
        self._options = options
        self._python = python
        self._cloned, self._failed, self._died = cloned, failed, died
        self._waiting: dict[str, Ward] = {}
        self._generation = int(options["generation"])
        self._channel: socket.socket
        self._spawn()

    def clone(self, ward: Ward, place: int, shared: Mapping[str, int] | None = None) -> None:
        """Ask for the process of `ward`, whose group exists; `place` is the mount of its container's terminals, or, for
        one process more, the pidfd of the first; `shared` are pidfds of those who share a namespace with it."""
        group = ward.group
        assert group is not None
        plan = _memory(ward.request["child"])
        failpoint("warden.before-clone")
        named = {**ward.childs_ends(), "plan": plan, "place": place}
        if ward.report >= 0:
            named["report"] = ward.report
        if group.v2_fd >= 0:
            named["group"] = group.v2_fd
        named |= {f"share-{kind}": pidfd for kind, pidfd in (shared or {}).items()}
        named |= {f"tasks{number}": fd for number, fd in enumerate(group.tasks)}
        request = {"key": ward.name, "flags": ward.request["flags"], "more": bool(ward.exec_id), "fds": list(named)}
        self._waiting[ward.name] = ward
        try:
            self._channel.sendmsg([json.dumps(request).encode()],
                                  [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", named.values()))])
        except (BrokenPipeError, ConnectionResetError):
            pass  # its death is about to be noticed, and this request with it
        finally:
            os.close(plan)

    def forget(self, ward: Ward) -> None:
        """Its answer, if it still comes, is of no use."""
        if self._waiting.get(ward.name) is ward:
            del self._waiting[ward.name]

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
        self.pid = interpreter.spawn(self._python, argv, [other.fileno()], settings=crossing.SETTINGS)
        other.close()
        self._channel = mine
        self._loop.watch(mine.fileno(), self._event)

    def _event(self, events: int) -> None:
        parcel = handover.receive(self._channel)
        if parcel is None:
            return self._respawn()
        answer = json.loads(parcel.letter + b"\0".join(parcel.fields))
        ward = self._waiting.pop(answer["key"], None)
        if ward is None:
            return handover.close(parcel.fds)
        ward.close_childs_ends()
        if ward.group is not None:
            ward.group.close_fds()
        if "pid" not in answer:
            return self._failed(ward, answer)
        pidfd, *namespaces = parcel.fds
        return self._cloned(ward, answer["pid"], pidfd, dict(zip(zygote.NAMESPACES, namespaces, strict=False)))

    def _respawn(self) -> None:
        self._loop.close(self._channel.detach())
        os.waitpid(self.pid, 0)
        open_requests, self._waiting = self._waiting, {}
        self._spawn()
        for ward in open_requests.values():
            self._died(ward)


def _memory(text: str) -> int:
    """A descriptor with `text` in it: a plan may be longer than a message on a socket."""
    fd = os.memfd_create("lading-plan", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(text.encode())
    return fd

