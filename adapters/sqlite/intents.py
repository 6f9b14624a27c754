"""Which intents are open: a table beside the log, and the fold that says what must stand in it."""

from adapters.sqlite.driver import Connection
from adapters.sqlite.reading import Reader
from adapters.sqlite.tables import OPEN_INTENTS, insert_sql
from domain.machine import settled_by
from domain.messages import Recorded

_INSERT = insert_sql(OPEN_INTENTS)


class Intents:
    """The open intents as the log says: stream → position → stored name."""

    def __init__(self) -> None:
        self.open: dict[str, dict[int, str]] = {}

    def feed(self, record: Recorded) -> None:
        """Take the next event."""
        event, stream = record.event, str(record.stream)
        if event.settles or event.settles_all:
            mine = self.open.get(stream, {})
            for position in settled_by(mine, event, record.meta.cause):
                del mine[position]
            if not mine:
                self.open.pop(stream, None)
        if event.intent:
            self.open.setdefault(stream, {})[record.position] = event.stored_as

    def difference(self, reader: Reader) -> str:
        """What is wrong with the table, in one line; empty if nothing is."""
        expected = {p: (stream, kind) for stream, mine in self.open.items() for p, kind in mine.items()}
        found = {i.position: (str(i.stream), i.kind) for i in reader.open_intents()}
        wrong = sorted(p for p in expected.keys() | found.keys() if expected.get(p) != found.get(p))
        return f"the table open_intents differs from the log at event {wrong[0]}" if wrong else ""


def folded(reader: Reader) -> Intents:
    """As the whole log says."""
    intents = Intents()
    for records in reader.log():
        for record in records:
            intents.feed(record)
    return intents


def write_anew(connection: Connection, intents: Intents) -> None:
    """Fill the table, in a transaction that the caller has begun."""
    connection.execute("DELETE FROM open_intents")
    for position in sorted(p for mine in intents.open.values() for p in mine):
        stream, type = connection.execute("SELECT stream, type FROM events WHERE pos = ?", (position,)).fetchone()
        connection.execute(_INSERT, (position, stream, type))
