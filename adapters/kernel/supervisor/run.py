"""One run: attempt N of a container, from the wish to start it to its grave; what the warden knows about it."""

import json
import os
from typing import Any

from adapters.kernel import terminals
from adapters.kernel.supervisor import handover, zygote
from adapters.kernel.supervisor.output import PIPE_SIZE, Output
from adapters.kernel.supervisor.ward import Ward, output_pipe
from domain.logs import LOCAL, Keeping, Limits

_STREAMS = {"stdout": 1, "stderr": 2}
_KILLED = 9  # the wait status of who has got SIGKILL
_SPLICE_NONBLOCK = 2  # SPLICE_F_NONBLOCK of splice(2)


class Run(Ward):
    """`devpts` is the container's instance of that file system.

    What comes from a terminal goes through a pipe, from `relay` to `stdout`: moved there by the kernel it is in one of
    the two, and both survive us; and from a pipe it goes to the log without being read.
    """

    KEPT = (*Ward.KEPT, "relay")
    PLACES = ("devpts", *zygote.NAMESPACES)
    """What is kept as well, and is a part of the kernel's picture of the container."""

    def __init__(self, id: str, attempt: int, directory: str, keeping: Keeping = LOCAL) -> None:
        super().__init__(id, attempt)
        self.directory = directory
        self.keeping = keeping
        self.relay = self.devpts = self.mnt = self.ipc = self.net = -1
        self.output = Output(directory, attempt, keeping.limits)
        self.kills = 0
        self.victims: list[tuple[int, str]] = []

    @property
    def pipes(self) -> list[tuple[int, int]]:
        """(descriptor, stream) of what is still open."""
        return [(getattr(self, name), stream) for name, stream in _STREAMS.items() if getattr(self, name) >= 0]

    def prepare(self) -> None:
        """Everything that must be there before the child. Raises: OSError, KernelError."""
        self.crosses = "pid" in self.request.get("share", {})
        self.devpts = terminals.new_instance()
        self.open_channels(self.devpts)
        if self.terminal >= 0:
            self.stdout, self.relay = output_pipe()

    def relay_output(self) -> int:
        """Move what the terminal has into the pipe; how many bytes that were."""
        try:
            return os.splice(self.terminal, self.relay, PIPE_SIZE, flags=_SPLICE_NONBLOCK)
        except BlockingIOError:
            return 0  # nothing there, or the pipe is full
        except OSError:
            return 0  # EIO: nobody has the other end

    def held(self) -> handover.Held:
        """What a successor needs to go on with it."""
        held = super().held()
        return handover.Held(held.note, {**held.fds, **self._places()})

    def places(self) -> list[int]:
        """Those descriptors, to be closed; they are no longer ours then."""
        places = self._places()
        for name in places:
            setattr(self, name, -1)
        return list(places.values())

    def _places(self) -> dict[str, int]:
        return {name: fd for name in self.PLACES if (fd := getattr(self, name)) >= 0}

    def _note(self) -> dict[str, Any]:
        return {**super()._note(), "logs": self.directory, "log": pack(self.keeping), "lost": self.output.lost}

    @staticmethod
    def taken_back(held: handover.Held) -> "Run":
        """The run that a former warden has left."""
        note = json.loads(held.note)
        run = Run(note["id"], note["attempt"], note["logs"], unpack(note["log"]) if "log" in note else LOCAL)
        run.output.lost = note["lost"]
        run.take_back(note, held.fds)
        return run

    def exit(self, how: str = "") -> dict[str, Any]:
        """The record of how it ended. A process that was killed was so for want of memory only if the kernel names it,
        where the kernel names anybody."""
        others = self.victims and self.pid not in {pid for pid, _ in self.victims}
        if not how and others and self.wait_status == _KILLED:
            how = "signal"
        killed = {"kills": self.kills, "victims": self.victims} if self.kills else {}
        return {**super().exit(how), "lost": self.output.lost, "dropped": self.output.dropped, **killed}


def pack(keeping: Keeping) -> list[Any]:
    """As it travels between processes."""
    return [keeping.driver, *keeping.limits]


def unpack(packed: Any) -> Keeping:
    """The reverse of `pack`. Raises: ValueError for anything else."""
    match packed:
        case ["local" | "json-file" | "none" as driver, int(size), int(files)] if size > 0 and files > 0:
            return Keeping(driver, Limits(size, files))
    raise ValueError("not a way to keep output")
