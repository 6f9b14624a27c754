"""Outcomes into the log: the container's event and, for a commit, the image and its tag in the same transaction."""

from domain.errors import Conflict
from domain.lifecycle.commit import Committed
from domain.messages import Append
from workers.images import Images
from workers.mover import Mover
from workers.wire import Outcome, Work


class Settler:
    """Appends what workers have told."""

    def __init__(self, mover: Mover, images: Images) -> None:
        self._mover, self._images = mover, images

    async def settle(self, work: Work, outcome: Outcome) -> None:
        """Append the outcome, if its intent is still open. Raises: StorageError."""
        if outcome.event is None:
            return
        if outcome.image is None or not isinstance(outcome.event, Committed):
            await self._mover.settle(work.id, work.position, outcome.event)
            return
        parent = (await self._mover.container(work.id)).settled.image_id
        async with self._images.guard:
            while True:
                more: tuple[Append, ...] = await self._images.record_committed(
                    outcome.image, reference=outcome.event.reference, parent=parent, source=work.id
                )
                try:
                    await self._mover.settle(work.id, work.position, outcome.event, more=more)
                    return
                except Conflict:
                    self._mover.forget(work.id)
