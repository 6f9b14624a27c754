"""Named places where a fault can be injected: off in normal use, armed only by a composition root.

`failpoint("start.before-outcome")` costs one comparison while nothing is armed. What an armed one does (error, delay,
kill) is not decided here: the domain knows neither clock nor process.
"""

from collections.abc import Callable

_armed: Callable[[str], None] | None = None


def failpoint(name: str) -> None:
    """Pass the place called `name`; does nothing unless armed."""
    if _armed is not None:
        _armed(name)


def arm(action: Callable[[str], None] | None) -> None:
    """Install what happens at every failpoint, or None to disarm."""
    global _armed
    _armed = action
