"""Work that goes on to its end although its caller is cancelled, like that of `asyncio.shield`, but it begins at once.

An append that a quick disk lets the loop make on the spot (`adapters.sqlite.writer`) is over before anybody else gets a
turn. `shield` would make a task of it, and its caller would hear of its end three turns of the loop later, while other
things are done first.
"""

import asyncio
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. Until it first waits for something it belongs to the caller's task, from there on to one of
    its own: so it must not begin with what binds itself to a task, as `asyncio.timeout` does."""
    try:
        awaited = work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    return await asyncio.shield(_go_on(work, awaited))


async def _go_on(work: Coroutine[Any, Any, T], awaited: object) -> T:
    return await _rest(work, awaited)


@coroutine
def _rest(work: Coroutine[Any, Any, T], awaited: object) -> Generator[object, Any, T]:
    """What is left of `work`, which waits for `awaited`."""
    try:
        while True:
            try:
                value = yield awaited
            except BaseException as error:
                awaited = work.throw(error)
            else:
                awaited = work.send(value)
    except StopIteration as done:
        result: T = done.value
        return result
