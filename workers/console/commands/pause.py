"""pause: freeze all processes of one or more containers."""

from domain.lifecycle.pause import Pause
from workers.console.errors import each
from workers.console.verb import Example, Invocation, Verb
from workers.mover import Caller


async def _pause(invocation: Invocation) -> int:
    async def act(name: str, who: Caller) -> None:
        await invocation.engine.execute(await invocation.engine.resolve(name), Pause(), who)
        await invocation.echo(name)

    return await each(invocation, act)


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
