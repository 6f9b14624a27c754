"""Tables as the industry's CLI prints them: no tabs, no lines, the last column unpadded.

CONTAINER ID   NAMES
0123456789ab   web
"""

import unicodedata
from collections.abc import Sequence


def width(text: str) -> int:
    """Columns that `text` takes on a terminal: wide characters count twice, combining ones not at all."""
    if text.isascii():
        return len(text)
    return sum(_cell(char) for char in text)


def shortened(text: str, columns: int) -> str:
    """`text` on at most so many columns, with `…` for what was cut."""
    if width(text) <= columns:
        return text
    end = taken = 0
    while taken + (cell := _cell(text[end])) < columns:
        end, taken = end + 1, taken + cell
    return text[:end] + "…"


def _cell(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def render(rows: Sequence[Sequence[str]], *, minimum: int = 10, padding: int = 3) -> str:
    """All rows as lines (each with its line feed); the header is simply the first row.

    A column is as wide as its widest cell plus `padding`, at least `minimum`; the last cell of a row is neither padded
    nor measured, as rows may have different lengths.
    """
    widths: list[int] = []
    for column in range(max((len(row) for row in rows), default=1) - 1):
        widest = max(width(row[column]) for row in rows if len(row) > column + 1)
        widths.append(column_width(widest, minimum=minimum, padding=padding))
    return "".join(line(row, widths) for row in rows)


def column_width(widest: int, *, minimum: int = 10, padding: int = 3) -> int:
    """How wide the column is whose widest cell takes so much."""
    return max(minimum, widest + padding)


def line(row: Sequence[str], widths: Sequence[int]) -> str:
    """One row with its line feed; its last cell is not padded, so the last column needs no width."""
    if not row:
        return "\n"
    cells = [_padded(cell, wide) for cell, wide in zip(row[:-1], widths, strict=False)]
    return "".join(cells) + row[-1] + "\n"


def _padded(cell: str, wide: int) -> str:
    return cell.ljust(wide) if cell.isascii() else cell + " " * (wide - width(cell))
