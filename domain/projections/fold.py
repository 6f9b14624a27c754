"""What a projection is: one row per key, folded from events; the same code serves appends and rebuilds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from domain.messages import Recorded

Row = Mapping[str, object]
"""Column name to None, bool, int, str or a JSON-able dict/list (stored as text)."""


@dataclass(frozen=True, slots=True)
class Column:
    """`type` is `integer`, `text` or `json`; a unique column holds a set rule (NULLs are free)."""

    name: str
    type: str
    unique: bool = False
    indexed: bool = False


class Projection(Protocol):
    """`name` is the table, the first column its key. An inline projection is written with the events."""

    name: str
    columns: tuple[Column, ...]
    inline: bool
    revision: int

    def keys(self, record: Recorded) -> tuple[str, ...]:
        """Keys of the rows that this event touches."""

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """The row after the event; None deletes it. Must not look at anything but its arguments."""
