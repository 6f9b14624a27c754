"""A long table, kept between calls: cells until their words change, lines until a column gets another width.

Durations in words change at moments that are known beforehand, for all rows of the same seconds at once. So a line is
kept as what stands before the times and what stands behind them, and the times themselves once for all rows of which
they read alike: to tell the time anew takes as long as there are different times, not rows.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from adapters.threads import whole
from domain.text.table import column_width, line, width
from workers.console.containers import Listed

MANY = 300
"""So many rows are made at once; more of them in a thread: starts and stops of others do not wait for it."""
_MANY_TOLD = 2000
"""The same for different times that are told anew."""
_TIMES = 2
"""How many columns tell the time."""
Cells = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Writing:
    """How a table is written at the moment `now`; it holds as long as `given` is the same.

    `cells` makes the cells of a row without those that tell the time. These come from `times`, as columns `first` and
    the next, with the moment until which they hold; it is asked once for all rows that `alike` gives the same value.
    """

    header: Cells
    cells: Callable[[Listed], Cells]
    first: int
    alike: Callable[[Listed], Hashable]
    times: Callable[[Listed], tuple[Cells, int]]
    now: int
    given: Mapping[str, str] | None


@dataclass(slots=True)
class _Times:
    """The times of so many `rows`, one of which is `shown`: as cells, until when they hold, and as text."""

    shown: Listed
    alike: Hashable
    cells: Cells
    until: int
    rows: int = 0
    text: bytes = b""


@dataclass(slots=True)
class _Row:
    """What is kept of a row: the object it shows, its cells without the times, and its line around the times."""

    shown: Listed
    cells: Cells
    times: _Times
    before: bytes = b""
    behind: bytes = b""


class Sheet:
    """The rows of one table. Clocks may go backwards: then nothing is taken to hold."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        self._times: dict[Hashable, _Times] = {}
        self._order: list[_Row] = []
        self._shown: Sequence[Listed] | None = None
        self._sizes: tuple[Counter[int], ...] = ()
        self._widths: list[int] = []
        self._header: Cells = ()
        self._first = 0
        self._given: Mapping[str, str] | None = None
        self._text: bytes | None = None
        self._now = self._soonest = 0
        self._busy = asyncio.Lock()

    def clear(self) -> None:
        """Keep nothing."""
        self._rows, self._times, self._order, self._shown, self._header, self._text = {}, {}, [], None, (), None

    async def write(
        self, rows: Sequence[Listed], writing: Writing, *, columns: int = 0, spare: Sequence[str] = ()
    ) -> bytes:
        """The table as `domain.text.table.render` writes it, without the columns of `spare`, in this order, as far as
        `columns` (0: any number) are too few for them."""
        async with self._busy:
            if (writing.header, writing.given) != (self._header, self._given) or writing.now < self._now:
                self._begin(writing)
            fresh = self._fresh(rows)
            stale = self._stale(writing.now)
            if len(fresh) > MANY or len(stale) > _MANY_TOLD:
                # Called off or not, nobody else may use the sheet before the thread has done with it.
                await whole(lambda: self._bring_up(rows, fresh, stale, writing))
            elif fresh or stale or rows is not self._shown:
                self._bring_up(rows, fresh, stale, writing)
            self._now = writing.now
            left_out = self._left_out(columns, spare)
            if left_out:
                return await asyncio.to_thread(self._narrow, left_out)
            if self._text is None:
                self._text = self._joined()
            return self._text

    def _begin(self, writing: Writing) -> None:
        self.clear()
        self._header, self._first, self._given = writing.header, writing.first, writing.given
        self._sizes = tuple(Counter((width(cell),)) for cell in writing.header)
        self._widths = []

    def _fresh(self, rows: Sequence[Listed]) -> list[Listed]:
        """Rows that are not kept as they are now."""
        if rows is self._shown:
            return []
        kept = self._rows
        return [row for row in rows if (old := kept.get(row.id)) is None or old.shown is not row]

    def _stale(self, now: int) -> list[_Times]:
        """Times that read otherwise by now."""
        return [times for times in self._times.values() if times.until <= now] if now >= self._soonest else []

    def _bring_up(
        self, rows: Sequence[Listed], fresh: Sequence[Listed], stale: Sequence[_Times], writing: Writing
    ) -> None:
        """While it changes nothing is taken to hold: a failure leaves a sheet that begins anew."""
        self._header, self._text = (), None
        for times in stale:
            self._count(times.cells, self._first, -1)
            times.cells, times.until = writing.times(times.shown)
            self._count(times.cells, self._first, 1)
        made = [self._make(row, writing) for row in fresh]
        if len(self._rows) > len(rows):
            for id in self._rows.keys() - {row.id for row in rows}:
                self._drop(id)
        if rows is not self._shown:
            self._order, self._shown = [self._rows[row.id] for row in rows], rows
        self._fit(made, [*stale, *(times for times in self._times.values() if not times.text)])
        self._soonest = min((times.until for times in self._times.values()), default=0)
        self._header = writing.header

    def _make(self, shown: Listed, writing: Writing) -> _Row:
        if shown.id in self._rows:
            self._drop(shown.id)
        alike = writing.alike(shown)
        times = self._times.get(alike)
        if times is None:
            times = self._times[alike] = _Times(shown, alike, *writing.times(shown))
            self._count(times.cells, self._first, 1)
        times.rows += 1
        row = self._rows[shown.id] = _Row(shown, writing.cells(shown), times)
        self._count_row(row, 1)
        return row

    def _drop(self, id: str) -> None:
        row = self._rows.pop(id)
        self._count_row(row, -1)
        row.times.rows -= 1
        if not row.times.rows:
            self._count(row.times.cells, self._first, -1)
            del self._times[row.times.alike]

    def _count_row(self, row: _Row, change: int) -> None:
        self._count(row.cells[: self._first], 0, change)
        self._count(row.cells[self._first :], self._first + _TIMES, change)

    def _count(self, cells: Cells, first: int, change: int) -> None:
        """So many cells more or fewer of these widths, in the columns from `first` on."""
        for column, cell in enumerate(cells, first):
            sizes, size = self._sizes[column], width(cell)
            sizes[size] += change
            if not sizes[size]:
                del sizes[size]

    def _fit(self, made: Sequence[_Row], told: Sequence[_Times]) -> None:
        """Write what has changed; all of it where a column has another width now."""
        before, self._widths = self._widths, [column_width(max(sizes)) for sizes in self._sizes[:-1]]
        first, last = self._first, self._first + _TIMES
        head, middle, tail = self._widths[:first], self._widths[first:last], self._widths[last:]
        for row in made if (before[:first], before[last:]) == (head, tail) else self._order:
            row.before = _padded(row.cells[:first], head)
            row.behind = _encoded(line(row.cells[first:], tail))
        for times in told if before[first:last] == middle else self._times.values():
            times.text = _padded(times.cells, middle)

    def _joined(self) -> bytes:
        pieces = [_encoded(line(self._header, self._widths))]
        for row in self._order:
            pieces += (row.before, row.times.text, row.behind)
        return b"".join(pieces)

    def _left_out(self, columns: int, spare: Sequence[str]) -> frozenset[int]:
        """The places of the columns without which the rest fits as well as it can."""
        left_out: set[int] = set()
        total = sum(self._widths) + max(self._sizes[-1])
        for title in spare if columns else ():
            if total <= columns:
                break
            left_out.add(self._header.index(title))
            total -= self._widths[self._header.index(title)]
        return frozenset(left_out)

    def _narrow(self, left_out: frozenset[int]) -> bytes:
        places = [place for place in range(len(self._header)) if place not in left_out]
        widths = [self._widths[place] for place in places[:-1]]
        rows = (self._header, *(self._whole(row) for row in self._order))
        return _encoded("".join(line([row[place] for place in places], widths) for row in rows))

    def _whole(self, row: _Row) -> Cells:
        return (*row.cells[: self._first], *row.times.cells, *row.cells[self._first :])


def _padded(cells: Cells, widths: Sequence[int]) -> bytes:
    """Cells in the middle of a line: all of them padded."""
    return _encoded(line((*cells, ""), widths)[:-1])


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
