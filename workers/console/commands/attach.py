"""attach: take part in a container that runs; what it has written before is not repeated."""

import asyncio

from domain.container import Container
from domain.lifecycle.attach import Attach
from domain.options import flag
from domain.text.keys import DEFAULT
from domain.text.safe import safe
from workers.console.streams import (
    DETACH_KEYS,
    Left,
    Wiring,
    attached,
    detach_keys,
    ended_with,
    forwarder,
    patience,
    require_terminal,
)
from workers.console.verb import Example, Invocation, Verb


async def _attach(invocation: Invocation) -> int:
    engine, call = invocation.engine, invocation.call
    keys = detach_keys(invocation.options.text("detach-keys"))
    id = await engine.resolve(invocation.arguments[0])
    container = await engine.container(id)
    spec = container.settled
    wiring = Wiring(
        stdin=spec.stdin and not invocation.options.flag("no-stdin"), tty=spec.tty, once=spec.stdin_once, keys=keys
    )
    if container.pid:
        require_terminal(call, stdin=wiring.stdin, tty=wiring.tty, instead="use --no-stdin only to watch")
    late = asyncio.Event()
    frames = engine.output(id, from_start=False, hold=patience(call.terminal), begun=late.set)
    await engine.execute(id, Attach(streams=wiring.names, tty=spec.tty), invocation.who)
    await _explain(invocation, container, wiring)
    if not spec.tty:
        proxy = invocation.options.flag("sig-proxy")
        await call.forward_signals(forwarder(engine, id, invocation.who, proxy=proxy))
    left = await attached(call, engine, id, wiring, frames, late=late)
    if left is Left.DETACHED:
        await invocation.warn("read escape sequence")
        return 1
    return await ended_with(invocation, id, container.attempt) if left is Left.ENDED else 0


async def _explain(invocation: Invocation, container: Container, wiring: Wiring) -> None:
    """To a person at a screen: how to get out again."""
    if wiring.stdin and wiring.tty and invocation.call.terminal.stderr_tty:
        keys = (invocation.options.text("detach-keys") or DEFAULT).replace(",", " ")
        await invocation.warn(f"attached to {safe(container.name)}; {safe(keys)} leaves it running")


VERB = Verb(
    name="attach",
    usage="[OPTIONS] CONTAINER",
    summary="Take part in a running container: see its output, type into it",
    run=_attach,
    least=1,
    most=1,
    also=("container attach",),
    options=(
        DETACH_KEYS,
        flag("no-stdin", "", "Only watch"),
        flag("sig-proxy", "", "Pass signals on to the container (never with a terminal)", default=True),
    ),
    notes=(
        "Only what is written from now on is shown; lading logs has the rest. Several people can attach to one\n"
        "container: they share its terminal. When it ends, the exit status is the container's."
    ),
    examples=(
        Example("lading attach box", "back to a shell that you left with ctrl-p ctrl-q"),
        Example("lading attach --no-stdin web", "watch without the risk of typing something"),
    ),
)
