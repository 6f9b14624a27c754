"""Wishes and questions of programs on the bus, as JSON: one answer each.

    request  lading.<host>.cmd.<who>.run     {"id":"7c…","request":{"image":"busybox","command":["true"]}}
    answer                                   {"ok":true,"container":"4f1c…"}
    request  lading.<host>.cmd.<who>.stop    {"container":"web","timeout":3}
    answer                                   {"ok":true,"container":"4f1c…","state":"exited"}
    request  lading.<host>.cmd.<who>.exec    {"container":"web","exec":{"command":["id","-u"]}}
    answer                                   {"ok":true,"container":"4f1c…","exec":"91ab…","status":0,
                                              "stdout":"0\n","stderr":"","truncated":false}
    request  lading.<host>.q.<who>.containers   {"where":{"state":"running"}}
    answer                                   {"ok":true,"rows":[…]}
    request  lading.<host>.cmd.<who>.pull    {"reference":"host:5000/web:1","registry":{"user":"ann","password":"…"}}
    answer                                   {"ok":true,"image":"sha256:…","digest":"sha256:…","news":true}
    refusal                                  {"ok":false,"error":"NameTaken","message":"…","hint":"…"}

`exec` answers when the command has ended, with the beginning of what it has written; with `"detach":true` as soon as it
was executed. `id` identifies the request: told again, `run` and `create` answer what they answered before and do
nothing.
Who asks is a part of the subject and proven by the server or by the kernel; it is never taken from the payload.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from domain import subjects
from domain.errors import InvalidValue, LadingError, Unavailable
from domain.images.manifest import parse_platform
from domain.images.progress import Progress
from domain.lifecycle.commit import Commit
from domain.lifecycle.kill import Kill
from domain.lifecycle.pause import Pause
from domain.lifecycle.remove import Remove
from domain.lifecycle.rename import Rename
from domain.lifecycle.start import Start
from domain.lifecycle.stop import Restart, Stop
from domain.lifecycle.unpause import Unpause
from domain.lifecycle.update import Update
from domain.messages import Actor, Command, Recorded
from domain.network.asked import NetworkWish
from domain.ports.bus import Bus, Message
from domain.signals import number
from domain.spec import RestartPolicy
from workers.accesses import Reading
from workers.engine import Engine
from workers.mover import Caller
from workers.relay import live
from workers.requests import CreateRequest, ExecRequest, NetworkRequest, RegistryKey, strangers

log = logging.getLogger(__name__)
MOST_ROWS = 1000
MOST_OUTPUT = 128 * 1024
"""Bytes of each output of an exec that are told: an answer must fit into one message (a megabyte), also as JSON."""
Number = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""What the database can hold."""
Answer = dict[str, Any]
Identify = Callable[[str], Actor]
_Payload = TypeVar("_Payload", bound=BaseModel)


class Wish(BaseModel):
    """The payload of any wish; which fields matter depends on the verb."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(default="", max_length=128)
    request: CreateRequest | None = None
    exec: ExecRequest | None = None
    detach: bool = False
    restart: RestartPolicy | None = None
    network: NetworkRequest | None = None
    endpoint: NetworkWish | None = None
    links: tuple[str, ...] = ()
    limits: dict[str, int | str] = Field(default_factory=dict)
    container: str = ""
    signal: str | None = None
    timeout: int | None = None
    name: str = ""
    force: bool = False
    reference: str = ""
    platform: str = ""
    registry: RegistryKey = RegistryKey()
    author: str = ""
    message: str = ""
    changes: tuple[str, ...] = ()
    pause: bool = True


class Question(BaseModel):
    """The payload of any question."""

    model_config = ConfigDict(extra="forbid")

    where: dict[str, str | Number | list[str]] = Field(default_factory=dict)
    container: str = ""
    after: Number = 0
    limit: int = Field(default=MOST_ROWS, ge=1, le=MOST_ROWS)


def _signal(wish: Wish) -> int | None:
    return None if wish.signal is None else number(wish.signal)


def _update(wish: Wish) -> Update:
    if wish.restart is None and not wish.limits:
        raise InvalidValue("update needs restart or limits", hint='{"limits":{"memory":67108864,"memory_swap":-1}}')
    return Update(restart=wish.restart, limits=wish.limits)


VERBS: Mapping[str, Callable[[Wish], Command]] = {
    "start": lambda wish: Start(),
    "stop": lambda wish: Stop(signal=_signal(wish), timeout=wish.timeout),
    "restart": lambda wish: Restart(signal=_signal(wish), timeout=wish.timeout),
    "kill": lambda wish: Kill(signal=number(wish.signal or "KILL")),
    "pause": lambda wish: Pause(),
    "unpause": lambda wish: Unpause(),
    "rename": lambda wish: Rename(name=wish.name),
    "rm": lambda wish: Remove(force=wish.force),
    "update": _update,
}
"""Wishes about one container that need nothing but a command."""


class Programs:
    """Answers programs; `identify` maps the proven `<who>` of a subject to an actor."""

    def __init__(self, bus: Bus, host: str, engine: Engine, identify: Identify) -> None:
        self._bus, self._host, self._engine, self._identify = bus, host, engine, identify

    async def begin(self) -> None:
        """Listen from now on."""
        await self._bus.serve(subjects.area(self._host, "cmd"), self._on(self._command))
        await self._bus.serve(subjects.area(self._host, "q"), self._on(self._query))

    def _on(self, answer: Callable[[str, str, bytes], Awaitable[Answer]]) -> Callable[[Message], Awaitable[None]]:
        async def handle(message: Message) -> None:
            _, _, (who, verb, *_) = subjects.split(message.subject)
            told = json.dumps(await _caught(answer, who, verb, message.data)).encode()
            try:
                await message.respond(told)
            except InvalidValue as error:  # larger than a message may be
                await message.respond(json.dumps(_refusal(error)).encode())

        return handle

    async def _command(self, who: str, verb: str, data: bytes) -> Answer:
        wish = _understood(Wish, data)
        caller = Caller(self._identify(who), f"{who}/{wish.id}" if wish.id else "")
        if verb in {"run", "create"}:
            return await self._create(verb, wish, caller)
        if verb == "wait":
            id = await self._engine.resolve_past(wish.container)
            return {"ok": True, "container": id, "status": await self._engine.wait(id)}
        if verb in {"pull", "push"}:
            return {"ok": True, **await (self._pull if verb == "pull" else self._push)(wish, caller)}
        if verb in _NETWORK_VERBS:
            return {"ok": True, **await self._network(verb, wish, caller)}
        id = await self._engine.resolve(wish.container)
        if verb in ("connect", "disconnect"):
            await self._connection(verb, id, wish, caller)
            return {"ok": True, "container": id}
        if verb == "unlink":
            await self._engine.unlink(id, wish.name, caller)
            return {"ok": True, "container": id}
        if verb == "exec":
            return {"ok": True, "container": id, **await self._exec(id, wish, caller)}
        if verb == "commit":
            command = Commit(
                reference=wish.reference,
                author=wish.author,
                message=wish.message,
                changes=wish.changes,
                pause=wish.pause,
            )
            return {"ok": True, "container": id, "image": await self._engine.commit(id, command, caller)}
        make = VERBS.get(verb)
        if make is None:
            raise InvalidValue(f"unknown wish: {verb!r}", hint=f"known: {', '.join(sorted([*VERBS, *_OTHERS]))}")
        container = await self._engine.execute(id, make(wish), caller)
        return {"ok": True, "container": id, "state": container.state.value}

    async def _pull(self, wish: Wish, caller: Caller) -> Answer:
        """The credentials go to the registry itself, not to its mirrors."""
        images, reference = self._engine.images, self._engine.images.expand(wish.reference)
        platform = parse_platform(wish.platform) if wish.platform else None
        keys = {reference.host: wish.registry.credentials}
        arrived = await images.pull(reference, caller, keys, Progress(), platform)
        return {"image": arrived.image_id, "digest": arrived.digest, "news": arrived.is_news}

    async def _push(self, wish: Wish, caller: Caller) -> Answer:
        images, reference = self._engine.images, self._engine.images.expand(wish.reference)
        if not reference.tag or reference.digest:
            raise InvalidValue("push needs a reference with a tag", hint='{"reference":"host:5000/web:1"}')
        if wish.platform:
            await images.require(reference.key, parse_platform(wish.platform))
        sent = await images.push(reference, caller, wish.registry.credentials, Progress())
        return {"digest": sent.digest, "size": sent.size}

    async def _network(self, verb: str, wish: Wish, caller: Caller) -> Answer:
        networks = self._engine.networks
        if verb == "network-rm":
            return {"network": await networks.remove(wish.name, caller)}
        if wish.network is None:
            raise InvalidValue(f"{verb} needs network", hint='{"network":{"name":"shop"}}')
        return {"network": await networks.create(wish.network, caller)}

    async def _connection(self, verb: str, id: str, wish: Wish, caller: Caller) -> None:
        """A running container has one interface more, or less, when this returns."""
        if wish.endpoint is None:
            raise InvalidValue(f"{verb} needs endpoint", hint='{"container":"web","endpoint":{"name":"shop"}}')
        name = wish.endpoint.name
        if verb == "connect":
            await self._engine.connect(name, id, wish.endpoint, wish.links, caller)
        else:
            await self._engine.disconnect(name, id, caller, force=wish.force)

    async def _exec(self, id: str, wish: Wish, caller: Caller) -> Answer:
        if wish.exec is None:
            raise InvalidValue("exec needs exec", hint='{"exec":{"command":["id","-u"]}}')
        request = wish.exec.model_copy(update={"stdin": False})
        exec_id = await self._engine.exec(id, request, caller, watched=not wish.detach)
        if wish.detach:
            return {"exec": exec_id}
        told, truncated = {1: bytearray(), 2: bytearray()}, False
        async for frame in self._engine.exec_output(id, exec_id):
            words = told.setdefault(frame.stream, bytearray())
            truncated = truncated or len(words) + len(frame.data) > MOST_OUTPUT
            words += frame.data[: MOST_OUTPUT - len(words)]
        out, err = (words.decode("utf-8", "replace") for words in (told[1], told[2]))
        status = await self._engine.exec_exit(id, exec_id)
        return {"exec": exec_id, "status": status, "stdout": out, "stderr": err, "truncated": truncated}

    async def _create(self, verb: str, wish: Wish, caller: Caller) -> Answer:
        if wish.request is None:
            raise InvalidValue(f"{verb} needs a request")
        make = self._engine.run if verb == "run" else self._engine.create
        warnings = await self._engine.advice(wish.request.resources) if wish.request.resources else ()
        return {"ok": True, "container": await make(wish.request, caller), "warnings": list(warnings)}

    async def _query(self, who: str, view: str, data: bytes) -> Answer:
        question = _understood(Question, data)
        with Reading(self._engine.accesses, self._identify(who), _READS.get(view, "")).noted():
            return await self._told(view, question)

    async def _told(self, view: str, question: Question) -> Answer:
        if view in _VIEWS:
            return {"ok": True, "rows": await self._rows(view, question)}
        if view == "history":
            records = await self._engine.history(await self._engine.resolve_past(question.container))
            return {"ok": True, "events": _documents(records)}
        if view == "events":
            return {"ok": True, "events": _documents(await self._engine.store.read(question.after, question.limit))}
        raise InvalidValue(f"unknown view: {view!r}", hint=f"known: {', '.join(_VIEWS)}, history, events")

    async def _rows(self, view: str, question: Question) -> list[dict[str, object]]:
        try:
            rows = await self._engine.views.select(view, where=dict(question.where), limit=question.limit)
        except LookupError as error:
            raise InvalidValue(str(error)) from error
        return [dict(row) for row in rows]


_VIEWS = (
    "containers", "images", "refs", "past", "networks", "past_networks", "addresses", "tenures", "volumes",
)
_READS = {
    "containers": "ps", "images": "images", "refs": "images", "networks": "network ls", "volumes": "volume ls",
    "events": "events",
}
"""What questions that only look are recorded as; those about the past are about the history, like `audit`."""
_NETWORK_VERBS = ("network-create", "network-rm")
_OTHERS = ("run", "create", "commit", "wait", "exec", "pull", "push", "connect", "disconnect", "unlink",
           *_NETWORK_VERBS)


def _documents(records: Sequence[Recorded]) -> list[Any]:
    return [json.loads(live(record)) for record in records]


def _understood(model: type[_Payload], data: bytes) -> _Payload:
    """Raises: ValidationError; InvalidValue for a field that nobody knows."""
    try:
        stranger = next(strangers(model, from_json(data or b"{}")), None)
    except ValueError:
        stranger = None  # it is no JSON, which the model says in its own words
    if stranger is not None:
        raise InvalidValue(f"unknown field: {ascii(stranger)[1:-1]}")
    return model.model_validate_json(data or b"{}")


async def _caught(answer: Callable[[str, str, bytes], Awaitable[Answer]], who: str, verb: str, data: bytes) -> Answer:
    try:
        return await answer(who, verb, data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return _refusal(InvalidValue(f"{place or 'payload'}: {first['msg']}"))
    except LadingError as error:
        return _refusal(error)
    except Exception:
        log.exception("%s of %s", verb, who)
        return _refusal(Unavailable("the engine has failed inside; its log says more"))


def _refusal(error: LadingError) -> Answer:
    return {"ok": False, "error": type(error).__name__, "message": error.message, "hint": error.hint}
