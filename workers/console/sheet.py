"""A long table, kept between calls: cells until their words change, lines until a column gets another width.

Durations in words change at moments that are known beforehand, so between two of them a row is written as it was.
Afterwards only the columns that tell the time are made anew.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from domain.text.table import column_width, line, width
from workers.console.containers import Listed

MANY = 300
"""So many rows are made at once; more of them in a thread: starts and stops of others do not wait for it."""
_MANY_TOLD = 2000
"""The same for rows of which only the time is told anew."""
_TIMES = 2
"""How many columns tell the time."""
Cells = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Writing:
    """How a table is written at the moment `now`; it holds as long as `given` is the same.

    `cells` makes all cells of a row. The two from column `first` on that tell the time are what `times` makes,
    which also says until when they hold.
    """

    header: Cells
    cells: Callable[[Listed], Cells]
    first: int
    times: Callable[[Listed], tuple[Cells, int]]
    now: int
    given: Mapping[str, str] | None


@dataclass(slots=True)
class _Row:
    """What is kept of a row: the object it shows, its cells and the moment at which they change, its line."""

    shown: Listed
    cells: Cells
    until: int
    text: bytes = b""


class Sheet:
    """The rows of one table. Clocks may go backwards: then nothing is taken to hold."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        self._order: list[_Row] = []
        self._shown: Sequence[Listed] | None = None
        self._sizes: tuple[Counter[int], ...] = ()
        self._widths: list[int] = []
        self._header: Cells = ()
        self._given: Mapping[str, str] | None = None
        self._text: bytes | None = None
        self._now = self._soonest = 0
        self._busy = asyncio.Lock()

    def clear(self) -> None:
        """Keep nothing."""
        self._rows, self._order, self._shown, self._header, self._text = {}, [], None, (), None

    async def write(
        self, rows: Sequence[Listed], writing: Writing, *, columns: int = 0, spare: Sequence[str] = ()
    ) -> bytes:
        """The table as `domain.text.table.render` writes it, without the columns of `spare`, in this order, as far as
        `columns` (0: any number) are too few for them."""
        async with self._busy:
            if (writing.header, writing.given) != (self._header, self._given) or writing.now < self._now:
                self._begin(writing)
            stale = self._stale(rows, writing.now)
            if len(stale) > (_MANY_TOLD if rows is self._shown else MANY):
                await _in_thread(lambda: self._bring_up(rows, stale, writing))
            elif stale or rows is not self._shown:
                self._bring_up(rows, stale, writing)
            self._now = writing.now
            left_out = self._left_out(columns, spare)
            if left_out:
                return await asyncio.to_thread(self._narrow, left_out)
            if self._text is None:
                self._text = b"".join([_encoded(line(self._header, self._widths)), *[row.text for row in self._order]])
            return self._text

    def _begin(self, writing: Writing) -> None:
        self.clear()
        self._header, self._given = writing.header, writing.given
        self._sizes = tuple(Counter((width(cell),)) for cell in writing.header)
        self._widths = []

    def _stale(self, rows: Sequence[Listed], now: int) -> list[Listed]:
        """Rows whose cells have to be made, or made anew, for this moment."""
        if rows is self._shown:
            return [row.shown for row in self._order if row.until <= now] if now >= self._soonest else []
        kept = self._rows
        return [row for row in rows if (old := kept.get(row.id)) is None or old.shown is not row or old.until <= now]

    def _bring_up(self, rows: Sequence[Listed], stale: Sequence[Listed], writing: Writing) -> None:
        """While it changes nothing is taken to hold: a failure leaves a sheet that begins anew."""
        self._header, self._text = (), None
        made, told = list[_Row](), list[_Row]()
        moves = Counter[tuple[Cells, Cells]]()
        for row in stale:
            old = self._rows.get(row.id)
            if old is not None and old.shown is row:
                told.append(_tell(old, writing, moves))
            else:
                made.append(self._make(row, writing))
        for (before, after), number in moves.items():
            self._count(before, writing.first, -number)
            self._count(after, writing.first, number)
        if len(self._rows) > len(rows):
            for id in self._rows.keys() - {row.id for row in rows}:
                self._count(self._rows.pop(id).cells, 0, -1)
        if rows is not self._shown:
            self._order, self._shown = [self._rows[row.id] for row in rows], rows
        self._fit(made, told, writing.first)
        self._soonest = min((row.until for row in self._order), default=0)
        self._header = writing.header

    def _make(self, shown: Listed, writing: Writing) -> _Row:
        before = self._rows.pop(shown.id, None)
        if before is not None:
            self._count(before.cells, 0, -1)
        row = self._rows[shown.id] = _Row(shown, writing.cells(shown), writing.times(shown)[1])
        self._count(row.cells, 0, 1)
        return row

    def _count(self, cells: Cells, first: int, change: int) -> None:
        """So many cells more or fewer of these widths, in the columns from `first` on."""
        for column, cell in enumerate(cells, first):
            sizes, size = self._sizes[column], width(cell)
            sizes[size] += change
            if not sizes[size]:
                del sizes[size]

    def _fit(self, made: Sequence[_Row], told: Sequence[_Row], first: int) -> None:
        """Write the lines that have changed; all of them if a column has another width now."""
        widths = [column_width(max(sizes)) for sizes in self._sizes[:-1]]
        same, self._widths = widths == self._widths, widths
        for row in made if same else self._order:
            row.text = _encoded(line(row.cells, widths))
        if same and told:
            self._splice(told, first)

    def _splice(self, told: Sequence[_Row], first: int) -> None:
        """Only the times in the middle of these lines have changed."""
        last = first + _TIMES
        begin, end = sum(self._widths[:first]), sum(self._widths[:last])
        known: dict[Cells, bytes] = {}
        for row in told:
            if not row.text.isascii():  # then bytes are no columns
                row.text = _encoded(line(row.cells, self._widths))
                continue
            times = row.cells[first:last]
            middle = known.get(times)
            if middle is None:
                middle = known[times] = _encoded(line((*times, ""), self._widths[first:last])[:-1])
            row.text = row.text[:begin] + middle + row.text[end:]

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
        rows = (self._header, *(row.cells for row in self._order))
        return _encoded("".join(line([row[place] for place in places], widths) for row in rows))


def _tell(row: _Row, writing: Writing, moves: Counter[tuple[Cells, Cells]]) -> _Row:
    """Tell the time of a row anew and note what has taken the place of what."""
    times, row.until = writing.times(row.shown)
    first, last = writing.first, writing.first + _TIMES
    before = row.cells[first:last]
    moves[before, times] += 1
    row.cells = (*row.cells[:first], *times, *row.cells[last:])
    return row


async def _in_thread(work: Callable[[], None]) -> None:
    """Returns, also when it is cancelled, only after the work is done: nobody else may use the sheet meanwhile."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(working)
    finally:
        await asyncio.wait((working,))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
