"""unpause: let the processes of one or more containers go on."""

from domain.lifecycle.unpause import Unpause
from workers.console.errors import each
from workers.console.verb import Example, Invocation, Verb
from workers.mover import Caller


async def _unpause(invocation: Invocation) -> int:
    async def act(name: str, who: Caller) -> None:
        await invocation.engine.execute(await invocation.engine.resolve(name), Unpause(), who)
        await invocation.echo(name)

    return await each(invocation, act)


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
