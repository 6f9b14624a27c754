"""network prune: take away the networks that no container is to be on."""

from collections.abc import Sequence

from domain.errors import InvalidValue
from domain.options import Parsed, filter_pair, flag, many
from domain.text.safe import safe
from workers.console import pruning
from workers.console.commands.network import words
from workers.console.moments import moment, time_of
from workers.console.verb import Example, Invocation, Verb
from workers.networks import Known

_WARNING = "This will remove all custom networks not used by at least one container."


async def _prune(invocation: Invocation) -> int:
    options, networks = invocation.options, invocation.engine.networks
    chosen = await _chosen(invocation)
    if options.flag("dry-run"):
        return await _tell(invocation, "Networks that would be deleted:", [known.name for known in chosen])
    if not await pruning.agreed(invocation, _WARNING):
        return 0
    return await _tell(
        invocation, "Deleted Networks:", await networks.prune([known.id for known in chosen], invocation.who)
    )


async def _tell(invocation: Invocation, title: str, names: Sequence[str]) -> int:
    if names:
        await invocation.out("".join(f"{line}\n" for line in (title, *map(safe, names))))
    return 0


async def _chosen(invocation: Invocation) -> list[Known]:
    networks = invocation.engine.networks
    until, labels, without = await _filters(invocation, invocation.options)
    test = words.filters(labels)
    return [
        known
        for known in await networks.all()
        if not known.network.built_in
        and not await networks.wanted(known)
        and (until is None or known.created_at <= until)
        and test(known, False)
        and not (without and words.filters(without)(known, False))
    ]


async def _filters(invocation: Invocation, options: Parsed) -> tuple[int | None, list[str], list[str]]:
    """The moment of `until` (ns), the labels that are wanted, and those that are not."""
    until: int | None = None
    labels: list[str] = []
    without: list[str] = []
    for value in options.many("filter"):
        key, wanted = filter_pair(value)
        match key:
            case "until":
                until = await time_of(invocation.engine, moment("until", wanted, invocation.now()))
            case "label":
                labels.append(f"label={wanted}")
            case "label!":
                without.append(f"label={wanted}")
            case _:
                raise InvalidValue(f"invalid filter '{key}'", hint="known: until, label, label!")
    return until, labels, without


VERB = Verb(
    name="network prune",
    usage="[OPTIONS]",
    summary="Remove all networks that no container is to be on",
    run=_prune,
    most=0,
    options=(
        flag("dry-run", "", "Only say which ones would go"),
        many("filter", "", "Only: until=24h, label=KEY[=VALUE], label!=KEY[=VALUE]", value="filter"),
        pruning.FORCE,
    ),
    notes="A network that a stopped container is to be on again stays.",
    examples=(
        Example("lading network prune --dry-run", "see what would go"),
        Example("lading network prune -f --filter until=24h", "those that are older than a day"),
    ),
)
