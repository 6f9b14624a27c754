"""network rm: take networks away."""

from domain.errors import NotFound
from domain.options import flag
from workers.console.errors import each, lines
from workers.console.verb import Example, Invocation, Verb
from workers.mover import Caller


async def _rm(invocation: Invocation) -> int:
    async def act(name: str, who: Caller) -> None:
        try:
            if invocation.options.flag("dry-run"):
                await invocation.engine.networks.check_removal(name)
            else:
                await invocation.engine.networks.remove(name, who)
        except NotFound as error:
            if not invocation.options.flag("force"):
                raise
            return await invocation.warn(lines(error))
        await invocation.echo(name)

    return await each(invocation, act)


VERB = Verb(
    name="network rm",
    usage="[OPTIONS] NETWORK [NETWORK...]",
    summary="Remove one or more networks",
    run=_rm,
    least=1,
    also=("network remove",),
    options=(
        flag("dry-run", "", "Only say which ones would go, and which would not"),
        flag("force", "f", "A missing network is no failure"),
    ),
    notes="A network with running containers stays. The history of a removed one: lading audit network NAME",
    examples=(
        Example("lading network rm shop", "remove one that nobody uses"),
        Example("lading network rm -f shop vault", "whether they are there or not"),
    ),
)
