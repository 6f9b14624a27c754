"""Answers that tell how far it is: one JSON document a line, the last of which may be what went wrong."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from domain.documents import Document
from domain.errors import LadingError, StepFailed
from workers.gateway.call import Stream
from workers.gateway.errors import message_of

Say = Callable[[Mapping[str, object]], Awaitable[None]]
"""Tells the client one thing more; waits while it is slow."""
_WAITING = 64


async def told(work: Callable[[Say], Awaitable[None]], *, mildly: bool = False) -> Stream:
    """The answer that consists of what `work` says. Raises: what `work` does before it has said anything, unless it is
    to be told `mildly`, in an answer that has begun; what is raised later always is."""
    lines = _lines(work, mildly=mildly)
    first = await anext(lines, b"")
    return Stream(_whole(first, lines))


def line(document: Mapping[str, object]) -> bytes:
    """As it travels."""
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace") + b"\r\n"


def failure(error: LadingError) -> Document:
    """What has gone wrong after something was told; of a command that has failed also its status."""
    message = message_of(error)
    code = {"code": error.exit_code} if isinstance(error, StepFailed) else {}
    return {"errorDetail": {**code, "message": message}, "error": message}


async def _whole(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        if first:
            yield first
        async for piece in rest:
            yield piece


async def _lines(work: Callable[[Say], Awaitable[None]], *, mildly: bool) -> AsyncGenerator[bytes, None]:
    waiting: asyncio.Queue[bytes] = asyncio.Queue(_WAITING)

    async def say(document: Mapping[str, object]) -> None:
        await waiting.put(line(document))

    task = asyncio.ensure_future(work(say))
    try:
        async for piece in _until_done(task, waiting):
            mildly = True
            yield piece
        try:
            task.result()
        except LadingError as error:
            if not mildly:
                raise
            yield line(failure(error))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _until_done(task: "asyncio.Future[None]", waiting: "asyncio.Queue[bytes]") -> AsyncIterator[bytes]:
    while not (task.done() and waiting.empty()):
        next_one = asyncio.ensure_future(waiting.get())
        either: set[asyncio.Future[Any]] = {task, next_one}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if next_one.done():
                yield next_one.result()
        finally:
            next_one.cancel()
