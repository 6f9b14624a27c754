"""What a projection is: one row per key, folded from events; the same code serves appends and rebuilds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from domain.messages import Recorded

Row = Mapping[str, object]
"""Column name to None, bool, int, str or a JSON-able dict/list (stored as text)."""


@dataclass(frozen=True, slots=True)
class Column:
    """`type` is `integer`, `text` or `json`; a unique column holds a set rule. Rows that have no value (NULL) there are
    free of the rule, and are not in the index of an indexed column: who looks for NULLs looks at all rows."""

    name: str
    type: str
    unique: bool = False
    indexed: bool = False


class Projection(Protocol):
    """`name` is the table, the first column its key. An inline projection is written with the events.

    Events of one stream only ever touch rows that no other stream touches, so that streams can be folded apart.
    """

    @property
    def name(self) -> str:
        """The table."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The key first."""

    @property
    def inline(self) -> bool:
        """Whether it is written in the transaction of the events."""

    @property
    def revision(self) -> int:
        """Counted up when the fold changes its meaning in a way its source does not show."""

    def keys(self, record: Recorded) -> tuple[str, ...]:
        """Keys of the rows that this event touches."""

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """The row after the event; None deletes it. Must not look at anything but its arguments."""
