"""The files of containers, and what they use."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from domain.copying import Found
from domain.mounts import Mount
from domain.ports.logs import Passed
from domain.ports.runtime import StartedProcess


class Access(Protocol):
    """The files of one container for one copy: after any number of looks one archive, in or out.

    Paths are clean and absolute (`domain.copying`); nothing that is called by them can lead out of the container,
    whatever its processes do meanwhile. One that ends in `/` or `/.` means what it leads to.
    """

    async def look(self, path: str, *, follow: bool = False) -> Found:
        """What is there, or where a link leads. Raises: Refused, KernelError."""

    def pack(self, path: str, name: str, *, follow: bool = False, fine: bool = False) -> AsyncIterator[bytes]:
        """What is there as a tar, called `name` in it; `follow` packs the target of a link, `fine` keeps the digits of
        times. Raises: NotFound, Refused, KernelError."""

    async def spread(self, directory: str, content: AsyncIterator[bytes], *, owners: bool = False) -> Passed:
        """Put the entries of a tar below `directory`; they belong to root and give nobody rights unless `owners` says
        that they are to be as they are. Raises: NotFound, Refused, KernelError."""


class Files(Protocol):
    """The way to containers' files."""

    def running(
        self, id: str, run: StartedProcess, *, whole: bool = True, writable: bool = False
    ) -> AbstractAsyncContextManager[Access]:
        """Of a container that runs: as its first process sees them (`whole`), or the root file system without what is
        mounted in it. The next start ends those that write.

        Raises: KernelError when that process has ended.
        """

    def resting(
        self, id: str, layers: Sequence[str], still: Callable[[], Awaitable[bool]], *, writable: bool = False,
        mounts: Sequence[Mount] = (), fresh: bool = False,
    ) -> AbstractAsyncContextManager[Access]:
        """Of one that does not run, as `still` says, with directories of the host and volumes among `mounts` where they
        will be; a `fresh` one was never started, so its empty volumes are still to begin with what the image has.
        Only one may write at a time, and a start ends it.

        Raises: Refused when a start has come first, or (later) has called the writing off.
        """


@dataclass(frozen=True, slots=True)
class Usage:
    """What the processes of a container have used and use; sizes in bytes, `cpu` in ns, `time` (ns, monotonic) when it
    was read, `limit` 0 for none. `received` and `sent` went through the interfaces of a network of its own."""

    time: int
    cpu: int
    memory: int
    limit: int
    read: int
    written: int
    processes: int
    received: int = 0
    sent: int = 0


class Meter(Protocol):
    """Reads control groups."""

    async def usage(self, ids: Sequence[str]) -> Mapping[str, Usage]:
        """Of each container that has processes, all at once; others are missing."""

    def memory(self) -> int:
        """Bytes that the host has."""
