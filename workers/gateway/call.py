"""One request of the API as its handler sees it, and what a handler may answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from domain.errors import InvalidValue, Refused
from domain.filters import of_query
from domain.messages import Actor
from workers.accesses import Reading
from workers.console.engine import Engine
from workers.gateway.pending import Pending
from workers.mover import Caller

MOST_JSON = 4 * 1024 * 1024
"""Bytes of a body that is read as a document."""
RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
Version = tuple[int, int]
Headers = Sequence[tuple[str, str]]
Model = TypeVar("Model", bound=BaseModel)


class Wire(Protocol):
    """The call of the console that carries a request; see `adapters.control.console.Call`."""

    @property
    def argv(self) -> list[str]:
        """Method, target, header lines, an empty item, and the body with its NULs as ends of items."""

    @property
    def streams_body(self) -> bool:
        """Whether the body has to be asked for."""

    @property
    def actor(self) -> Actor:
        """Who asks."""

    @property
    def call_id(self) -> str:
        """The identity of the request."""

    @property
    def closed(self) -> asyncio.Event:
        """Set when the client is gone."""

    @property
    def deserted(self) -> bool:
        """Whether it went by itself."""

    async def head(self, status: int, headers: Headers, *, hijack: bool = False) -> None:
        """Begin to answer."""

    async def out(self, data: bytes) -> None:
        """Some of the answer's body; waits while the client is slow."""

    def stdin(self) -> AsyncIterator[bytes]:
        """The body that was asked for, or what a client says on a hijacked connection, until its end."""

    async def exit(self, status: int) -> None:
        """The answer ends, whole (0) or not."""


@dataclass(frozen=True)
class Reply:
    """An answer that is there at once: a `document` as JSON, or bytes of another `kind`, or neither."""

    status: int = 200
    document: object = None
    body: bytes = b""
    kind: str = "application/json"
    headers: Headers = ()

    @property
    def content(self) -> bytes:
        """The body's bytes."""
        return self.body if self.document is None else json.dumps(self.document).encode("utf-8", "replace") + b"\n"


@dataclass(frozen=True)
class Stream:
    """An answer that comes in pieces; the first refusals were found before there was one. `shared` says that it is the
    same for all who ask, whenever they do (`adapters.gateway.sharing`)."""

    pieces: AsyncIterator[bytes]
    kind: str = "application/json"
    status: int = 200
    headers: Headers = ()
    shared: bool = False


@dataclass(frozen=True)
class Hijack:
    """The connection becomes a stream in both directions for as long as `work` takes: `RAW` bytes, or output that is
    `MULTIPLEXED` into frames. It does with `Duplex.begin`; what `work` raises before is a refusal like others."""

    work: Callable[["Duplex"], Awaitable[None]]
    kind: str = RAW
    upgrade: str = "tcp"
    headers: Headers = ()


Answer = Reply | Stream | Hijack
EMPTY = Reply(status=204)
"""Done, and nothing to tell."""


class Duplex:
    """A hijacked connection; `status` and `headers` are the head of the answer with which it begins."""

    def __init__(self, wire: Wire, status: int, headers: Headers) -> None:
        self._wire, self._status, self._headers = wire, status, headers
        self.begun = False

    async def begin(self) -> None:
        """From now on it is a stream. Twice is fine."""
        if not self.begun:
            self.begun = True
            await self._wire.head(self._status, self._headers, hijack=True)

    @property
    def closed(self) -> asyncio.Event:
        """Set when the client is gone."""
        return self._wire.closed

    @property
    def deserted(self) -> bool:
        """Whether it went by itself, and not because the engine goes down."""
        return self._wire.deserted

    def read(self) -> AsyncIterator[bytes]:
        """What the client says, until it closes its direction. Once only. Raises: Unavailable when it is gone."""
        return self._wire.stdin()

    async def write(self, data: bytes) -> None:
        """Something for the client; waits while it is slow."""
        await self.begin()
        await self._wire.out(data)


@dataclass(frozen=True)
class Call:
    """A request: `path` has the parts of the path that the route names, `query` the values of each name in their order,
    `headers` are by lower-case names."""

    method: str
    version: Version
    path: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    engine: Engine
    who: Caller
    pending: Pending
    wire: Wire
    reading: Reading
    sent: bytes = b""

    def text(self, name: str, default: str = "") -> str:
        """The first value of a query parameter; the default for one that is missing or empty."""
        values = self.query.get(name)
        return values[0] if values and values[0] else default

    def many(self, name: str) -> Sequence[str]:
        """All values of a query parameter."""
        return self.query.get(name, ())

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A truth as the industry's engine reads it."""
        if name not in self.query:
            return default
        return self.text(name).lower() not in ("", "0", "no", "false", "none")

    def number(self, name: str) -> int | None:
        """A whole number; None when it is not given. Raises: InvalidValue."""
        text = self.text(name)
        if not text:
            return None
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 16):
            raise InvalidValue(f'invalid value "{text}" for {name}: it must be a whole number')
        return int(text)

    def filters(self, known: Sequence[str]) -> dict[str, list[str]]:
        """`filters={"label":["a=b"]}`, or in the form `{"label":{"a=b":true}}`. Raises: InvalidValue for one that is
        not known."""
        return of_query(self.text("filters"), known)

    async def body(self) -> AsyncIterator[bytes]:
        """The body in pieces. Raises: InvalidValue when the client breaks off, Unavailable when it is gone."""
        if not self.wire.streams_body:
            if self.sent:
                yield self.sent
            return
        try:
            async for piece in self.wire.stdin():
                yield piece
        except Refused as error:
            raise InvalidValue(error.message) from error

    async def read(self) -> bytes:
        """A whole body. Raises: InvalidValue for one that is too long."""
        found = bytearray()
        async for piece in self.body():
            found += piece
            if len(found) > MOST_JSON:
                raise InvalidValue(f"the request's body has more than {MOST_JSON} bytes")
        return bytes(found)

    async def json(self, *, needed: bool = False) -> dict[str, Any]:
        """The body as an object; an empty one when there is no body, unless one is `needed`. Raises: InvalidValue."""
        data = await self.read()
        if not data.strip():
            if needed:
                raise InvalidValue("invalid JSON: got EOF while reading request body")
            return {}
        try:
            found = json.loads(data, parse_int=_whole, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise InvalidValue(f"invalid JSON: {error}") from error
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise InvalidValue("invalid JSON: the body is no object")
        return found

    async def model(self, model: type[Model], *, needed: bool = False) -> Model:
        """The body as a document of that kind. Raises: InvalidValue, naming the field."""
        return validated(model, await self.json(needed=needed))


def _whole(text: str) -> int:
    """A number that fits into 64 bits, as all of the API do."""
    number = int(text) if len(text) < 21 else 1 << 64
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError(f"the number {text[:30]} is out of range")
    return number


def _no_number(text: str) -> object:
    """NaN and Infinity are Python's own."""
    raise ValueError(f"{text} is no value")


def validated(model: type[Model], document: Mapping[str, Any]) -> Model:
    """Raises: InvalidValue, naming the field."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidValue(f"invalid JSON: {place}: {first['msg']}") from error
