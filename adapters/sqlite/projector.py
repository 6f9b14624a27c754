"""Asynchronous projections: they follow the log with a cursor of their own, in slices between the writer's commits.

The cursor moves in the transaction that writes the rows. A projection whose code has changed is folded anew first, and
until that is done it cannot be read. One that fails stays where it is, says why, and stops nobody else.
"""

import sqlite3
from collections.abc import Callable, Sequence

from adapters.sqlite.reading import Reader
from adapters.sqlite.rebuild import SET_CURSOR, Rebuild, stale, unflushed
from adapters.sqlite.rows import Rows, rows_of
from domain.errors import LadingError
from domain.projections.fold import Projection

SLICE = 500
"""Events per slice: some milliseconds, for which an append may have to wait."""


class Projector:
    """Used by the writer's thread; `position` says where the log ends."""

    def __init__(
        self, connection: sqlite3.Connection, projections: Sequence[Projection], position: Callable[[], int]
    ) -> None:
        self._connection = connection
        self._reader = Reader(connection)
        self._position = position
        self._rows: dict[str, Rows] = {p.name: rows_of(connection, p) for p in projections}
        self._cursors = dict(connection.execute("SELECT name, pos FROM cursors").fetchall())
        outdated = stale(connection, projections)
        self._rebuild = Rebuild(connection, self._reader, outdated) if outdated else None
        self._begun = False
        self.failures: dict[str, str] = {}

    @property
    def rebuilding(self) -> frozenset[str]:
        """Names of the projections that cannot be read yet."""
        return frozenset(p.name for p in self._rebuild.projections) if self._rebuild else frozenset()

    def step(self) -> bool:
        """Do one slice; whether there is more to do."""
        if self._rebuild is not None:
            self._fold_anew(self._rebuild)
            return True
        behind = [name for name in self._rows if name not in self.failures and self._cursors[name] < self._position()]
        if behind:
            self._follow(behind, min(self._cursors[name] for name in behind))
        return bool(behind)

    def caught_up(self, projections: Sequence[Projection], position: int) -> None:
        """Somebody else has folded these up to a position."""
        for projection in projections:
            if projection.name in self._rows:
                self._cursors[projection.name] = position
                self.failures.pop(projection.name, None)

    def _fold_anew(self, rebuild: Rebuild) -> None:
        if not self._begun:
            rebuild.begin()
            self._begun = True
        if rebuild.step():
            return
        position = rebuild.finish()
        self._rebuild = None
        self.caught_up(rebuild.projections, position)

    def _follow(self, names: Sequence[str], after: int) -> None:
        records, reached = self._reader.slice(after, SLICE)
        for name in names:
            if self._cursors[name] >= reached:
                continue
            rows = self._rows[name]
            try:
                with unflushed(self._connection):
                    for record in records:
                        if record.position > self._cursors[name]:
                            rows.fold(record)
                    rows.keep()
                    rows.flush()
                    self._connection.execute(SET_CURSOR, (name, reached))
            except (LadingError, LookupError, TypeError, ValueError) as error:
                rows.forget()
                self.failures[name] = f"{type(error).__name__}: {error}"
            else:
                rows.settle()
                self._cursors[name] = reached
