"""Notices at once when the kernel kills in a container for lack of memory, as long as this daemon runs.

What happens while it does not run is still in the group's counter, which is looked at when a watch begins; and what the
supervisor finds at the end of a run stands in its report of the exit.
"""

import asyncio
import os
import select
from collections.abc import Callable, Mapping
from contextlib import suppress

from adapters.kernel.cgroups import Tree
from adapters.kernel.cgroups.tree import Group
from adapters.kernel.kmsg import victims
from domain.ports.runtime import MemoryKills, Victim

_PAUSE = 0.25
"""Seconds between a signal and the look: version 1 tells before it kills, and a shortage rarely kills once."""

Listener = Callable[[MemoryKills], None]


class Shortages:
    """One watch for each run."""

    def __init__(self, tree: Tree, listener: Listener) -> None:
        self._tree, self._listener = tree, listener
        self._watches: dict[tuple[str, int], _Watch] = {}

    def expect(self, runs: Mapping[str, int]) -> None:
        """From now on these runs (container id → attempt) are watched as well."""
        for id, attempt in runs.items():
            if (id, attempt) not in self._watches:
                watch = _Watch(self._tree, id, attempt, self._listener)
                if watch.begin():
                    self._watches[id, attempt] = watch

    def forget(self, id: str, attempt: int) -> None:
        """The run is over."""
        watch = self._watches.pop((id, attempt), None)
        if watch is not None:
            watch.end()

    def close(self) -> None:
        """Watch nothing any more."""
        for key in list(self._watches):
            self.forget(*key)


class _Watch:
    """The signal of one group, and how many kills were told."""

    def __init__(self, tree: Tree, id: str, attempt: int, listener: Listener) -> None:
        self._group = Group(tree, f"{id}.{attempt}")
        self._path = f"/{tree.parent}/{id}.{attempt}"
        self._id, self._attempt, self._listener = id, attempt, listener
        self._told = 0
        self._fd = self._poll = -1
        self._look: asyncio.TimerHandle | None = None

    def begin(self) -> bool:
        """False if there is nothing to be watched."""
        try:
            self._fd, urgent = self._group.shortage_signal()
        except OSError:
            return False
        loop = asyncio.get_running_loop()
        # The loop knows no urgent data, which is what files of version 2 signal with; an epoll in between does.
        poll = select.epoll()
        poll.register(self._fd, select.EPOLLPRI if urgent else select.EPOLLIN)
        self._poll = os.dup(poll.fileno())
        poll.close()
        os.set_inheritable(self._poll, False)
        loop.add_reader(self._poll, self._signalled, urgent)
        if self._group.oom_kills():
            self._later()
        return True

    def end(self) -> None:
        """Let go."""
        if self._look is not None:
            self._look.cancel()
        asyncio.get_running_loop().remove_reader(self._poll)
        os.close(self._poll)
        os.close(self._fd)

    def _signalled(self, urgent: bool) -> None:
        with suppress(OSError):
            if urgent:
                os.pread(self._fd, 4096, 0)
            else:
                os.read(self._fd, 8)
        self._later()

    def _later(self) -> None:
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(_PAUSE, self._tell)

    def _tell(self) -> None:
        self._look = None
        kills = self._group.oom_kills()
        if kills > self._told:
            self._told = kills
            found = tuple(Victim(pid, name) for pid, name in victims(self._path))
            self._listener(MemoryKills(self._id, self._attempt, kills, found))
