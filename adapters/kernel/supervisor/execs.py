"""Execs: processes more in a container that runs, and who takes what they write.

An exec's output is lent: the daemon gets duplicates of our ends and reads them itself, so that a slow reader is
back-pressure and no byte passes through here. When nobody has them (the daemon is gone, or never got the answer) the
output is read to nowhere and the input ended, so that the process neither blocks nor waits for ever.
"""

import json
import os
from collections.abc import Callable
from typing import Any

from adapters.kernel.supervisor import handover, loop
from adapters.kernel.supervisor.ward import ENDED, STARTED, Answer, Key, Ward
from domain.failpoints import failpoint

_GRACE = 10.0  # for a daemon to come back and say what it holds, or to ask again for what it did not get
_CHUNK = 1 << 16
_OUTPUTS = ("stdout", "stderr", "terminal")


class Exec(Ward):
    """`lent`: somebody has its output. `ooms`: how often memory had run out in the container when it began."""

    def __init__(self, id: str, attempt: int, exec_id: str) -> None:
        super().__init__(id, attempt, exec_id)
        self.lent = False
        self.ooms = 0

    def _note(self) -> dict[str, Any]:
        return {**super()._note(), "ooms": self.ooms}

    @property
    def outputs(self) -> dict[str, int]:
        """Where it writes: our ends by name."""
        return {name: fd for name in _OUTPUTS if (fd := getattr(self, name)) >= 0}

    @staticmethod
    def taken_back(held: handover.Held) -> "Exec":
        """The exec that a former warden has left."""
        note = json.loads(held.note)
        ward = Exec(note["id"], note["attempt"], note["exec"])
        ward.ooms = note["ooms"]
        ward.take_back(note, held.fds)
        return ward


class Execs:
    """All of them by key; `end_input` ends one's input for good."""

    def __init__(self, events: loop.Loop, end_input: Callable[[Ward], None]) -> None:
        self.wards: dict[Key, Exec] = {}
        self._loop = events
        self._end_input = end_input
        self._left: dict[Key, dict[str, int]] = {}  # output that was not asked for before the end
        self._draining: set[int] = set()
        self._daemons = 0
        events.later(_GRACE, self._drop_all)

    def lend(self, ward: Exec, answer: Answer, message: dict[str, Any]) -> None:
        """Tell that it runs, with its output."""
        failpoint("warden.before-lend")
        if self._given(ward.outputs, answer, message):
            ward.lent = True
            self._stop_draining(ward)

    def drop_soon(self, ward: Exec) -> None:
        """Unless somebody comes for its output."""
        if not ward.lent:
            self._loop.later(_GRACE, lambda: self._drop(ward))

    def lend_left(self, key: Key, answer: Answer, message: dict[str, Any]) -> None:
        """Tell that it has ended, with what it has left: whoever asks may have heard of its end before."""
        if self._given(self._left.get(key, {}), answer, {**message, "over": True}):
            self._close_left(key)

    def leave(self, ward: Exec) -> None:
        """It has ended and is about to be forgotten: output nobody has got yet stays for a while."""
        if ward.lent or ward.phase != ENDED or self._draining & set(ward.outputs.values()):
            return
        key = ward.key
        self._left[key] = {name: os.dup(fd) for name, fd in ward.outputs.items()}
        self._loop.later(_GRACE, lambda: self._close_left(key))

    def close(self, ward: Exec) -> list[int]:
        """Watch its output no more; the descriptors that are to be closed."""
        self._stop_draining(ward)
        self.wards.pop(ward.key, None)
        return ward.open_fds()

    def daemon_came(self, holds: set[str]) -> None:
        """A daemon that has the outputs called `holds`, and no others."""
        self._daemons += 1
        for ward in list(self.wards.values()):
            ward.lent = ward.name in holds
            if not ward.lent and ward.phase == STARTED:
                self._drop(ward)

    def daemon_left(self) -> None:
        """It may come back at once, or be replaced."""
        self._daemons -= 1
        self._loop.later(_GRACE, self._drop_all)

    def _given(self, outputs: dict[str, int], answer: Answer, message: dict[str, Any]) -> bool:
        return answer({**message, "lends": list(outputs)}, list(outputs.values()))

    def _drop_all(self) -> None:
        if not self._daemons:
            for ward in list(self.wards.values()):
                ward.lent = False
                self._drop(ward)

    def _drop(self, ward: Exec) -> None:
        """From now on its output goes nowhere and its input is at the end."""
        if ward.lent or self.wards.get(ward.key) is not ward or ward.phase != STARTED:
            return
        for fd in ward.outputs.values():
            self._draining.add(fd)
            self._loop.watch(fd, lambda events, fd=fd: self._discard(fd, events))  # type: ignore[misc]
        self._end_input(ward)

    def _discard(self, fd: int, events: int) -> None:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # a terminal that has hung up
        if not data:
            self._loop.forget(fd)
            self._draining.discard(fd)

    def _stop_draining(self, ward: Exec) -> None:
        for fd in self._draining & set(ward.outputs.values()):
            self._loop.forget(fd)
            self._draining.discard(fd)

    def _close_left(self, key: Key) -> None:
        handover.close(list(self._left.pop(key, {}).values()))
