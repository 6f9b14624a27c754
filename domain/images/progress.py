"""How far a pull or a push is: one part for each layer. Written by the threads that move bytes, read by who shows it.

A part goes through its states in order and skips what does not apply:

    pull    waiting → downloading → downloaded → extracting → complete, or waiting → exists
    push    waiting → pushing → pushed, or waiting → exists, or waiting → mounted
"""

from dataclasses import dataclass, field
from typing import Literal

State = Literal[
    "waiting", "downloading", "downloaded", "extracting", "complete", "exists", "pushing", "pushed", "mounted"
]
ENDS: frozenset[State] = frozenset({"complete", "exists", "pushed", "mounted"})
"""States that a part stays in."""


@dataclass(slots=True)
class Part:
    """One layer: `done` of `size` bytes have come or gone; `resumed` of them were here before; `source` is where it was
    mounted from."""

    digest: str
    size: int
    state: State = "waiting"
    done: int = 0
    resumed: int = 0
    source: str = ""

    @property
    def short(self) -> str:
        """As it is shown."""
        return self.digest.removeprefix("sha256:")[:12]


@dataclass(slots=True)
class Progress:
    """All parts, once they are known; `note` says why nothing moves."""

    parts: list[Part] = field(default_factory=list)
    note: str = ""

    def say(self, note: str) -> None:
        """Why nothing moves; empty when it does."""
        self.note = note

    @property
    def total(self) -> int:
        """Bytes that have to be moved altogether, as far as that is known."""
        return sum(part.size for part in self.parts if part.state not in ("exists", "mounted"))

    @property
    def moved(self) -> int:
        """Bytes that were moved, or were here from an earlier try."""
        return sum(part.done for part in self.parts if part.state not in ("exists", "mounted"))

    @property
    def received(self) -> int:
        """Bytes that were moved by this try."""
        return sum(part.done - part.resumed for part in self.parts if part.state not in ("exists", "mounted"))
