"""`verify`: recompute what the store claims, from the stored bytes alone, and name the first thing that is wrong.

Runs on a reading connection of its own while events are appended: short transactions over the log, which only grows,
and one that compares the rows of the projections with the fold at the same position.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapters.sqlite.driver import ERRORS, Connection
from adapters.sqlite.head import HeadFile
from adapters.sqlite.intents import Intents
from adapters.sqlite.reading import Reader, uncollected
from adapters.sqlite.tables import projection_table, sql
from domain.chain import ChainCheck, Fault, Head, cut
from domain.errors import LadingError, StorageError
from domain.messages import Recorded, event_type
from domain.projections.fold import Projection
from domain.projections.replay import Digest, Replay, TemporalReplay, replay


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked and what is wrong.

    `events` and `hash` name the last event that is in order, `fault` the first that is not; `damage` is what the
    database finds wrong with its own file, `differences` one line for each table that disagrees with the log, `unknown`
    the stored names of a newer version.
    """

    events: int
    hash: str
    fault: Fault | None = None
    damage: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def checked(self) -> int:
        """How many events are in order."""
        return self.events

    @property
    def findings(self) -> Sequence[object]:
        """Everything that is wrong; each prints as one line."""
        return (*([] if self.fault is None else [self.fault]), *self.damage, *self.differences)

    @property
    def only_tables(self) -> bool:
        """Whether the log is in order, and only what is made from it is not."""
        return bool(self.differences) and self.fault is None and not self.damage

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def verify(
    reader: Reader,
    kept: HeadFile,
    projections: Sequence[Projection],
    failures: Mapping[str, str],
    known: Head | None = None,
) -> Report:
    """Check the chain, the head, the file and every derived table; `failures` are projections known to have failed,
    `known` is a head that the log has reached for certain, which may be further than the one that is kept."""
    damage: list[str] = []
    try:
        outside = kept.read()
    except StorageError as error:
        damage.append(error.message)
        outside = Head()
    if known is not None and known.position > outside.position:
        outside = known
    head, fault = _check_chain(reader, outside)
    damage += _check_file(reader.connection)
    differences: list[str] = []
    unknown: tuple[str, ...] = ()
    if fault is None and not damage:
        try:
            differences = [f"the table {name} has stopped: {why}" for name, why in failures.items()]
            differences += _compare(reader, [p for p in projections if p.name not in failures])
            unknown = _unknown(reader)
        except ERRORS as error:
            damage.append(str(error))
    return Report(head.position, head.hash.hex(), fault, tuple(damage), tuple(differences), unknown)


def digest(connection: Connection, projection: Projection) -> str:
    """The digest of the rows as they are."""
    table = projection_table(projection)
    return str(Digest(connection.execute(sql(table.select()))))


def _check_chain(reader: Reader, kept: Head) -> tuple[Head, Fault | None]:
    check = ChainCheck()
    try:
        fault = check.first_fault(reader.stored())
        if fault is None:
            fault = cut(check.head, kept, reader.hash_at(kept.position))
    except (*ERRORS, LadingError) as error:
        fault = Fault(check.head.position + 1, "", "unreadable", str(error))
    return check.head, fault


def _check_file(connection: Connection) -> list[str]:
    try:
        lines = [str(line) for (line,) in connection.execute("PRAGMA integrity_check(20)").fetchall()]
    except ERRORS as error:
        return [str(error)]
    return [] if lines == ["ok"] else lines


def _unknown(reader: Reader) -> tuple[str, ...]:
    names = reader.connection.execute("SELECT name FROM types ORDER BY name").fetchall()
    return tuple(name for (name,) in names if event_type(name) is None)


class _Comparison:
    """One projection: its fold, how far it has come, and what is wrong with it."""

    def __init__(self, projection: Projection) -> None:
        self.projection = projection
        self.trouble = ""
        self._ended = Digest()
        self._fold: Replay = replay(projection, self._ended.add)

    def feed(self, records: Sequence[Recorded], until: int) -> None:
        """Fold events, but none behind the position that the table has reached."""
        if self.trouble:
            return
        try:
            self._fold.feed([record for record in records if self.position < record.position <= until])
        except (LadingError, LookupError, TypeError, ValueError) as error:
            self.trouble = f"the table {self.projection.name} cannot take event {self.position}: {error}"

    @property
    def position(self) -> int:
        """The last event that was folded."""
        return self._fold.position

    def difference(self, connection: Connection) -> str:
        """Compare with the table."""
        if self.trouble:
            return self.trouble
        if isinstance(self._fold, TemporalReplay):
            for values in self._fold.table():
                self._ended.add(values)
            same = str(self._ended) == digest(connection, self.projection)
            return "" if same else f"the table {self.projection.name} differs from the log"
        return self._rows_differ(connection)

    def _rows_differ(self, connection: Connection) -> str:
        rows = dict(self._fold.rows)
        for values in connection.execute(sql(projection_table(self.projection).select())):
            row = rows.pop(values[0], None)
            if row is None or self._fold.shape.store(row) != values:
                return f"the table {self.projection.name} differs from the log in row {values[0]}"
        if rows:
            return f"the table {self.projection.name} has lost row {min(rows)}"
        return ""


def _compare(reader: Reader, projections: Sequence[Projection]) -> list[str]:
    intents = Intents()
    folds = [_Comparison(projection) for projection in projections]
    reached = 0
    until = _reached(reader, projections)
    log = reader.log(until=reader.head().position)
    while True:
        with uncollected():
            records = next(log, None)
            if records is None:
                break
            _feed(folds, intents, records, until)
        reached = records[-1].position if records else reached
    reader.connection.execute("BEGIN")  # from here on rows and log stand still for us
    try:
        until = _reached(reader, projections)
        for records in reader.log(after=min((reached, *(fold.position for fold in folds)))):
            _feed(folds, intents, records, until, after=reached)
        found = [intents.difference(reader), *(fold.difference(reader.connection) for fold in folds)]
    finally:
        reader.connection.execute("ROLLBACK")
    return [line for line in found if line]


def _feed(
    folds: Sequence[_Comparison],
    intents: Intents,
    records: Sequence[Recorded],
    until: Mapping[str, int],
    after: int = 0,
) -> None:
    for fold in folds:
        fold.feed(records, until[fold.projection.name])
    for record in records:
        if record.position > after:
            intents.feed(record)


def _reached(reader: Reader, projections: Sequence[Projection]) -> dict[str, int]:
    """Up to which event each table was written."""
    cursors = dict(reader.connection.execute("SELECT name, pos FROM cursors").fetchall())
    head = reader.head().position
    return {p.name: head if p.inline else cursors.get(p.name, 0) for p in projections}
