"""What is stored, and what is asked of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from domain.messages import Append, Meta, Recorded, StreamId
from domain.projections.fold import Row


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """Work that was recorded and whose outcome is not: `kind` is the stored name of the intent at `position`."""

    position: int
    stream: StreamId
    kind: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command answered, stored with its events: a retried command gets this again."""

    first: int
    last: int
    body: str


class EventStore(Protocol):
    """The log of this host: the only truth."""

    async def load(self, stream: StreamId) -> Sequence[Recorded]:
        """All events of one stream in order; sealed fields readable while the stream's key exists."""

    async def append(self, batch: Sequence[Append], meta: Meta, *, reply: str | None = None) -> Sequence[Recorded]:
        """Store all events of `batch` in one transaction, with the inline projections, the intents and (if both
        `meta.command_id` and `reply` are given) the reply. Durable when it returns.

        Raises: Conflict (a stream is not at its expected version, or the command id was used), NameTaken (a set rule),
        StorageError (nothing was stored, and nothing more will be accepted if the disk failed).
        """

    async def replied(self, command_id: str) -> Reply | None:
        """The stored reply of a command, if it was already carried out."""

    async def read(
        self, after: int, limit: int = 1000, *, streams: Sequence[StreamId] | None = None
    ) -> Sequence[Recorded]:
        """Up to `limit` events with a position above `after`, in order."""

    async def open_intents(self) -> Sequence[OpenIntent]:
        """What is still to be done, oldest first."""

    async def head(self) -> int:
        """The position of the last event; 0 for an empty log."""

    async def position_at(self, time: int) -> int:
        """The last position whose time (ns) is at or before `time`."""


class Views(Protocol):
    """The projections' rows, for queries."""

    async def at(
        self,
        projection: str,
        position: int,
        *,
        where: dict[str, object] | None = None,
        prefix: tuple[str, str] | None = None,
        order: str = "",
        descending: bool = False,
        limit: int | None = None,
    ) -> Sequence[Row]:
        """`select` on a temporal projection, as its rows were after the event at a position."""

    async def get(self, projection: str, key: str) -> Row | None:
        """One row by its key."""

    async def select(
        self,
        projection: str,
        *,
        where: dict[str, object] | None = None,
        prefix: tuple[str, str] | None = None,
        order: str = "",
        descending: bool = False,
        limit: int | None = None,
    ) -> Sequence[Row]:
        """Rows with equal columns (a value may be a list: any of them), a text column's prefix, in order."""
