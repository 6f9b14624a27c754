"""Containers' files and figures as the console asks for them: copies in and out, exports, changes, use of resources.

Bytes pass through in pieces and are kept nowhere; what was taken or brought is noted as a fact, also when it was broken
off half way.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from domain.container import LIVE, Container, State
from domain.errors import KernelError, LadingError, Refused
from domain.lifecycle.absent import present
from domain.messages import Command
from domain.ports.files import Access, Files
from domain.ports.runtime import StartedProcess
from workers.mover import Caller, Mover
from workers.sampler import Sampler

Change = tuple[str, str]
"""`A`, `C` or `D`, and the path."""


@dataclass(frozen=True, slots=True)
class FileDesk:
    """`layers` gives the short names of a container's layers, `changed` what its writable layer has over them;
    `using` keeps its volumes ready."""

    mover: Mover
    files: Files
    sampler: Sampler
    layers: Callable[[Container], Awaitable[Sequence[str]]]
    changed: Callable[[Container], AsyncIterator[Change]]
    using: Callable[[Container], AbstractAsyncContextManager[None]]

    @asynccontextmanager
    async def reach(self, id: str, *, writable: bool = False, whole: bool = True) -> AsyncIterator[Access]:
        """The files of a container, running or not; without `whole` only its root file system.

        Raises: NotFound, Refused, KernelError.
        """
        async with AsyncExitStack() as stack:
            yield await self._enter(stack, id, writable, whole)

    async def changes(self, id: str) -> AsyncIterator[Change]:
        """What the container has changed, parents before what is in them. Raises: NotFound, Refused, StorageError."""
        container = await self._settled(id)
        async for change in self.changed(container):
            yield change

    async def note(self, id: str, fact: Command, who: Caller) -> None:
        """Write down what has happened; a container that was removed meanwhile has no story any more."""
        await asyncio.shield(self._note(id, fact, who))

    async def _note(self, id: str, fact: Command, who: Caller) -> None:
        await self.mover.accept(id, (fact,), Caller(who.actor))

    async def _enter(self, stack: AsyncExitStack, id: str, writable: bool, whole: bool) -> Access:
        """By the way that fits; a container that starts or ends in this moment is tried once more by the other way."""
        while True:
            container = await self._settled(id)
            live = container.state in LIVE
            if writable and not live and container.settled.read_only:
                raise Refused("container rootfs is marked read-only")
            try:
                if live:
                    run = StartedProcess(container.pid, container.start_time, container.cgroup)
                    way = self.files.running(id, run, whole=whole, writable=writable)
                else:
                    layers = await self.layers(container)
                    mounts = container.settled.mounts if whole else ()
                    if mounts:
                        await stack.enter_async_context(self.using(container))
                    way = self.files.resting(id, layers, lambda: self._rests(id), writable=writable, mounts=mounts,
                                             fresh=not container.attempt)
                return await stack.enter_async_context(way)
            except (KernelError, Refused):
                now = await self.mover.container(id)
                if (now.state in LIVE, now.attempt) == (live, container.attempt) and now.state is not State.STARTING:
                    raise

    async def _settled(self, id: str) -> Container:
        container = await self.mover.until(id, lambda c: c.state is not State.STARTING)
        assert container is not None
        present(container)
        return container

    async def _rests(self, id: str) -> bool:
        container = await self.mover.container(id)
        return container.state not in LIVE and container.state is not State.STARTING


async def quietly(work: Awaitable[None]) -> None:
    """Do it, and let a refusal pass: what has gone wrong before counts more."""
    try:
        await work
    except LadingError:
        return
