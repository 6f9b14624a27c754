"""restart: stop one or more containers and start them again; what does not run is just started."""

from domain.lifecycle.stop import Restart
from workers.console.commands.stop import OPTIONS, end
from workers.console.verb import Example, Invocation, Verb


async def _restart(invocation: Invocation) -> int:
    return await end(invocation, Restart)


VERB = Verb(
    name="restart",
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    summary="Restart one or more containers",
    run=_restart,
    least=1,
    also=("container restart",),
    options=OPTIONS,
    examples=(
        Example("lading restart web", "same id, same logs, a new run"),
        Example("lading restart -t 0 web", "do not wait for it to end by itself"),
    ),
)
