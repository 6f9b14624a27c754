"""start: run one or more containers that are not running."""

from domain.errors import LadingError
from domain.lifecycle.start import Start
from domain.options import flag, refused
from domain.text.safe import safe
from workers.console.errors import Plain, lines
from workers.console.streams import STDERR, STDOUT, Signals, attached, forwarder
from workers.console.verb import Example, Invocation, Verb


async def _start(invocation: Invocation) -> int:
    if invocation.options.flag("attach"):
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
    id = await engine.resolve(invocation.arguments[0])
    before, begun, early = await engine.container(id), invocation.now(), Signals()
    await call.forward_signals(early.take)
    after = await engine.execute(id, Start(), invocation.who)
    await early.send(forwarder(engine, id, invocation.who, proxy=True))
    fresh = after.attempt > before.attempt
    if not await attached(call, engine, id, frozenset({STDOUT, STDERR}), since=begun, replay=fresh):
        return 0
    return await engine.wait_exit(id, after.attempt)


VERB = Verb(
    name="start",
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    summary="Start one or more stopped containers",
    run=_start,
    least=1,
    also=("container start",),
    options=(
        flag("attach", "a", "Show its output, pass signals on, and end with its status"),
        *refused("--detach-keys= -i/--interactive --checkpoint= --checkpoint-dir="),
    ),
    examples=(
        Example("lading start web db", "start both; those that run already are left alone"),
        Example("lading start -a job", "run it and see its output"),
    ),
)
