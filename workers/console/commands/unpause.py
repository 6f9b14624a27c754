"""unpause: let the processes of one or more containers go on."""

from domain.lifecycle.unpause import Unpause
from workers.console.errors import fulfil
from workers.console.verb import Example, Invocation, Verb


async def _unpause(invocation: Invocation) -> int:
    return await fulfil(invocation, Unpause())


VERB = Verb(
    name="unpause",
    usage="CONTAINER [CONTAINER...]",
    summary="Let the processes of one or more containers go on",
    run=_unpause,
    least=1,
    also=("container unpause",),
    examples=(
        Example("lading unpause web", "web goes on where it was"),
        Example("lading unpause $(lading ps -q)", "everything that runs"),
    ),
)
