"""rm: remove one or more containers; their history and logs stay."""

from domain.errors import NotFound
from domain.lifecycle.remove import Remove
from domain.options import flag, refused
from workers.console.errors import each, lines
from workers.console.verb import Example, Invocation, Verb
from workers.mover import Caller


async def _rm(invocation: Invocation) -> int:
    engine, force = invocation.engine, invocation.options.flag("force")

    async def act(name: str, who: Caller) -> None:
        try:
            await engine.execute(await engine.resolve(name), Remove(force=force), who)
        except NotFound as error:
            if not force:
                raise
            return await invocation.warn(lines(error))
        await invocation.echo(name)

    return await each(invocation, act)


VERB = Verb(
    name="rm",
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    summary="Remove one or more containers",
    run=_rm,
    least=1,
    group="Common Commands",
    also=("container rm", "container remove"),
    options=(
        flag("force", "f", "Kill it first if it runs; a missing one is no failure"),
        flag("volumes", "v", "Remove its anonymous volumes too"),
        *refused("-l/--link"),
    ),
    notes="A removed container can still be asked for: lading audit NAME, lading why NAME, lading logs NAME.",
    examples=(
        Example("lading rm web", "remove a stopped container"),
        Example("lading rm -f $(lading ps -aq)", "remove all, also those that run"),
    ),
)
