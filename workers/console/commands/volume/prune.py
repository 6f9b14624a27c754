"""volume prune: delete the volumes that no container uses."""

import asyncio

from domain.errors import InvalidValue
from domain.options import filter_pair, flag, many
from domain.text.safe import safe
from domain.text.units import human_size
from workers.console import pruning
from workers.console.commands.volume import words
from workers.console.verb import Example, Invocation, Verb
from workers.volumedesk import Known

_ANONYMOUS = "This will remove anonymous local volumes not used by at least one container."
_ALL = "This will remove all local volumes not used by at least one container."


async def _prune(invocation: Invocation) -> int:
    options, volumes = invocation.options, invocation.engine.volumes
    everyone, test = options.flag("all"), _labels(invocation)
    chosen = [known for known in await volumes.all() if _goes(known, everyone, test)]
    sizes = dict(zip((known.name for known in chosen),
                     await asyncio.gather(*(volumes.size(known.name) for known in chosen)), strict=True))
    if options.flag("dry-run"):
        return await _tell(invocation, "Volumes that would be deleted:", list(sizes), "Space that would be reclaimed",
                           sum(sizes.values()))
    if not await pruning.agreed(invocation, _ALL if everyone else _ANONYMOUS):
        return 0
    gone = await volumes.prune(list(sizes), invocation.who)
    return await _tell(invocation, "Deleted Volumes:", list(gone), "Total reclaimed space",
                       sum(sizes[name] for name in gone))


def _goes(known: Known, everyone: bool, test: words.Test) -> bool:
    return not known.users and (known.anonymous or everyone) and test(known)


def _labels(invocation: Invocation) -> words.Test:
    wanted: list[words.Test] = []
    unwanted: list[words.Test] = []
    for value in invocation.options.many("filter"):
        key, text = filter_pair(value)
        if key not in ("label", "label!"):
            raise InvalidValue(f"invalid filter '{key}'", hint="known: label, label!")
        (wanted if key == "label" else unwanted).append(words.filters([f"label={text}"]))
    return lambda known: all(test(known) for test in wanted) and not any(test(known) for test in unwanted)


async def _tell(invocation: Invocation, title: str, names: list[str], last: str, size: int) -> int:
    listed = "".join(f"{line}\n" for line in (title, *map(safe, names), "")) if names else ""
    await invocation.out(f"{listed}{last}: {human_size(size)}\n")
    return 0


VERB = Verb(
    name="volume prune",
    usage="[OPTIONS]",
    summary="Remove the anonymous volumes that no container uses",
    run=_prune,
    most=0,
    options=(
        flag("all", "a", "Also those that somebody has named"),
        flag("dry-run", "", "Only say which ones would go, and how large they are"),
        many("filter", "", "Only: label=KEY[=VALUE], label!=KEY[=VALUE]", value="filter"),
        pruning.FORCE,
    ),
    notes="A volume of a stopped container is in use and stays.",
    examples=(
        Example("lading volume prune --dry-run", "see what would go"),
        Example("lading volume prune -a -f --filter label!=keep", "all unused ones without that label"),
    ),
)
