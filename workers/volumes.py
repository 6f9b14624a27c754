"""What the engine does with volumes: make them, let containers use them, take them away. It appends; the contents are
the store's.

A removal is asked for by an event, carried out, and ended by another; one that a crash has interrupted is carried on at
the next start. Whoever wants a volume meanwhile waits for nobody and is refused.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from domain.container import Container
from domain.errors import Conflict, InvalidValue, KernelError, NotFound
from domain.failpoints import failpoint
from domain.messages import Append, Meta, StreamId
from domain.mounts import Mount
from domain.ports.bus import Clock
from domain.ports.events import EventStore, Views
from domain.ports.volumes import VolumeStore
from domain.projections.fold import Row
from domain.volumes import streams
from domain.volumes.driver import local_mount
from domain.volumes.events import VolumeClaimed, VolumeCreated, VolumeRemoved, VolumeRemoveFailed, VolumeRemoveRequested
from domain.volumes.names import volume_name
from domain.volumes.streams import Volume

ANONYMOUS = {"com.docker.volume.anonymous": ""}
"""The label by which scripts know a volume that nobody has named."""

_TRIES = 10
_T = TypeVar("_T")


class Volumes:
    """The volumes of this host."""

    def __init__(self, store: EventStore, views: Views, contents: VolumeStore, clock: Clock) -> None:
        self._store, self._views, self._contents, self._clock = store, views, contents, clock
        self._removing = asyncio.Lock()

    # Questions

    async def volume(self, name: str) -> Volume:
        """The volume as its stream tells it, also one that is not there."""
        return streams.fold(name, await self._store.load(StreamId("volume", volume_name(name))))

    async def list(self) -> Sequence[Row]:
        """All rows, by name."""
        return await self._views.select("volumes", order="name")

    async def row(self, name: str) -> Row | None:
        """One of them; None if there is none of that name, or none can have it."""
        return await self._views.get("volumes", name)

    async def check_removal(self, name: str) -> None:
        """Whether it could be removed now. Raises: NotFound, InUse, Refused."""
        _check_possible(name)
        streams.remove(await self.volume(name))

    def mountpoint(self, name: str) -> str:
        """Where the contents lie on this host."""
        return self._contents.mountpoint(name)

    async def size(self, name: str) -> int:
        """Bytes of the contents."""
        return await self._contents.size(name)

    # Making

    async def create(
        self, name: str, meta: Meta, *, options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Make a volume, unless it is there; without a name it gets one that nobody has. Returns its name.

        Raises: InvalidValue, Refused (it is there and of another kind, or just going away), KernelError.
        """
        if meta.command_id and (done := await self._store.replied(meta.command_id)) is not None:
            return done.body
        given = volume_name(name) if name else self._clock.new_id()
        local_mount(options or {})
        wish = VolumeCreated(
            options=dict(options or {}), labels={**(labels or {}), **({} if name else ANONYMOUS)}, anonymous=not name
        )

        async def once() -> None:
            batch = streams.create(await self.volume(given), wish)
            if batch:
                await self._store.append(batch, meta, reply=given if meta.command_id else None)

        await _again(once)
        await self._contents.make(given)
        return given

    async def claims(self, id: str, name: str, mounts: Sequence[Mount]) -> tuple[Append, ...]:
        """What lets a container use its volumes, to be appended together with its creation. Raises: Refused."""
        wanted: dict[str, list[Mount]] = {}
        for mount in mounts:
            if mount.type == "volume":
                wanted.setdefault(mount.source, []).append(mount)
        return tuple([await self._claim(id, name, source, found) for source, found in sorted(wanted.items())])

    async def _claim(self, id: str, name: str, source: str, mounts: Sequence[Mount]) -> Append:
        wish = VolumeClaimed(
            container=id,
            name=name,
            targets=tuple(mount.target for mount in mounts),
            read_only=all(mount.read_only for mount in mounts),
        )
        first, anonymous = mounts[0], any(mount.anonymous for mount in mounts)
        made = VolumeCreated(anonymous=anonymous, labels={**first.volume_labels, **(ANONYMOUS if anonymous else {})},
                             options=first.driver_options, by="container")
        return streams.claim(await self.volume(source), wish, made)

    # Taking away

    async def releases(self, container: Container, *, remove: bool) -> tuple[Append, ...]:
        """What a container that goes away gives back, to be appended together with its removal."""
        names = sorted({mount.source for mount in container.settled.mounts if mount.type == "volume"})
        batches = [streams.release(await self.volume(name), container.id, remove=remove) for name in names]
        return tuple(append for batch in batches for append in batch)

    async def remove(self, name: str, meta: Meta) -> None:
        """Take a volume away with its contents. Raises: NotFound, InUse, Refused, KernelError (tried again later)."""
        _check_possible(name)
        failure = await asyncio.shield(self._remove(name, meta))
        if failure:
            raise KernelError(failure, stage="remove", path=name)

    async def _remove(self, name: str, meta: Meta) -> str:
        """What has gone wrong, empty if nothing. Who asked may go away: what was begun is ended all the same, and what
        an error has stopped, so that nobody is at it, goes on."""

        async def once() -> None:
            volume = await self.volume(name)
            if volume.state != "removing" or self._removing.locked():
                await self._store.append((streams.remove(volume),), meta)

        await _again(once)
        return await self._finish(name)

    async def carry_on(self) -> int:
        """Carry out every removal that was asked for and has no outcome; how many there were."""
        intents = [i for i in await self._store.open_intents() if i.kind == VolumeRemoveRequested.stored_as]
        for intent in intents:
            await self._finish(intent.stream.key)
        return len(intents)

    async def recover(self) -> None:
        """At start: the same, and once more what could not be deleted whole. Raises: StorageError."""
        await self.carry_on()
        for row in await self._views.select("volumes", where={"state": "broken"}):
            await self._remove(str(row["name"]), Meta())

    async def _finish(self, name: str) -> str:
        """Delete the contents and say so; what has gone wrong, empty if nothing."""
        async with self._removing:
            volume = await self.volume(name)
            if volume.state != "removing":
                return ""
            failpoint("volumes.before-delete")
            failure = ""
            try:
                await self._contents.delete(name)
            except KernelError as error:
                failure = error.message
            failpoint("volumes.before-removed")
            outcome = VolumeRemoveFailed(residue=failure) if failure else VolumeRemoved()
            await self._store.append((volume.append(outcome),), Meta(cause=volume.request))
            return failure


def _check_possible(name: str) -> None:
    """Raises: NotFound for what no volume can be called: clients try one kind of thing after the other with a name."""
    try:
        volume_name(name)
    except InvalidValue as error:
        raise NotFound(f"get {name}: no such volume") from error


async def _again(work: Callable[[], Awaitable[_T]]) -> _T:
    """Once more when somebody else has appended meanwhile."""
    for attempt in range(_TRIES):
        try:
            return await work()
        except Conflict:
            if attempt == _TRIES - 1:
                raise
    raise AssertionError("the last try returns or raises")
