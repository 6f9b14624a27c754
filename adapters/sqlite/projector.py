"""Asynchronous projections: they follow the log with a cursor of their own, in slices between the writer's commits.

The cursor moves in the transaction that writes the rows. A projection whose code has changed is folded anew first, and
until that is done it cannot be read. One that fails stays where it is, says why, and stops nobody else.
"""

from collections.abc import Callable, Iterable, Sequence

from adapters.sqlite.driver import Connection
from adapters.sqlite.reading import Reader
from adapters.sqlite.rebuild import SET_CURSOR, Rebuild, stale, unflushed
from adapters.sqlite.rows import Rows, rows_of
from domain.errors import LadingError
from domain.messages import Recorded
from domain.projections.fold import Projection

SLICE = 500
"""Events per slice: some milliseconds, for which an append may have to wait."""

_FAILURES = (LadingError, LookupError, TypeError, ValueError)
"""What a fold raises that meets an event it cannot understand, and what reading a damaged log raises."""


class Projector:
    """Used by the writer's thread; `position` says where the log ends."""

    def __init__(self, connection: Connection, projections: Sequence[Projection], position: Callable[[], int]) -> None:
        self._connection = connection
        self._reader = Reader(connection)
        self._position = position
        self._rows: dict[str, Rows] = {p.name: rows_of(connection, p) for p in projections}
        self._cursors = dict(connection.execute("SELECT name, pos FROM cursors").fetchall())
        outdated = stale(connection, projections)
        self._rebuild = Rebuild(connection, self._reader, outdated) if outdated else None
        self._begun = False
        self.unreadable = frozenset(projection.name for projection in outdated)
        self.failures: dict[str, str] = {}

    @property
    def rebuilding(self) -> bool:
        """Whether projections are being folded anew."""
        return self._rebuild is not None

    def step(self) -> bool:
        """Do one slice; whether there is more to do."""
        if self._rebuild is not None:
            self._fold_anew(self._rebuild)
            return True
        behind = [name for name in self._rows if self._is_behind(name)]
        if behind:
            self._follow(behind, min(self._cursors[name] for name in behind))
        return bool(behind)

    def has_read(self, position: int) -> bool:
        """Whether every projection that can has come this far."""
        return self._rebuild is None and all(
            name in self.failures or self._cursors[name] >= position for name in self._rows
        )

    def caught_up(self, projections: Sequence[Projection], position: int) -> None:
        """Somebody has folded these anew, up to a position."""
        for projection in projections:
            if projection.name in self._rows:
                self._rows[projection.name] = rows_of(self._connection, projection)  # forgets the rows it kept
                self._cursors[projection.name] = position
                self.failures.pop(projection.name, None)
        self.unreadable -= {projection.name for projection in projections}

    def _is_behind(self, name: str) -> bool:
        return name not in self.failures and self._cursors[name] < self._position()

    def _fold_anew(self, rebuild: Rebuild) -> None:
        try:
            if not self._begun:
                rebuild.begin()
                self._begun = True
            if rebuild.step():
                return
            position = rebuild.finish()
        except _FAILURES as error:
            self._fail((projection.name for projection in rebuild.projections), error)
        else:
            self.caught_up(rebuild.projections, position)
        self._rebuild = None

    def _follow(self, names: Sequence[str], after: int) -> None:
        try:
            records, reached = self._reader.slice(after, SLICE)
        except _FAILURES as error:
            self._fail(names, error)
            return
        ready = [name for name in names if self._cursors[name] < reached and self._fold(name, records)]
        try:
            with unflushed(self._connection):
                for name in ready:
                    self._rows[name].flush()
                    self._connection.execute(SET_CURSOR, (name, reached))
        except BaseException:
            for name in ready:
                self._rows[name].forget()
            raise
        for name in ready:
            self._rows[name].settle()
            self._cursors[name] = reached

    def _fold(self, name: str, records: Sequence[Recorded]) -> bool:
        """Fold into memory; whether that went well."""
        rows = self._rows[name]
        try:
            for record in records:
                if record.position > self._cursors[name]:
                    rows.fold(record)
        except _FAILURES as error:
            rows.forget()
            self._fail((name,), error)
            return False
        rows.keep()
        return True

    def _fail(self, names: Iterable[str], error: Exception) -> None:
        self.failures.update(dict.fromkeys(names, f"{type(error).__name__}: {error}"))
