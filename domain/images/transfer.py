"""How bytes come from a registry and get there when not everything goes well: when to try again, where to go on. Pure.

A download that was cut goes on where it stopped (`Range`), if the server still has the same thing and lets us; an
upload where the server says it is. Waiting grows from nothing to fifteen seconds, and begins anew with every byte that
came: only what stands still is given up.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from domain.errors import Refused

TRIES = 6
"""How often in a row nothing may come."""
FIRST_TRIES = 3
"""The same as long as nothing ever came: then the name is wrong, more likely than not."""
LONGEST_PAUSE = 15.0
LONGEST_WAIT = 900.0
"""Seconds that a registry may ask us to wait in one piece; longer ones are told to the user instead."""
AT_ONCE = 3
"""Layers that one pull or push moves at the same time, as everybody does it."""
_FIRST_PAUSE = 0.5

_RANGE = re.compile(r"\s*bytes\s+(\d{1,18})-(\d{1,18})/(?:(\d{1,18})|\*)\s*", re.IGNORECASE)
_UPLOADED = re.compile(r"\s*(?:bytes=)?0-(\d{1,18})\s*")
_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel\s*=\s*"?next"?', re.IGNORECASE)


def pause(failures: int, tries: int = TRIES) -> float | None:
    """Seconds to wait after so many failures in a row (1: the first); None: give up."""
    if failures >= tries:
        return None
    return 0.0 if failures <= 1 else min(_FIRST_PAUSE * 2.0 ** (failures - 2), LONGEST_PAUSE)


def asked_pause(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that an answer (429, 503) asks us to wait; None when it does not say. `now` in seconds since the epoch.

    `Retry-After` in seconds or as a date (RFC 9110, 10.2.3), else `RateLimit-Reset` when nothing remains. `headers`
    with names in lower case.
    """
    after = headers.get("retry-after", "").strip()
    if after.isascii() and after.isdigit() and len(after) < 10:
        return float(after)
    if after:
        try:
            moment = datetime.strptime(after, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
        except ValueError:
            return None
        return max(moment.timestamp() - now, 0.0)
    reset = headers.get("ratelimit-reset", "").strip()
    return float(reset) if reset.isascii() and reset.isdigit() and len(reset) < 10 else None


@dataclass(frozen=True, slots=True)
class Resumed:
    """Where the body of an answer begins: that many bytes in front of `offset` are known already and are to be
    dropped; `total` is -1 where the server does not say."""

    skip: int = 0
    total: int = -1


def resumed(status: int, content_range: str, offset: int, what: str) -> Resumed:
    """What an answer to a request from `offset` on brings. Raises: Refused for one that fits to nothing.

    A server that ignores the range sends everything (200): what we have is dropped from the front of it.
    """
    if status == 200:
        return Resumed(skip=offset)
    match = _RANGE.fullmatch(content_range)
    if status != 206 or match is None or int(match[1]) > offset:
        raise Refused(f"{what}: the registry answered with another part than the one that was asked for")
    return Resumed(offset - int(match[1]), int(match[3]) if match[3] else -1)


def uploaded(header: str) -> int:
    """How many bytes an upload session has, from its `Range` header; 0 when it does not say."""
    match = _UPLOADED.fullmatch(header)
    # "0-0" stands for nothing at the beginning, and for one byte: the registries that matter mean nothing.
    return int(match[1]) + 1 if match is not None and match[1] != "0" else 0


def with_digest(location: str, digest: str) -> str:
    """The address that ends an upload session."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def next_page(link: str) -> str:
    """The address of the next page in a `Link` header; empty when this is the last one."""
    match = _NEXT.search(link)
    return match[1] if match else ""
