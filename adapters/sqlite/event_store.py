"""SqliteEventStore: the port `EventStore` over one file, `<data root>/lading.db`.

    store = SqliteEventStore(root, projections)
    await store.open()          # creates, migrates, checks the head, folds what is outdated
    await store.append(…)
    await store.close()

Point reads are answered on the loop with a connection that is held open (some 50 us); what may take long goes to a
thread. Appends go to the writer (`adapters.sqlite.writer`).
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from adapters.sqlite.driver import ERRORS, SQLITE, Connection, storage_error
from adapters.sqlite.engine import (
    WAL_BYTES,
    bare,
    lay_out_wal,
    leave_no_access_times,
    reader_engine,
    wal_size,
    writer_engine,
)
from adapters.sqlite.head import HeadFile
from adapters.sqlite.intents import folded, write_anew
from adapters.sqlite.ledger import Ledger, order
from adapters.sqlite.projector import Projector
from adapters.sqlite.reading import Reader
from adapters.sqlite.rebuild import Rebuild, stale
from adapters.sqlite.schema import SCHEMA, prepare
from adapters.sqlite.tables import RESERVED
from adapters.sqlite.verify import Report, digest, verify
from adapters.sqlite.views import SqliteViews
from adapters.sqlite.writer import Writer
from domain.chain import cut
from domain.errors import StorageError
from domain.messages import Append, Meta, Recorded, StreamId
from domain.ports.events import OpenIntent, Reply
from domain.projections.fold import Projection

T = TypeVar("T")

FILE = "lading.db"

_FEW = 256
"""Events up to which a read is answered on the loop itself."""

_AT_ONCE = 5000
"""Events up to which asynchronous projections are folded anew before the store opens."""


class SqliteEventStore:
    """The log of this host and its projections."""

    def __init__(
        self, root: Path, projections: Sequence[Projection] = (), *, now: Callable[[], int] = time.time_ns,
        anew: bool = False,
    ) -> None:
        """With `anew`, opening it makes every table anew that is made from the log."""
        _check_names(projections)
        self.path = root / FILE
        self.projections = tuple(projections)
        self._root, self._now, self._anew = root, now, anew
        self._head = HeadFile(root)
        self._readers = reader_engine(self.path)
        self._stop: Callable[[], None] = _nothing
        self._writer: Writer | None = None
        self._reader: Reader | None = None
        self._projector: Projector | None = None
        self.views = SqliteViews(self.projections, self, self._unreadable)

    async def open(self) -> None:
        """Make the store ready. Raises: NewerStore, StorageError when the file cannot be used at all.

        A log that is shorter than the head kept outside is opened for reading only: `failure` says why.
        """
        await asyncio.to_thread(self._open)

    async def close(self) -> None:
        """Finish what was ordered and close the file. From the first moment on nothing is read: a connection that is
        being closed must not be used by another thread."""
        self._reader = None
        await asyncio.to_thread(self._stop)
        self._stop = _nothing
        self._writer = self._projector = None

    @property
    def failure(self) -> StorageError | None:
        """Why no event is accepted; None while all is well."""
        return self._opened.failure

    async def load(self, stream: StreamId) -> Sequence[Recorded]:
        """All events of one stream in order; sealed fields readable while the stream's key exists."""
        reader = self._held()
        if reader.length(stream) <= _FEW:
            return reader.load(stream)
        return await self._heavy(lambda reader: reader.load(stream))

    async def append(self, batch: Sequence[Append], meta: Meta, *, reply: str | None = None) -> Sequence[Recorded]:
        """Store all events of `batch` in one transaction; durable when it returns (see the port)."""
        writer = self._writer or self._opened
        return await writer.submit(order(batch, meta, reply))

    async def replied(self, command_id: str) -> Reply | None:
        """The stored reply of a command, if it was already carried out."""
        return self._held().replied(command_id)

    async def read(
        self, after: int, limit: int = 1000, *, streams: Sequence[StreamId] | None = None
    ) -> Sequence[Recorded]:
        """Up to `limit` events with a position above `after`, in order; sealed fields show their defaults."""
        if limit <= _FEW:
            return self._held().read(after, limit, streams)
        return await self._heavy(lambda reader: reader.read(after, limit, streams))

    async def open_intents(self) -> Sequence[OpenIntent]:
        """What is still to be done, oldest first."""
        return self._held().open_intents()

    async def head(self) -> int:
        """The position of the last event; 0 for an empty log."""
        return self._held().head().position

    async def position_at(self, time: int) -> int:
        """The last position whose time (ns) is at or before `time`."""
        return self._held().position_at(time)

    async def caught_up(self) -> None:
        """Returns when the asynchronous projections have read all that is in the log now."""
        head, projector = await self.head(), self._projector
        while projector is not None and not projector.has_read(head):
            await self._in_writer(projector.step)

    async def rebuild(self, names: Sequence[str] | None = None) -> None:
        """Fold projections (all, or those named) anew while events are appended, and swap the tables at the end."""
        chosen = [p for p in self.projections if names is None or p.name in names]
        await self.caught_up()
        rebuild = await self._in_writer(lambda: self._new_rebuild(chosen))
        try:
            while await self._in_writer(rebuild.step):
                pass
        finally:
            rebuild.close()
        await self._in_writer(lambda: self._put_in_place(rebuild))

    async def digest(self, projection: str) -> str:
        """A digest of the projection's rows, the same for the same log whenever and however they were folded."""
        await self.caught_up()
        found = next(p for p in self.projections if p.name == projection)
        return await self._heavy(lambda reader: digest(reader.connection, found))

    async def verify(self) -> Report:
        """Recompute the chain, the head and all projections from the stored bytes."""
        failures = dict(self._projector.failures) if self._projector else {}
        tip = self._opened.tip
        return await self._heavy(lambda reader: verify(reader, self._head, self.projections, failures, tip))

    def versions(self) -> dict[str, str]:
        """What `info` shows: some rules of the store depend on the version of SQLite."""
        return {"SQLite": SQLITE, "Schema": SCHEMA}

    async def catch_up(self) -> None:
        """`caught_up`, unless the store is closed for writing: then the rows stay as they are."""
        if self.failure is None:
            await self.caught_up()

    def held(self) -> Connection:
        """The connection of the loop's thread."""
        return self._held().connection

    async def heavy(self, query: Callable[[Connection], T]) -> T:
        """Run a query that may take long in a thread, on a connection of its own."""
        return await self._heavy(lambda reader: query(reader.connection))

    @property
    def _opened(self) -> Writer:
        if self._writer is None:
            raise StorageError("the event log is not open")
        return self._writer

    def _held(self) -> Reader:
        if self._reader is None:
            raise StorageError("the event log is not open")
        return self._reader

    async def _heavy(self, query: Callable[[Reader], T]) -> T:
        return await asyncio.to_thread(self._with_reader, query)

    def _with_reader(self, query: Callable[[Reader], T]) -> T:
        self._held()
        try:
            with closing(self._readers.raw_connection()) as connection:
                return query(Reader(bare(connection)))
        except ERRORS as error:
            raise storage_error(error, self.path) from error

    async def _in_writer(self, work: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._opened.call(work))

    def _open(self) -> None:
        self._root.mkdir(mode=0o710, parents=True, exist_ok=True)
        engine = writer_engine(self.path)
        prepare(self.path, engine)
        try:
            held = engine.raw_connection()
            connection = bare(held)
            failure = self._check_head(Reader(connection))
            if self._anew:
                _disown(connection)
            self._fold_outdated(connection)
            ledger = Ledger(connection, [p for p in self.projections if p.inline], self._now)
            self._projector = self._new_projector(connection, ledger)
            if wal_size(self.path) < WAL_BYTES // 2:
                lay_out_wal(connection, self.path)
            leave_no_access_times(self.path)
            reading = self._readers.raw_connection()
        except ERRORS as error:
            engine.dispose()
            raise storage_error(error, self.path) from error
        except OSError as error:
            engine.dispose()
            raise StorageError(f"{self.path} cannot be used: {error.strerror}") from error
        writer = self._writer = Writer(self.path, connection, ledger, self._projector, self._head)
        writer.failure = failure
        self._reader = Reader(bare(reading))

        def stop() -> None:
            writer.stop()
            held.close()
            engine.dispose()
            reading.close()  # last, for a reader cannot delete the WAL: its room is kept for the next start
            self._readers.dispose()

        self._stop = stop
        writer.start()

    def _check_head(self, reader: Reader) -> StorageError | None:
        """Why the log cannot be continued, if its tail was cut off or rewritten."""
        try:
            kept = self._head.read()
        except StorageError as error:
            return error
        fault = cut(reader.head(), kept, reader.hash_at(kept.position))
        if fault is None:
            return None
        return StorageError(
            f"no event is accepted: {fault}",
            hint=f"restore the data root, or delete {self._head.path} to go on with what is left",
        )

    def _fold_outdated(self, connection: Connection) -> None:
        """Inline projections must be right before the first append: they hold the set rules."""
        outdated = stale(connection, [p for p in self.projections if p.inline])
        if outdated:
            Rebuild(connection, Reader(connection), outdated).run()

    def _new_projector(self, connection: Connection, ledger: Ledger) -> Projector:
        projector = Projector(connection, [p for p in self.projections if not p.inline], lambda: ledger.tip.position)
        while projector.rebuilding and ledger.tip.position <= _AT_ONCE:
            projector.step()
        return projector

    def _unreadable(self) -> frozenset[str]:
        return self._projector.unreadable if self._projector else frozenset()

    def _new_rebuild(self, projections: Sequence[Projection]) -> Rebuild:
        rebuild = self._opened.rebuild(projections)
        rebuild.begin()
        rebuild.share_out()
        return rebuild

    def _put_in_place(self, rebuild: Rebuild) -> None:
        position = rebuild.finish()
        if self._projector is not None:
            self._projector.caught_up(rebuild.projections, position)


def _disown(connection: Connection) -> None:
    """Believe no table but those of the log itself."""
    intents = folded(Reader(connection))
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("DELETE FROM projections")
        write_anew(connection, intents)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _nothing() -> None:
    """What closing a store does that is not open."""


def _check_names(projections: Sequence[Projection]) -> None:
    names = [projection.name for projection in projections]
    for name in names:
        if name in RESERVED or not name.isidentifier() or names.count(name) > 1:
            raise ValueError(f"a projection cannot be called {name!r}")
