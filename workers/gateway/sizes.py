"""Sizes of terminals as the API says them."""

from collections.abc import Sequence

from domain.errors import InvalidValue
from workers.gateway.call import Call

_MOST = 0xFFFF


def rows_and_columns(call: Call) -> tuple[int, int]:
    """`h` and `w`. Raises: InvalidValue."""
    rows, columns = call.number("h"), call.number("w")
    if rows is None or columns is None:
        raise InvalidValue("h and w have to be given: rows and columns of the terminal")
    if not (0 <= rows <= _MOST and 0 <= columns <= _MOST):
        raise InvalidValue(f"h and w must lie between 0 and {_MOST}")
    return rows, columns


def initial(size: Sequence[int]) -> tuple[int, int]:
    """`ConsoleSize`: rows and columns, zeros when nothing was said. Raises: InvalidValue."""
    if not size:
        return 0, 0
    if len(size) != 2 or not all(0 <= each <= _MOST for each in size):
        raise InvalidValue("ConsoleSize has to be two numbers: rows and columns")
    return size[0], size[1]
