"""Containers' output: logs, attach, statistics."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from adapters.system import facts
from domain.container import Container, State
from domain.documents import Document
from domain.errors import InvalidValue, Refused
from domain.lifecycle.attach import Attach
from domain.ports.files import Usage
from domain.ports.logs import LogFrame
from domain.text.keys import parse
from domain.text.times import parse_rfc3339
from domain.text.units import SECOND
from workers.console.commands.logs import Prefixes
from workers.console.streams import STDERR, STDOUT, Wiring, attached, pump
from workers.gateway.call import MULTIPLEXED, RAW, Answer, Call, Duplex, Hijack, Reply, Stream
from workers.gateway.figures import figures, traffic
from workers.gateway.routes import Route
from workers.gateway.streams import Participant, Told, frame, lines_of
from workers.gateway.websocket import WebSocket, accepted
from workers.streams import PATIENT, STALLED

_SECONDS = re.compile(r"(\d{1,12})(?:\.(\d{1,9}))?")


def _streams(call: Call) -> frozenset[int]:
    wanted = {STDOUT: call.flag("stdout"), STDERR: call.flag("stderr")}
    return frozenset(stream for stream, flag in wanted.items() if flag)


def _kind(call: Call, *, tty: bool) -> str:
    return MULTIPLEXED if not tty and call.version >= (1, 42) else RAW


async def _found(call: Call) -> Container:
    id = await call.engine.resolve(call.path["name"])
    call.reading.about("container", id)
    return await call.engine.container(id)


# Logs ----------------------------------------------------------------------------------------------------------------


async def _logs(call: Call) -> Answer:
    container = await _found(call)
    streams = _streams(call)
    if not streams:
        raise InvalidValue("Bad parameters: you must choose at least one stream")
    if container.settled.log.driver == "none":
        raise Refused("configured logging driver does not support reading")
    engine, since, until, tail = call.engine, _moment(call, "since"), _moment(call, "until"), _tail(call)
    if call.flag("follow"):
        frames = engine.follow(container.id, since=since, until=until, tail=tail, restarts=True, hold=STALLED)
    else:
        frames = engine.stored(container.id, since=since, until=until, tail=tail)
    prefixes = Prefixes(times=call.flag("timestamps"), details=call.flag("details"))
    tty = container.settled.tty
    return Stream(_lines(frames, streams, prefixes, raw=tty), kind=_kind(call, tty=tty))


async def _lines(
    frames: AsyncIterator[LogFrame], streams: frozenset[int], prefixes: Prefixes, *, raw: bool
) -> AsyncIterator[bytes]:
    async for each in frames:
        if each.stream in streams and each.data:
            data = prefixes.prefixed(each)
            yield data if raw else b"".join(frame(each.stream, line) for line in lines_of(data))


def _moment(call: Call, name: str) -> int | None:
    """Seconds since the epoch with a fraction, or a time as RFC 3339 has it, in ns; None for 0 and for nothing."""
    text = call.text(name)
    if text in ("", "0"):
        return None
    if (match := _SECONDS.fullmatch(text)) is not None:
        return int(match[1]) * SECOND + int((match[2] or "0").ljust(9, "0"))
    if (time := parse_rfc3339(text)) <= 0:
        raise InvalidValue(f'invalid value for "{name}": {text[:100]}')
    return time


def _tail(call: Call) -> int | None:
    text = call.text("tail", "all")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


# Attach --------------------------------------------------------------------------------------------------------------


async def _attach(call: Call) -> Answer:
    work, tty = await _attaching(call)
    return Hijack(work, _kind(call, tty=tty))


async def _attach_by_websocket(call: Call) -> Answer:
    key = call.headers.get("sec-websocket-key", "")
    if not key or call.headers.get("upgrade", "").lower() != "websocket":
        raise InvalidValue("this is for WebSockets: the request has no Sec-WebSocket-Key")
    work, _ = await _attaching(call, raw=True)

    async def speak(duplex: Duplex) -> None:
        socket = WebSocket(duplex)
        await work(socket)
        await socket.close()

    return Hijack(speak, kind="", upgrade="websocket", headers=(("Sec-WebSocket-Accept", accepted(key)),))


async def _attaching(call: Call, *, raw: bool = False) -> tuple[Callable[[Duplex], Awaitable[None]], bool]:
    """What is to be done on the hijacked connection, and whether the process has a terminal. Raises: Refused."""
    container = await _found(call)
    spec = container.settled
    stdin = call.flag("stdin") and spec.stdin
    keys = parse(call.text("detachKeys"))
    wiring = Wiring(_streams(call), stdin=stdin, tty=spec.tty, once=spec.stdin_once, keys=keys)
    if call.flag("stream"):
        command = Attach(streams=wiring.names, tty=spec.tty, starting=not container.pid)
        # One that was being started when it was asked for runs now: nobody starts it another time.
        container = await call.engine.execute(container.id, command, call.who)
    return partial(_take_part, call, container, wiring, raw or spec.tty), spec.tty


async def _take_part(call: Call, container: Container, wiring: Wiring, raw: bool, duplex: Duplex) -> None:
    """The connection is answered once nothing can be missed: clients start the container then, if it does not run."""
    participant, engine, id = Participant(duplex, raw=raw), call.engine, container.id
    if not call.flag("stream"):
        await duplex.begin()
        if call.flag("logs"):
            await pump(participant, engine.stored(id), wiring.streams)
        return
    ready = asyncio.Event()
    hold = STALLED if container.settled.tty else PATIENT
    if container.pid:
        frames = engine.output(id, from_start=False, hold=hold, begun=ready.set)
    else:
        frames = engine.upcoming(id, run=container.attempt + 1, hold=hold, begun=ready.set)
    async with _primed(frames, ready) as primed:
        await duplex.begin()
        told = Told()
        if call.flag("logs"):
            await pump(participant, told.noted(engine.stored(id)), wiring.streams)
        if not container.pid:
            await engine.until_run(id, container.attempt + 1)
        await attached(participant, engine, id, wiring, told.beyond(primed))


@asynccontextmanager
async def _primed(frames: AsyncIterator[LogFrame], ready: asyncio.Event) -> AsyncIterator[AsyncIterator[LogFrame]]:
    """The same frames, of which the first was asked for already."""
    first = asyncio.ensure_future(_next(frames))
    waiting = asyncio.ensure_future(ready.wait())

    async def all_of_them() -> AsyncIterator[LogFrame]:
        frame = await first
        if frame is not None:
            yield frame
            async for frame in frames:
                yield frame

    try:
        await asyncio.wait({first, waiting}, return_when=asyncio.FIRST_COMPLETED)
        yield all_of_them()
    finally:
        for task in (first, waiting):
            task.cancel()
        await asyncio.gather(first, waiting, return_exceptions=True)


async def _next(frames: AsyncIterator[LogFrame]) -> LogFrame | None:
    return await anext(frames, None)


# Statistics ----------------------------------------------------------------------------------------------------------


async def _stats(call: Call) -> Answer:
    container = await _found(call)
    if call.flag("stream", default=True):
        return Stream(_looks(call, container.id))
    usage = (await call.engine.files.sampler.meter.usage([container.id])).get(container.id)
    look = await _look(call, container.id, usage, None)
    if usage is None or call.flag("one-shot"):
        return Reply(document=look)
    async for sample in call.engine.files.sampler.samples():
        found = sample.get(container.id)
        return Reply(document=await _look(call, container.id, found.usage if found else None, look))
    return Reply(document=look)


async def _looks(call: Call, id: str) -> AsyncIterator[bytes]:
    """One each second, until the container is removed."""
    before: Document | None = None
    async for sample in call.engine.files.sampler.samples():
        if (await call.engine.container(id)).state is State.REMOVED:
            return
        found = sample.get(id)
        look = await _look(call, id, found.usage if found else None, before)
        yield Reply(document=look).content
        before = look if found else None


async def _look(call: Call, id: str, usage: Usage | None, before: Document | None) -> Document:
    container = await call.engine.container(id)
    alone = container.pid and not container.settled.net.container and container.settled.network != "host"
    carried = await asyncio.to_thread(facts.carried, container.pid) if alone else ""
    return figures(
        id, container.name, usage, facts.processor_time(), before, now=time.time_ns(),
        memory=call.engine.files.sampler.meter.memory(), processors=facts.cpus(), networks=traffic(carried))


ROUTES = (
    Route("GET", "/containers/{name}/logs", _logs, reads="logs"),
    Route("GET", "/containers/{name}/stats", _stats, reads="stats"),
    Route("POST", "/containers/{name}/attach", _attach),
    Route("GET", "/containers/{name}/attach/ws", _attach_by_websocket),
)
