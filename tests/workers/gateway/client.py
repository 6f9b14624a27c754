"""A client of the API without HTTP: its requests are calls of the console, as the gateway's process makes them."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from domain.errors import Refused
from domain.messages import Actor
from tests.workers.console.fakes import FakeEngine
from workers.gateway.call import Headers
from workers.gateway.dispatch import Api

ANN = Actor(via="socket", user="ann", uid=1000, gid=1000, pid=77, command="docker run web", host="here")


@dataclass
class FakeWire:
    """Keeps what was answered; `input` is the body that has to be asked for, or what is said on a hijacked connection;
    with `broken` the client goes away in the middle of it."""

    argv: list[str]
    streams_body: bool = False
    input: tuple[bytes, ...] = ()
    stays: bool = False
    broken: bool = False
    actor: Actor = ANN
    call_id: str = "1"
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    deserted: bool = False
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    hijacked: bool = False
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    sent: list[bytes] = field(default_factory=list)
    ended: int | None = None

    async def head(self, status: int, headers: Headers, *, hijack: bool = False) -> None:
        """Kept."""
        assert not self.status, "an answer has one head"
        self.status, self.headers, self.hijacked = status, dict(headers), hijack
        self.begun.set()

    async def out(self, data: bytes) -> None:
        """Kept."""
        assert self.status, "the head comes first"
        self.sent.append(data)

    async def stdin(self) -> AsyncIterator[bytes]:
        """What the client says."""
        for piece in self.input:
            yield piece
        if self.broken:
            raise Refused("bad request: it ended in the middle")
        if self.stays:
            await asyncio.Event().wait()

    async def exit(self, status: int) -> None:
        """The end."""
        self.ended = status

    @property
    def body(self) -> bytes:
        """Everything."""
        return b"".join(self.sent)

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """What a refusal says."""
        text: str = self.document["message"]
        return text


class Client:
    """Asks an engine."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine, self.api = engine, Api(engine)

    def wire(
        self, method: str, target: str, document: object = None, *, body: bytes = b"", headers: Sequence[str] = (),
        version: str = "/v1.50", **more: Any,
    ) -> FakeWire:
        """A request that was not asked yet."""
        data = body if document is None else json.dumps(document).encode()
        argv = [method, version + target, *headers, "", *data.decode("utf-8", "surrogateescape").split("\0")]
        return FakeWire(argv, **more)

    async def ask(self, method: str, target: str, document: object = None, **more: Any) -> FakeWire:
        """A request and its whole answer."""
        wire = self.wire(method, target, document, **more)
        await self.api.answer(wire)
        assert wire.ended is not None, "every answer ends"
        return wire

    async def create(self, name: str = "web", **config: object) -> str:
        """A container of the one image."""
        answer = await self.ask("POST", f"/containers/create?name={name}", {"Image": "alpine:3.10", **config})
        assert answer.status == 201, answer.body
        id: str = answer.document["Id"]
        return id

    async def run(self, name: str = "web", **config: object) -> str:
        """The same, and it runs."""
        id = await self.create(name, **config)
        assert (await self.ask("POST", f"/containers/{name}/start")).status == 204
        return id
