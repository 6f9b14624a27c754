"""image prune: delete the images that nothing needs."""

from domain.options import flag
from workers.console import pruning
from workers.console.verb import Example, Invocation, Verb

_DANGLING = "This will remove all dangling images."
_ALL = "This will remove all images without at least one container associated to them."


async def _prune(invocation: Invocation) -> int:
    options = invocation.options
    everything, dry = options.flag("all"), options.flag("dry-run")
    test = pruning.chosen(options.many("filter"), invocation.now())
    if dry or await pruning.agreed(invocation, _ALL if everything else _DANGLING):
        section = await pruning.images(invocation.engine, invocation.who, test, everything=everything, dry=dry)
        await pruning.tell(invocation, [section], dry=dry)
    return 0


VERB = Verb(
    name="image prune",
    usage="[OPTIONS]",
    summary="Remove the images that nothing names and no container uses",
    run=_prune,
    most=0,
    options=(
        flag("all", "a", "Also those with a name that no container uses"),
        pruning.DRY_RUN,
        pruning.FILTER,
        pruning.FORCE,
    ),
    notes="What interrupted pulls have left for the next one goes as well; what a running pull or push uses stays.",
    examples=(
        Example("lading image prune -a --dry-run", "see what would go, and how much that is"),
        Example("lading image prune -af --filter until=240h", "all unused ones that were made ten days ago or earlier"),
    ),
)
