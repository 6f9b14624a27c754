"""volume rm: delete volumes with what is in them."""

from domain.errors import NotFound
from domain.options import flag
from workers.console.errors import each
from workers.console.verb import Example, Invocation, Verb
from workers.mover import Caller


async def _rm(invocation: Invocation) -> int:
    volumes, options = invocation.engine.volumes, invocation.options

    async def act(name: str, who: Caller) -> None:
        try:
            if options.flag("dry-run"):
                await volumes.check_removal(name)
            else:
                await volumes.remove(name, who)
        except NotFound:
            if not options.flag("force"):
                raise
        await invocation.echo(name)

    return await each(invocation, act)


VERB = Verb(
    name="volume rm",
    usage="[OPTIONS] VOLUME [VOLUME...]",
    summary="Remove one or more volumes with their contents",
    run=_rm,
    least=1,
    also=("volume remove",),
    options=(
        flag("dry-run", "", "Only say which ones would go, and which would not"),
        flag("force", "f", "A missing volume is no failure"),
    ),
    notes="A volume that any container uses, running or not, stays. The history of a removed one:\n"
          "lading audit volume NAME",
    examples=(
        Example("lading volume rm data", "remove one that nobody uses"),
        Example("lading volume rm $(lading volume ls -q -f label=test)", "all with a label"),
    ),
)
