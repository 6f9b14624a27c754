"""Outcomes into the log: the container's event, and what belongs to it in other streams, in the same transaction: the
image and the tag of a commit, and the volumes that a container gives back when it is gone."""

from collections.abc import Callable, Sequence

from domain.errors import Conflict
from domain.lifecycle.commit import Committed
from domain.lifecycle.remove import Removed
from domain.messages import Append, Event
from workers.images import Images
from workers.mover import More, Mover
from workers.volumes import Volumes
from workers.wire import Outcome, Work


class Settler:
    """Appends what workers have told; `released` is called when volumes may have been given up with a container."""

    def __init__(self, mover: Mover, images: Images, volumes: Volumes, released: Callable[[], None]) -> None:
        self._mover, self._images, self._volumes, self._released = mover, images, volumes, released

    async def settle(self, work: Work, outcome: Outcome) -> None:
        """Append the outcome, if its intent is still open. Raises: StorageError."""
        event = outcome.event
        if event is None:
            return
        if isinstance(event, Committed) and outcome.image is not None:
            await self._committed(work, outcome, event)
        elif isinstance(event, Removed):
            await self._removed(work, event)
        else:
            await self._mover.settle(work.id, work.position, event)

    async def _committed(self, work: Work, outcome: Outcome, event: Committed) -> None:
        parent, image = (await self._mover.container(work.id)).settled.image_id, outcome.image
        assert image is not None

        async def recorded() -> Sequence[Append]:
            return await self._images.record_committed(
                image, reference=event.reference, parent=parent, source=work.id
            )

        async with self._images.guard:
            await self._append(work, event, recorded)
        self._images.commit_settled(image.id)

    async def _removed(self, work: Work, event: Removed) -> None:
        gone = await self._mover.container(work.id)

        async def released() -> Sequence[Append]:
            container = await self._mover.container(work.id)
            return await self._volumes.releases(container, remove=container.takes_volumes)

        await self._append(work, event, released)
        if gone.takes_volumes and gone.settled.mounts:
            self._released()

    async def _append(self, work: Work, event: Event, more: More) -> None:
        while True:
            also = await more()
            try:
                await self._mover.settle(work.id, work.position, event, more=also)
                return
            except Conflict:
                self._mover.forget(work.id)
