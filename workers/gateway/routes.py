"""The table of routes: method, pattern of the path, handler, and the first version of the API that has it.

    Route("GET", "/containers/{name}/json", inspect)
    Route("GET", "/images/{name...}/json", inspect)      names of images hold slashes
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from workers.gateway.call import Answer, Call, Version

OLDEST: Version = (1, 24)
NEWEST: Version = (1, 50)
Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True)
class Route:
    """One row. `{name}` is one part of a path, `{name...}` one or more. `reads`: what a request that only looks is
    recorded as, by the verb of the command line that asks for the same."""

    method: str
    pattern: str
    handler: Handler
    since: Version = OLDEST
    reads: str = ""


@dataclass(frozen=True)
class Found:
    """A route with the parts of the path that it names."""

    route: Route
    path: dict[str, str]


def find(routes: Sequence[Route], method: str, path: str, version: Version) -> Found | None:
    """The first route that fits; HEAD fits where GET does."""
    for wanted in (method, "GET") if method == "HEAD" else (method,):
        for route in routes:
            if route.method != wanted or version < route.since:
                continue
            if (match := _compiled(route.pattern).fullmatch(path)) is not None:
                return Found(route, {name: unquote(part) for name, part in match.groupdict().items()})
    return None


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)(\.\.\.)?\}", pattern)
    text = ""
    for at in range(0, len(parts), 3):
        text += re.escape(parts[at])
        if at + 1 < len(parts):
            text += f"(?P<{parts[at + 1]}>{'.+' if parts[at + 2] else '[^/]+'})"
    return re.compile(text)
