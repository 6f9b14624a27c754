"""What the API has to know from one request to the next: execs, which are made first and started later, and how large
the terminal of a container is to be when it is started."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeVar

from domain.errors import NotFound
from workers.requests import ExecRequest

KEPT = 4096
"""How many of each are remembered: the oldest make room."""
Size = tuple[int, int]
_Value = TypeVar("_Value")


@dataclass
class Exec:
    """An exec; `streams` are the outputs that a client wants, `size` rows and columns of its terminal, `keys` those
    that leave it. `exit_code` None: it has not ended, as far as anybody has looked."""

    id: str
    container: str
    request: ExecRequest
    streams: frozenset[int]
    keys: str = ""
    size: Size = (0, 0)
    started: bool = field(default=False)
    exit_code: int | None = field(default=None)


class Pending:
    """Everything of that kind since the daemon has started."""

    def __init__(self) -> None:
        self._execs: OrderedDict[str, Exec] = OrderedDict()
        self._sizes: OrderedDict[str, Size] = OrderedDict()

    def add(self, made: Exec) -> None:
        """Remember an exec."""
        _put(self._execs, made.id, made)

    def find(self, id: str) -> Exec:
        """Raises: NotFound."""
        if (found := self._execs.get(id)) is None:
            raise NotFound(f"No such exec instance: {id}")
        return found

    def resize(self, container: str, size: Size) -> None:
        """Remember how large its terminal is to be."""
        if any(size):
            _put(self._sizes, container, size)

    def size(self, container: str) -> Size:
        """Rows and columns, zeros if nobody has said."""
        return self._sizes.get(container, (0, 0))


def _put(kept: "OrderedDict[str, _Value]", key: str, value: _Value) -> None:
    kept[key] = value
    while len(kept) > KEPT:
        kept.popitem(last=False)
