"""container prune: remove the containers that do not run."""

from workers.console import pruning
from workers.console.verb import Example, Invocation, Verb


async def _prune(invocation: Invocation) -> int:
    options = invocation.options
    dry, test = options.flag("dry-run"), pruning.chosen(options.many("filter"), invocation.now())
    if dry or await pruning.agreed(invocation, "This will remove all stopped containers."):
        gone = await pruning.containers(invocation.engine, invocation.who, test, dry=dry)
        await pruning.tell(invocation, [gone], dry=dry)
    return 0


VERB = Verb(
    name="container prune",
    usage="[OPTIONS]",
    summary="Remove all containers that do not run",
    run=_prune,
    most=0,
    options=(pruning.DRY_RUN, pruning.FILTER, pruning.FORCE),
    notes="Their history and logs stay: lading audit NAME, lading why NAME, lading logs NAME.",
    examples=(
        Example("lading container prune --dry-run", "see which ones would go"),
        Example("lading container prune -f --filter label!=keep", "all that are not labelled"),
    ),
)
