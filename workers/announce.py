"""An event store that tells of what it has stored: nothing is appended behind the relay's back."""

from collections.abc import Callable, Sequence

from domain.errors import Conflict, LadingError, Refused
from domain.messages import Append, Meta, Recorded, StreamId
from domain.ports.events import EventStore, OpenIntent, Reply
from workers.unbroken import unbroken


class Announcing:
    """Wraps an EventStore; `told` gets every batch after its commit, also when its caller has gone away meanwhile.

    `heard()` is the position up to which `told` has got everything. A commit that fails may still have been made: then
    the log is read, so that nothing in it stays untold. `told` bears to hear a record twice.
    """

    def __init__(
        self, store: EventStore, told: Callable[[Sequence[Recorded]], None], heard: Callable[[], int]
    ) -> None:
        self._store, self._told, self._heard = store, told, heard

    async def append(self, batch: Sequence[Append], meta: Meta, *, reply: str | None = None) -> Sequence[Recorded]:
        """See EventStore.append."""
        return await unbroken(self._append(batch, meta, reply))

    async def _append(self, batch: Sequence[Append], meta: Meta, reply: str | None) -> Sequence[Recorded]:
        try:
            records = await self._store.append(batch, meta, reply=reply)
        except (Refused, Conflict):
            raise
        except Exception:
            await self._tell_missed()
            raise
        self._told(records)
        return records

    async def _tell_missed(self) -> None:
        before = -1
        while before < self._heard():
            before = self._heard()
            try:
                self._told(await self._store.read(before))
            except LadingError:
                return  # the disk is gone altogether: there will be no more commits to tell of

    async def load(self, stream: StreamId) -> Sequence[Recorded]:
        """See EventStore.load."""
        return await self._store.load(stream)

    async def replied(self, command_id: str) -> Reply | None:
        """See EventStore.replied."""
        return await self._store.replied(command_id)

    async def read(
        self, after: int, limit: int = 1000, *, streams: Sequence[StreamId] | None = None
    ) -> Sequence[Recorded]:
        """See EventStore.read."""
        return await self._store.read(after, limit, streams=streams)

    async def open_intents(self) -> Sequence[OpenIntent]:
        """See EventStore.open_intents."""
        return await self._store.open_intents()

    async def head(self) -> int:
        """See EventStore.head."""
        return await self._store.head()

    async def position_at(self, time: int) -> int:
        """See EventStore.position_at."""
        return await self._store.position_at(time)
