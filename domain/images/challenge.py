"""What a registry wants to know about the asker: `WWW-Authenticate`, and the tokens that answer it.

    Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/x:pull"
    Basic realm="the registry"

RFC 9110 (11.6.1), and the token protocol of the Distribution project. One header may hold several challenges, and a
quoted value may hold commas.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from domain.errors import InvalidValue
from domain.images.manifest import parse_json

LARGEST_TOKEN = 1 << 20
SHORTEST_LIFE = 60.0
"""Seconds that a token lives when its issuer does not say, and at least."""
EARLY = 10.0
"""A token is not used in its last seconds."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PART = re.compile(
    rf'\s*,*\s*(?:(?P<name>{_TOKEN})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{_TOKEN}))'
    rf"|(?P<scheme>{_TOKEN})(?:\s+(?P<blob>[A-Za-z0-9._~+/-]+=*)(?=\s*(?:,|$)))?)\s*"
)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to prove who one is: `scheme` and the names of `values` in lower case."""

    scheme: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Token:
    """`life` in seconds from when it was given."""

    value: str = field(repr=False)
    life: float = SHORTEST_LIFE


def parse_challenges(headers: Sequence[str]) -> tuple[Challenge, ...]:
    """All challenges in the headers, in order; what cannot be read ends its header."""
    return tuple(challenge for header in headers for challenge in _challenges(header))


def _challenges(header: str) -> Iterator[Challenge]:
    at, scheme = 0, ""
    values: dict[str, str] = {}
    while at < len(header) and (match := _PART.match(header, at)) is not None and match.end() > at:
        at = match.end()
        if match["scheme"]:
            if scheme:
                yield Challenge(scheme, values)
            scheme, values = match["scheme"].lower(), {}
        elif scheme and match["name"]:
            quoted = match["quoted"]
            plain = match["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            values.setdefault(match["name"].lower(), plain)
    if scheme:
        yield Challenge(scheme, values)


def chosen(challenges: Sequence[Challenge]) -> Challenge | None:
    """The one that is answered: a token if one can be had, else user and password; None for what nobody knows."""
    for scheme in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.scheme == scheme and (scheme == "basic" or challenge.values.get("realm")):
                return challenge
    return None


def pull_scope(path: str) -> str:
    """The right to read a repository."""
    return f"repository:{path}:pull"


def push_scope(path: str) -> str:
    """The right to read and write it."""
    return f"repository:{path}:pull,push"


def parse_token(data: bytes) -> Token:
    """The answer of a token service: `{"token": …, "expires_in": 300}`. Raises: InvalidValue."""
    document = parse_json(data, "the answer of the token service", LARGEST_TOKEN)
    value = (document.get("token") or document.get("access_token")) if isinstance(document, dict) else None
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise InvalidValue("the answer of the token service holds no token")
    life = document.get("expires_in")
    known = isinstance(life, int | float) and not isinstance(life, bool)
    return Token(value, max(float(life), SHORTEST_LIFE) if known else SHORTEST_LIFE)
