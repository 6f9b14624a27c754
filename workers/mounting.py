"""Volumes ready to be used: their directories made, and mounted what the options of their driver say, for as long as a
container runs that uses them.

What is mounted is no fact of the log: it follows from which containers run, and after a crash it is made so again.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from domain.container import Container, State
from domain.errors import KernelError
from domain.lifecycle.exit import Exited
from domain.lifecycle.start import StartFailed
from domain.messages import Recorded
from domain.mounts import Mount
from domain.ports.events import Views
from domain.ports.volumes import VolumeStore
from domain.volumes.driver import local_mount
from workers.mover import Mover

log = logging.getLogger(__name__)

_AT_REST = frozenset({State.CREATED.value, State.EXITED.value, State.DEAD.value, State.REMOVED.value})


class Mounting:
    """Mounts and unmounts the volumes of this host."""

    def __init__(self, mover: Mover, views: Views, contents: VolumeStore) -> None:
        self._mover, self._views, self._contents = mover, views, contents
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._used: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def prepare(self, container: Container) -> None:
        """Everything that the container is to see is there afterwards. Raises: KernelError."""
        for name in names(container.settled.mounts):
            async with self._lock(name):
                await self._contents.make(name)
                if (what := local_mount(await self._options(name))) is not None:
                    await self._contents.mount(name, what)

    @asynccontextmanager
    async def using(self, container: Container) -> AsyncIterator[None]:
        """The same for somebody who looks at the files of a container that may be at rest. Raises: KernelError."""
        used = names(container.settled.mounts)
        self._used.update(used)
        try:
            await self.prepare(container)
            yield
        finally:
            self._used -= Counter(used)  # which forgets those that nobody uses
            await self._release(used)

    def notice(self, record: Recorded) -> None:
        """Hear every event: with the end of a run its volumes may be idle."""
        if isinstance(record.event, Exited | StartFailed):
            task = asyncio.create_task(self._ended(record.stream.key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def begin(self) -> None:
        """What a crash has left mounted, and nobody uses, is unmounted."""
        await self._release(await self._contents.mounted())

    async def stop(self) -> None:
        """Returns when nothing is being unmounted."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ended(self, id: str) -> None:
        container = await self._mover.container(id)
        if container.spec is not None:
            await self._release(names(container.spec.mounts))

    async def _release(self, found: Sequence[str]) -> None:
        for name in found:
            if not await self._options(name):
                continue
            async with self._lock(name):
                if not self._used[name] and not await self._busy(name):
                    await self._unmount(name)

    async def _unmount(self, name: str) -> None:
        try:
            await self._contents.unmount(name)
        except KernelError as error:
            log.warning("volume %s stays mounted until its next use is over: %s", name, error)

    async def _busy(self, name: str) -> bool:
        users = (await self._views.get("volumes", name) or {}).get("users")
        ids = [str(id) for id in users] if isinstance(users, list | tuple) else []
        rows = await self._views.select("containers", where={"id": ids}) if ids else ()
        return any(row["state"] not in _AT_REST for row in rows)

    async def _options(self, name: str) -> Mapping[str, str]:
        options = (await self._views.get("volumes", name) or {}).get("options")
        return {str(key): str(value) for key, value in options.items()} if isinstance(options, Mapping) else {}

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())


def names(mounts: Sequence[Mount]) -> list[str]:
    """Of the volumes among the mounts, each once."""
    return sorted({mount.source for mount in mounts if mount.type == "volume"})
