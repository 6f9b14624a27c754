"""Refusals as the API tells them: a status and `{"message": …}`. The only place that knows the statuses.

Clients choose their exceptions by the status, and some by the text, which the domain words as the industry's engine
does.
"""

from domain.errors import (
    Ambiguous,
    CommandFailed,
    Conflict,
    InvalidValue,
    LadingError,
    NotFound,
    Refused,
    Unavailable,
)
from domain.text.safe import safe
from workers.console.errors import Plain

STATUSES: tuple[tuple[type[LadingError], int], ...] = (
    (InvalidValue, 400),
    (Ambiguous, 400),
    (CommandFailed, 400),
    (NotFound, 404),
    (Conflict, 409),
    (Refused, 409),
    (Plain, 400),
    (Unavailable, 503),
    (LadingError, 500),
)
"""The first that fits counts."""


_COMMAND = "lading "
"""Hints that begin so are for people at the command line."""


class Denied(LadingError):
    """A refusal with a status of its own, for what only the API has."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def status_of(error: LadingError) -> int:
    """The status of the answer."""
    if isinstance(error, Denied):
        return error.status
    return next(status for kind, status in STATUSES if isinstance(error, kind))


def message_of(error: LadingError) -> str:
    """What the client shows: the refusal, and what mends it where the engine knows something that helps here."""
    hint = " ".join(error.hint.split())
    told = f" ({safe(hint)})" if hint and not hint.startswith(_COMMAND) else ""
    return safe(error.message) + told
