"""stop: ask one or more containers to end, and make them end when their time is over."""

from domain.errors import InvalidValue
from domain.lifecycle.stop import Restart, Stop
from domain.options import OptionError, Parsed, alias, number, one
from domain.signals import name as name_of
from domain.signals import number as signal_number
from domain.text.safe import safe
from workers.console.engine import Engine
from workers.console.errors import each
from workers.console.patience import speaking
from workers.console.verb import Example, Invocation, Verb
from workers.mover import Caller

_TIMEOUT = number("timeout", "t", "Seconds to wait before KILL (-1: wait for ever)")
OPTIONS = (one("signal", "s", "Signal to send first", value="signal"), _TIMEOUT, alias("time", _TIMEOUT))


def signal_of(options: Parsed) -> int | None:
    """The number of `--signal`. Raises OptionError."""
    text = options.one("signal")
    try:
        return None if text is None else signal_number(text)
    except InvalidValue as error:
        raise OptionError(error.message, hint=error.hint) from error


async def end(invocation: Invocation, command: type[Stop] | type[Restart]) -> int:
    """Stop or restart every argument."""
    options, engine = invocation.options, invocation.engine
    if "time" in options.spelled:
        await invocation.say("Flag --time has been deprecated, use --timeout instead")
    wish = command(signal=signal_of(options), timeout=options.number("timeout"))

    async def act(name: str, who: Caller) -> None:
        id = await engine.resolve(name)
        async with speaking(invocation, await _patience(engine, id, wish), f"stopping {safe(name)}"):
            await engine.execute(id, wish, who)
        await invocation.echo(name)

    return await each(invocation, act)


async def _patience(engine: Engine, id: str, wish: Stop | Restart) -> str:
    """What is waited for, in words."""
    spec = (await engine.container(id)).spec
    seconds = wish.timeout if wish.timeout is not None else spec.stop_timeout if spec else 0
    signal = name_of(wish.signal) if wish.signal is not None else spec.stop_signal if spec else "SIGTERM"
    return f"waiting for {signal}" + (f", KILL after {seconds} s" if seconds >= 0 else "")


async def _stop(invocation: Invocation) -> int:
    return await end(invocation, Stop)


VERB = Verb(
    name="stop",
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    summary="Stop one or more running containers",
    run=_stop,
    least=1,
    also=("container stop",),
    options=OPTIONS,
    examples=(
        Example("lading stop web", "its stop signal, then KILL after its time (10 s if nothing else was said)"),
        Example("lading stop -t 60 -s INT db", "send INT and wait for up to a minute"),
    ),
)
