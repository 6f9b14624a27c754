"""Tables: columns that line up, without tabs."""

from hypothesis import given
from hypothesis import strategies as st

from domain.text.table import render, shortened, width

CELL = st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=30)


def test_a_column_is_as_wide_as_its_widest_cell_and_three_more() -> None:
    """The layout that scripts cut by columns."""
    rows = [["CONTAINER ID", "IMAGE", "NAMES"], ["0123456789ab", "alpine:3.10", "web"]]
    assert render(rows) == "CONTAINER ID   IMAGE         NAMES\n0123456789ab   alpine:3.10   web\n"


def test_a_column_is_at_least_ten_wide() -> None:
    """Narrow columns do not jump about."""
    assert render([["A", "B"], ["1", "2"]]) == "A         B\n1         2\n"


def test_the_last_cell_is_not_padded() -> None:
    """No blanks at the end of a line."""
    assert render([["A", "LONG HEADER"], ["1", "x"]]).splitlines()[1] == "1         x"


def test_wide_and_combining_characters_are_measured_as_they_show() -> None:
    """Columns line up in every script."""
    assert [width(text) for text in ("abc", "漢字", "e\u0301", "")] == [3, 4, 1, 0]
    lines = render([["漢字漢字漢字", "x"], ["abc", "y"]]).splitlines()
    assert width(lines[0]) == width(lines[1])


@given(st.text(max_size=12), st.integers(1, 12))
def test_what_is_shortened_fits(text: str, columns: int) -> None:
    """And is what it was where it fits already."""
    cut = shortened(text, columns)
    assert width(cut) <= columns
    assert cut == text if width(text) <= columns else text.startswith(cut.removesuffix("…"))


@given(st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=6))
def test_every_column_begins_at_one_place(rows: list[list[str]]) -> None:
    """Whatever is in the cells."""
    lines = render(rows).splitlines()
    start = [max(10, *(len(row[0]) + 3 for row in rows))] * len(rows)
    assert [line[at:].startswith(row[1]) for line, at, row in zip(lines, start, rows, strict=True)] == [True] * len(
        rows
    )
    assert [line[: len(row[0])] for line, row in zip(lines, rows, strict=True)] == [row[0] for row in rows]
