"""kill: send a signal to the first process of one or more containers."""

from domain.errors import InvalidValue
from domain.lifecycle.kill import KILL, Kill
from domain.options import one
from domain.signals import number
from workers.console.errors import Plain, fulfil
from workers.console.verb import Example, Invocation, Verb


async def _kill(invocation: Invocation) -> int:
    text = invocation.options.one("signal")
    try:
        wish = Kill(signal=KILL if text is None else number(text))
    except InvalidValue as error:
        # The engine's refusal, not a flag that cannot be read: scripts expect status 1.
        raise Plain(f"Error response from daemon: {error.message}", hint=error.hint) from error

    return await fulfil(invocation, wish)


VERB = Verb(
    name="kill",
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    summary="Send a signal to one or more running containers",
    run=_kill,
    least=1,
    also=("container kill",),
    options=(one("signal", "s", "Name or number of the signal", value="signal", default="KILL"),),
    examples=(
        Example("lading kill web", "end it at once; its restart policy does not bring it back"),
        Example("lading kill -s HUP web", "let it read its configuration again"),
    ),
)
