"""start: run one or more containers that are not running."""

import asyncio

from domain.container import Container
from domain.errors import LadingError
from domain.lifecycle.attach import Attach
from domain.lifecycle.start import Start
from domain.options import flag, refused
from domain.text.safe import safe
from workers.console.errors import Plain, lines
from workers.console.streams import (
    DETACH_KEYS,
    Left,
    Signals,
    Wiring,
    attached,
    detach_keys,
    ended_with,
    forwarder,
    patience,
    require_terminal,
    size,
)
from workers.console.verb import Example, Invocation, Verb


async def _start(invocation: Invocation) -> int:
    if invocation.options.flag("attach") or invocation.options.flag("interactive"):
        return await _attached(invocation)
    engine = invocation.engine
    failed: list[str] = []
    for place, name in enumerate(invocation.arguments):
        try:
            await engine.execute(await engine.resolve(name), Start(), invocation.asked(place))
            await invocation.echo(name)
        except LadingError as error:
            await invocation.warn(lines(error))
            failed.append(name)
    if failed:
        await invocation.warn(f"Error: failed to start containers: {', '.join(safe(name) for name in failed)}")
    return 1 if failed else 0


async def _attached(invocation: Invocation) -> int:
    if len(invocation.arguments) > 1:
        raise Plain("you cannot start and attach multiple containers at once")
    engine, call = invocation.engine, invocation.call
    before = await engine.container(await engine.resolve(invocation.arguments[0]))
    id, tty, early, late = before.id, before.settled.tty, Signals(), asyncio.Event()
    wiring = _wiring(invocation, before)
    if not tty:
        await call.forward_signals(early.take)
    attach = Attach(streams=wiring.names, tty=tty)
    after = await engine.execute(id, Start(size=size(call.terminal, tty=tty)), invocation.who, attach=attach)
    if not tty:
        await early.send(forwarder(engine, id, invocation.who, proxy=True))
    fresh = after.attempt > before.attempt
    frames = engine.output(id, from_start=fresh, hold=patience(call.terminal), begun=late.set)
    if await attached(call, engine, id, wiring, frames, late=None if fresh else late) is not Left.ENDED:
        return 0
    return await ended_with(invocation, id, after.attempt)


def _wiring(invocation: Invocation, container: Container) -> Wiring:
    spec = container.settled
    keys = detach_keys(invocation.options.text("detach-keys"))
    stdin = invocation.options.flag("interactive") and spec.stdin
    require_terminal(invocation.call, stdin=stdin, tty=spec.tty, instead="leave out -i only to watch")
    return Wiring(stdin=stdin, tty=spec.tty, once=spec.stdin_once, keys=keys)


VERB = Verb(
    name="start",
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    summary="Start one or more stopped containers",
    run=_start,
    least=1,
    also=("container start",),
    options=(
        flag("attach", "a", "Show its output, pass signals on, and end with its status"),
        DETACH_KEYS,
        flag("interactive", "i", "Connect your input too, if it was created with -i"),
        *refused("--checkpoint= --checkpoint-dir="),
    ),
    examples=(
        Example("lading start web db", "start both; those that run already are left alone"),
        Example("lading start -a job", "run it and see its output"),
        Example("lading start -ai box", "back to a shell that was created with -it"),
    ),
)
