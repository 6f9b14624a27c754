"""Where something stands in a Dockerfile, and the error that names the place: `Dockerfile:7:1: unknown …`."""

from dataclasses import dataclass

from domain.errors import InvalidValue
from domain.text.safe import safe


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{safe(self.file)}:{self.line}:{self.column}"


class Misread(InvalidValue):
    """A line of a Dockerfile that cannot be meant; the message begins with its place."""

    def __init__(self, place: Place, text: str, *, hint: str = "") -> None:
        super().__init__(f"{place}: {text}", hint=hint)
        self.place = place
