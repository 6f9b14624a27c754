"""The writer: one connection and one pen; group commit for the callers, jobs and chores in between.

Callers put orders into a queue and await a future. A thread takes what has gathered, up to a bound, commits it at once
and answers all of them with one wake-up of their loop. A caller that is alone, on a disk that is quick, takes the pen
itself: the way to the thread and back takes as long as such a disk's flush. Whoever writes holds the pen.

Once such a caller has its answer the next transaction is begun, before there is an order for it. Nobody else can use
the connection then; so the thread ends that transaction whenever it takes the pen, and in a quiet moment it does.

What a commit could not make durable is never tried again: after a failed write or flush the store only reads. A full
disk is another matter: nothing was written, and the next order is tried as usual.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future as ThreadFuture
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Final, TypeVar

from adapters.sqlite import sealing
from adapters.sqlite.driver import ERRORS, Connection, is_fatal, is_full, storage_error
from adapters.sqlite.engine import PAGE, WAL_BYTES, lay_out_wal, wal_size
from adapters.sqlite.head import HeadFile
from adapters.sqlite.ledger import Ledger, Order, Outcome
from adapters.sqlite.projector import Projector
from adapters.sqlite.reading import Reader
from adapters.sqlite.rebuild import Rebuild
from domain.chain import Head
from domain.errors import LadingError, StorageError
from domain.messages import Recorded
from domain.projections.fold import Projection

T = TypeVar("T")

_ORDERS = 256
"""How many callers share one commit at most."""

_FRAMES = WAL_BYTES // PAGE // 2
"""After how many pages the WAL is written back: half of what it is laid out for."""

_FORGET_EVERY = 60.0
_KEYS = 64
"""Seconds, and number of dropped keys, after which the WAL is overwritten in a quiet moment."""

_LITTLE = 1 << 20
"""Enough to overwrite the beginning of the WAL, after which all of it is void."""

_LAZY = 0.05
"""Seconds without an order after which chores are done."""

_CHORES_EVERY = 0.2
"""Seconds after which a slice of chores is done although orders keep coming."""

_QUICK = 0.002
"""Seconds for which a commit may keep a loop from everything else."""

_IN_A_ROW = 16
"""Commits after which a task that never waits for anything else must let its loop turn."""

_LEARN = 0.1
"""How much one commit tells about how long the next one takes."""


@dataclass(frozen=True, slots=True)
class _Call:
    """An order with the one who waits for it."""

    order: Order
    future: asyncio.Future[Sequence[Recorded]]
    loop: asyncio.AbstractEventLoop


@dataclass(frozen=True, slots=True)
class _Job:
    """Work on the writer's connection between two commits; it runs its own transactions."""

    work: Callable[[], object]
    future: ThreadFuture[object]


class _Stop:
    """The last item of the queue."""


_Item = _Call | _Job | _Stop


class Writer:
    """Owns the thread; nothing else may use the connection while it runs."""

    def __init__(
        self, path: Path, connection: Connection, ledger: Ledger, projector: Projector, head: HeadFile
    ) -> None:
        self.failure: StorageError | None = None
        self._path: Final = path
        self._connection: Final = connection
        self._ledger, self._projector, self._head = ledger, projector, head
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._thread = Thread(target=self._run, name="event-store", daemon=True)
        self._commits = 0
        self._due = 32
        self._chores_due: float | None = None
        self._forget_at = time.monotonic() + _FORGET_EVERY
        self._warm = False
        self._pen = Lock()
        self._stopping = False
        self._usual = _QUICK  # seconds of a commit; the first ones are the thread's
        self._writing: asyncio.Task[object] | None = None
        self._in_a_row = 0
        self._nudging: asyncio.AbstractEventLoop | None = None

    @property
    def tip(self) -> Head:
        """The end of the log as it was written, whatever the file says by now."""
        return self._ledger.tip

    def start(self) -> None:
        """Begin to take orders."""
        self._thread.start()

    async def submit(self, order: Order) -> Sequence[Recorded]:
        """Returns when the order is durable. Raises what `EventStore.append` raises."""
        if self._stopping:
            raise StorageError("the event log is being closed")
        loop = asyncio.get_running_loop()
        if self._usual < _QUICK and self._alone(asyncio.current_task(loop)) and self._pen.acquire(blocking=False):
            return self._commit_here(order, loop)
        call = _Call(order, loop.create_future(), loop)
        self._queue.put(call)
        return await call.future

    def call(self, work: Callable[[], T]) -> "ThreadFuture[T]":
        """Run `work` in the writer's thread, between commits."""
        future: ThreadFuture[T] = ThreadFuture()
        self._queue.put(_Job(work, future))  # type: ignore[arg-type]
        return future

    def rebuild(self, projections: Sequence[Projection]) -> Rebuild:
        """A rebuild on the writer's connection; its steps are jobs for `call`."""
        return Rebuild(self._connection, Reader(self._connection), projections)

    def stop(self) -> None:
        """Finish what was ordered, write everything back; returns when the thread has ended."""
        self._stopping = True
        self._queue.put(_Stop())
        self._thread.join()

    def _alone(self, task: "asyncio.Task[object] | None") -> bool:
        """Whether no other task has had an order in this turn of the loop, and nothing else waits for the pen."""
        if self._in_a_row == 0:
            self._writing = task
        elif task is not self._writing or self._in_a_row >= _IN_A_ROW:
            return False
        return self._commits < self._due and self._queue.empty()

    def _commit_here(self, order: Order, loop: asyncio.AbstractEventLoop) -> Sequence[Recorded]:
        """Commit in the loop's own thread."""
        if self._in_a_row == 0:
            loop.call_soon(self._turned, loop)
        self._in_a_row += 1
        try:
            (outcome,) = self._outcomes((order,))
        finally:
            self._pen.release()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _turned(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop has turned: from here on it is anybody's, and there is time to get ready for the next order."""
        self._writing, self._in_a_row = None, 0
        if self._nudging is None or self._nudging.is_closed():
            self._nudging = loop
            loop.call_later(_LAZY, self._wake)
        if self.failure is None and self._pen.acquire(blocking=False):
            try:
                self._ledger.get_ready()
            except ERRORS:
                pass  # the next order meets it again, and has somebody to tell
            finally:
                self._pen.release()

    def _wake(self) -> None:
        """Let the thread see to the chores."""
        self._nudging = None
        self.call(_nothing)

    def _run(self) -> None:
        wait: float | None = _LAZY
        item: _Item | None = None
        while not isinstance(item, _Stop):
            item = self._next(wait)
            with self._pen:
                self._ledger.stand_by()
                item, wait = self._turn(item)
        self._pen.acquire()  # and never given back: nobody writes any more
        self._ledger.stand_by()
        self._finish()

    def _turn(self, item: _Item | None) -> tuple[_Item | None, float | None]:
        """All orders that have gathered, or a job, and what is due then; how long to wait for the next."""
        calls: list[_Call] = []
        while isinstance(item, _Call):
            calls.append(item)
            item = self._next(0) if len(calls) < _ORDERS else None
        if calls:
            _answer(calls, self._outcomes([call.order for call in calls]))
        if isinstance(item, _Job):
            self._do(item)
        try:
            return item, self._between(busy=bool(calls) or item is not None)
        except Exception as error:  # a caller must never wait for a thread that has ended
            self._close_for(f"{type(error).__name__}: {error}")
            return item, None

    def _next(self, wait: float | None) -> _Item | None:
        try:
            return self._queue.get(timeout=wait) if wait != 0 else self._queue.get_nowait()
        except Empty:
            return None

    def _outcomes(self, orders: Sequence[Order]) -> Sequence[Outcome]:
        """Commit all of them; what each caller is to be told."""
        begin = time.perf_counter()
        try:
            if self.failure is not None:
                raise_again(self.failure)
            try:
                outcomes = self._ledger.store(orders)
            except ERRORS as error:
                if not is_full(error):
                    raise
                self._write_back("PASSIVE")  # room in the WAL is room for this order
                outcomes = self._ledger.store(orders)
        except ERRORS as error:
            return [self._failed(error) for _ in orders]
        except Exception as error:  # what a failpoint raises: nothing else gets here
            return [error for _ in orders]
        self._commits += 1
        if len(orders) == 1:
            self._usual += (time.perf_counter() - begin - self._usual) * _LEARN
        return outcomes

    def _failed(self, error: Exception) -> StorageError:
        """Translate, and close the store for appends if what was written is in doubt."""
        refusal = storage_error(error)
        if is_fatal(error):
            self._close_for(refusal.message)
        return refusal

    def _close_for(self, reason: str) -> None:
        self.failure = StorageError(
            f"no event is accepted any more: {reason}",
            hint="containers keep running; mend the disk and restart the daemon",
        )

    def _do(self, job: _Job) -> None:
        try:
            result = job.work()
        except ERRORS as error:
            job.future.set_exception(self._failed(error))
        except Exception as error:
            job.future.set_exception(error)
        else:
            job.future.set_result(result)

    def _between(self, *, busy: bool) -> float | None:
        """Do what is due between two commits; how long to wait for the next order (None: for ever)."""
        if self.failure is not None:
            return None
        if self._commits >= self._due:
            self._write_back("PASSIVE")
        now = time.monotonic()
        if busy and self._chores_due is None:
            self._chores_due = now + _CHORES_EVERY  # not at once: whoever got an answer is about to go on with it
        if busy and self._chores_due is not None and now < self._chores_due:
            return _LAZY
        self._chores_due = None
        return self._chores(busy=busy)

    def _chores(self, *, busy: bool) -> float | None:
        self._head.write(self._ledger.tip)
        if self._projector.step():
            return 0
        if busy:
            return _LAZY
        if not self._warm:
            self._warm = True
            sealing.warm_up()
        if not self._ledger.keys_dropped:
            return None
        left = self._forget_at - time.monotonic()
        if left > 0 and self._ledger.keys_dropped < _KEYS:
            return left
        self._forget()
        return None

    def _write_back(self, mode: str) -> bool:
        """Checkpoint; whether all of the WAL is in the file now. A full disk is no error, the WAL just stays.

        Learns how many commits fill the WAL.
        """
        busy, frames, written = 1, 0, 0
        try:
            busy, frames, written = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        except ERRORS as error:
            if not is_full(error):
                raise
        if frames > 0:
            self._due = max(16, min(4096, self._commits * _FRAMES // frames))
        self._commits = 0
        return not busy and frames == written

    def _forget(self) -> None:
        """Remove dropped keys from the WAL as well, which holds the pages as they were: overwrite all of it."""
        self._forget_at = time.monotonic() + _FORGET_EVERY
        if self._write_back("TRUNCATE" if wal_size(self._path) > WAL_BYTES else "RESTART"):
            lay_out_wal(self._connection, self._path)
            self._ledger.keys_dropped = 0

    def _finish(self) -> None:
        try:
            self._head.write(self._ledger.tip)
            if self.failure is not None:
                return
            if self._ledger.keys_dropped:
                self._forget()
            elif self._write_back("RESTART"):
                lay_out_wal(self._connection, self._path, _LITTLE)
        except ERRORS as error:
            self._failed(error)
        finally:
            self._ledger.close()


def _nothing() -> None:
    """A job that only wakes the thread."""


def raise_again(failure: LadingError) -> None:
    """Raise a stored error for one more caller, with a traceback of its own."""
    raise type(failure)(failure.message, hint=failure.hint)


def _answer(calls: Sequence[_Call], outcomes: Sequence[Outcome]) -> None:
    """Wake every loop once, however many of its callers are answered."""
    answers: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Sequence[Recorded]], Outcome]]] = {}
    for call, outcome in zip(calls, outcomes, strict=True):
        answers.setdefault(call.loop, []).append((call.future, outcome))
    for loop, some in answers.items():
        try:
            loop.call_soon_threadsafe(_deliver, some)
        except RuntimeError:  # the loop was closed; nobody waits any more
            pass


def _deliver(answers: Sequence[tuple[asyncio.Future[Sequence[Recorded]], Outcome]]) -> None:
    for future, outcome in answers:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
