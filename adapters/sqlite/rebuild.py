"""Folding projections anew from the whole log: into shadow tables, which then take the place of the old ones.

Rows are derived, so they are never migrated: whenever the code or the columns behind them have changed (the fingerprint
says so), they are folded again.
"""

import inspect
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from hashlib import sha256
from pathlib import Path

from adapters.sqlite.driver import Connection
from adapters.sqlite.reading import Reader, uncollected
from adapters.sqlite.shares import ShareLost, Shares, shares_for
from adapters.sqlite.tables import CURSORS, PROJECTIONS, index_ddl, insert_sql, projection_table, table_ddl, upsert_sql
from domain.messages import Recorded
from domain.projections.fold import Projection
from domain.projections.replay import Values, replay, table_columns

SLICE = 2000
"""How many events are read at once."""

_LAYOUT = 3
"""Changes when tables are made otherwise from the same columns."""

SET_FINGERPRINT = upsert_sql(PROJECTIONS)
SET_CURSOR = upsert_sql(CURSORS)


def fingerprint(projection: Projection) -> str:
    """What the rows of a projection depend on: the source of its module, its columns, its revision."""
    columns = [astuple(column) for column in table_columns(projection)]
    shape = json.dumps([_LAYOUT, projection.name, projection.revision, projection.inline, columns])
    return sha256(shape.encode() + _source(type(projection))).hexdigest()


def _source(kind: type) -> bytes:
    """The text of the module; where only compiled code is installed, that."""
    module = sys.modules[kind.__module__]
    for name in (inspect.getsourcefile(module), getattr(module, "__cached__", None), getattr(module, "__file__", None)):
        if name and Path(name).is_file():
            return Path(name).read_bytes()
    return kind.__qualname__.encode()


@contextmanager
def unflushed(connection: Connection) -> Iterator[None]:
    """A transaction without a flush: what it writes can be folded again, so a power cut may take it away."""
    connection.execute("PRAGMA synchronous=NORMAL")
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute("PRAGMA synchronous=FULL")


class Rebuild:
    """One rebuild of some projections, slice by slice, on the writer's connection.

    With `share_out` other processes fold what a long log holds now, and only what follows is folded here.
    """

    def __init__(self, connection: Connection, reader: Reader, projections: Sequence[Projection]) -> None:
        self.projections = tuple(projections)
        self._connection, self._reader = connection, reader
        self._shares: Shares | None = None
        self._start()

    def _start(self) -> None:
        """Folds that have seen nothing yet."""
        self._position = 0
        self._folds = []
        self._ended: list[tuple[str, list[Values]]] = []
        for projection in self.projections:
            ended: list[Values] = []
            self._ended.append((insert_sql(projection_table(projection, _shadow(projection))), ended))
            self._folds.append(replay(projection, ended.append))

    def begin(self) -> None:
        """Make empty shadow tables."""
        with unflushed(self._connection):
            for projection in self.projections:
                self._connection.execute(f"DROP TABLE IF EXISTS {_shadow(projection)}")
                self._connection.execute(table_ddl(projection, _shadow(projection)))

    def share_out(self) -> None:
        """Let other processes fold what there is, if that is worth while; after `begin`."""
        path = self._connection.execute("PRAGMA database_list").fetchone()[2]
        self._shares = shares_for(Path(path), self.projections, self._reader.head().position)

    def close(self) -> None:
        """End what was shared out."""
        if self._shares is not None:
            self._shares.close()
            self._shares = None

    def step(self) -> bool:
        """Fold one slice; whether there are more whole ones (`finish` takes what is left)."""
        if self._shares is not None:
            self._take(self._shares)
            return True
        with uncollected():
            records, reached = self._reader.slice(self._position, SLICE)
            self._feed(records)
        if any(ended for _, ended in self._ended):
            with unflushed(self._connection):
                self._write_ended()
        more = reached - self._position >= SLICE
        self._position = reached
        return more

    def finish(self) -> int:
        """Fold what came in the meantime and put the shadows in place, all in one transaction; the position reached."""
        self._connection.execute("PRAGMA secure_delete=OFF")  # rows hold no secrets, and there may be many
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            while (found := self._reader.slice(self._position, SLICE))[1] > self._position:
                records, self._position = found
                self._feed(records)
            self._write_ended()
            for projection, fold, (insert, _) in zip(self.projections, self._folds, self._ended, strict=True):
                self._connection.executemany(insert, fold.table())
                self._swap(projection)
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._connection.execute("PRAGMA secure_delete=ON")
        return self._position

    def run(self) -> None:
        """All of it at once."""
        self.begin()
        self.share_out()
        try:
            while self.step():
                pass
        finally:
            self.close()
        self.finish()

    def _take(self, shares: Shares) -> None:
        """Take rows from the others; when one of them is lost, all is done here, which also tells what was wrong."""
        try:
            frame = shares.next()
        except ShareLost:
            self.close()
            self._start()
            self.begin()
            return
        if frame is None:
            self._position, self._shares = shares.until, None
            return
        word, rows = frame
        if word == "held":
            with uncollected():
                for fold, some in zip(self._folds, rows, strict=True):
                    fold.adopt(some, shares.until)
            return
        for (_, ended), some in zip(self._ended, rows, strict=True):
            ended += some
        with unflushed(self._connection):
            self._write_ended()

    def _feed(self, records: Sequence[Recorded]) -> None:
        for fold in self._folds:
            fold.feed(records)

    def _write_ended(self) -> None:
        for insert, ended in self._ended:
            self._connection.executemany(insert, ended)
            ended.clear()

    def _swap(self, projection: Projection) -> None:
        self._connection.execute(f"DROP TABLE IF EXISTS {projection.name}")
        self._connection.execute(f"ALTER TABLE {_shadow(projection)} RENAME TO {projection.name}")
        for statement in index_ddl(projection):
            self._connection.execute(statement)
        self._connection.execute(SET_FINGERPRINT, (projection.name, fingerprint(projection)))
        if not projection.inline:
            self._connection.execute(SET_CURSOR, (projection.name, self._position))


def stale(connection: Connection, projections: Sequence[Projection]) -> list[Projection]:
    """Those whose table is missing, or whose rows are not the work of today's code."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    known = dict(connection.execute("SELECT name, fingerprint FROM projections").fetchall())
    return [p for p in projections if p.name not in tables or known.get(p.name) != fingerprint(p)]


def _shadow(projection: Projection) -> str:
    return f"{projection.name}_shadow"
