"""Execs of the API, which are made first and started later: what was asked for, and what has become of it."""

from collections import OrderedDict
from dataclasses import dataclass, field

from domain.errors import NotFound
from workers.requests import ExecRequest

KEPT = 4096
"""How many are remembered: the oldest make room."""


@dataclass
class Exec:
    """One of them; `streams` are the outputs that a client wants, `size` rows and columns of its terminal, `keys` those
    that leave it. `exit_code` None: it has not ended, `pid` 0: nobody has looked."""

    id: str
    container: str
    request: ExecRequest
    streams: frozenset[int]
    keys: str = ""
    size: tuple[int, int] = (0, 0)
    started: bool = field(default=False)
    exit_code: int | None = field(default=None)


class Execs:
    """All that were made since the daemon has started."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Exec] = OrderedDict()

    def add(self, made: Exec) -> None:
        """Remember it."""
        self._known[made.id] = made
        while len(self._known) > KEPT:
            self._known.popitem(last=False)

    def find(self, id: str) -> Exec:
        """Raises: NotFound."""
        if (found := self._known.get(id)) is None:
            raise NotFound(f"No such exec instance: {id}")
        return found
