"""Old versions of events to today's: `Upcaster`s from one stored name to the next; stored bytes never change.

An event whose shape changes (more than by a field with a default) gets a new name, and an entry here:

    "paused.v1": Upcaster("paused.v2", lambda old: {**old, "seconds": old["minutes"] * 60})
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

Document = dict[str, Any]
"""A stored payload, parsed."""


@dataclass(frozen=True, slots=True)
class Upcaster:
    """Turns a payload into that of the version named `into`; pure, and total over everything ever stored."""

    into: str
    change: Callable[[Document], Document]


UPCASTERS: Mapping[str, Upcaster] = MappingProxyType({})
"""Stored name to the step that leads to the next version; no name of a class that still exists appears here."""


def upcast(stored_as: str, document: Document, table: Mapping[str, Upcaster] = UPCASTERS) -> tuple[str, Document]:
    """Follow the steps from `stored_as` to the newest version."""
    while (step := table.get(stored_as)) is not None:
        stored_as, document = step.into, step.change(document)
    return stored_as, document
