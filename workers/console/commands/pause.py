"""pause: freeze all processes of one or more containers."""

from domain.lifecycle.pause import Pause
from workers.console.errors import fulfil
from workers.console.verb import Example, Invocation, Verb


async def _pause(invocation: Invocation) -> int:
    return await fulfil(invocation, Pause())


VERB = Verb(
    name="pause",
    usage="CONTAINER [CONTAINER...]",
    summary="Freeze all processes of one or more containers",
    run=_pause,
    least=1,
    also=("container pause",),
    examples=(
        Example("lading pause web", "stop the clock for web; memory and files stay"),
        Example("lading pause $(lading ps -q)", "everything that runs"),
    ),
)
