"""builder prune: empty the cache of builds."""

from domain.errors import InvalidValue
from domain.options import OptionError, filter_pair, flag, many, refused
from workers.console import pruning
from workers.console.errors import Plain
from workers.console.moments import moment
from workers.console.verb import Example, Invocation, Verb


async def _prune(invocation: Invocation) -> int:
    options = invocation.options
    until, dry = _until(invocation), options.flag("dry-run")
    if not options.flag("force") and not dry:
        raise Plain("this takes away steps of builds that the next build would not have to repeat",
                    hint="say -f (--force) to do it")
    section = await pruning.build_cache(
        invocation.engine, invocation.who, everything=options.flag("all"), until=until, dry=dry
    )
    await pruning.tell(invocation, [section], dry=dry)
    return 0


def _until(invocation: Invocation) -> int | None:
    until: int | None = None
    for text in invocation.options.many("filter"):
        try:
            key, value = filter_pair(text)
        except InvalidValue as error:
            raise OptionError(error.message, hint=error.hint) from error
        if key != "until":
            raise OptionError(f"invalid filter '{key}'", hint="known: until")
        until = moment("filter until", value, invocation.now()).time or 0
    return until


VERB = Verb(
    name="prune",
    usage="[OPTIONS]",
    summary="Empty the cache of builds",
    run=_prune,
    most=0,
    also=("builder prune",),
    options=(
        flag("all", "a", "Also what images that have a name are made of"),
        pruning.DRY_RUN,
        many("filter", "", "Only what was not used since: until=24h", value="filter"),
        flag("force", "f", "Do it without being asked"),
        *refused("--keep-storage="),
    ),
    notes="Images and containers stay as they are; the next build repeats the steps that were taken away.",
    examples=(
        Example("lading builder prune -f", "steps that no image is made of"),
        Example("lading builder prune -af --filter until=24h", "everything that was not used for a day"),
    ),
)
