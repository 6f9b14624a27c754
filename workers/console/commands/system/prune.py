"""system prune: delete everything that nothing needs."""

import asyncio

from domain.errors import InvalidValue
from domain.options import filter_pair, flag
from workers.console import pruning
from workers.console.pruning import Section
from workers.console.verb import Example, Invocation, Verb


async def _prune(invocation: Invocation) -> int:
    options = invocation.options
    everything, volumes, dry = (options.flag(name) for name in ("all", "volumes", "dry-run"))
    values = options.many("filter")
    if volumes and any(value.strip().startswith("until") for value in values):
        raise InvalidValue('the "until" filter is not supported with "--volumes"')
    test = pruning.chosen(values, invocation.now())
    if not dry and not await pruning.agreed(invocation, _warning(everything=everything, volumes=volumes)):
        return 0
    # In this order: what a container held may go once it is gone, and what an image is made of once that is.
    engine, who = invocation.engine, invocation.who
    containers = await pruning.containers(engine, who, test, dry=dry)
    gone = frozenset(containers.lines)
    sections = [containers, await pruning.networks(engine, who, test, dry=dry, gone=gone)]
    sections += [await _volumes(invocation, test, gone, dry=dry)] if volumes else []
    images = await pruning.images(engine, who, test, everything=everything, dry=dry, gone=gone)
    sections.append(images)
    if not any(filter_pair(value)[0].startswith("label") for value in values):  # steps of builds have none
        ids = frozenset(line.removeprefix("deleted: ") for line in images.lines)
        until = pruning.edge(values, invocation.now())
        cached = await pruning.build_cache(engine, who, everything=everything, until=until, dry=dry, gone=ids)
        sections.append(cached)
    await pruning.tell(invocation, sections, dry=dry)
    return 0


def _warning(*, everything: bool, volumes: bool) -> str:
    images = "images without at least one container associated to them" if everything else "dangling images"
    cache = "all steps of builds in the cache" if everything else "steps of builds that no image is made of"
    lines = ["all stopped containers", "all networks not used by at least one container"]
    if volumes:
        lines.append("all anonymous volumes not used by at least one container")
    return "This will remove:\n" + "".join(f"  - {line}\n" for line in (*lines, f"all {images}", cache))


async def _volumes(invocation: Invocation, test: pruning.Test, gone: frozenset[str], *, dry: bool) -> Section:
    desk = invocation.engine.volumes
    known = [volume for volume in await desk.all() if volume.anonymous and gone.issuperset(volume.users)]
    names = [volume.name for volume in known if test(volume.created, volume.labels)]
    sizes = dict(zip(names, await asyncio.gather(*map(desk.size, names)), strict=True))
    deleted = names if dry else await desk.prune(names, invocation.who)
    return Section("Volumes", tuple(deleted), sum(sizes[name] for name in deleted))


VERB = Verb(
    name="system prune",
    usage="[OPTIONS]",
    summary="Remove stopped containers, and networks, images and cached steps that nothing needs",
    run=_prune,
    most=0,
    options=(
        flag("all", "a", "Also images with a name that no container uses"),
        pruning.DRY_RUN,
        pruning.FILTER,
        pruning.FORCE,
        flag("volumes", "", "Also anonymous volumes that no container uses"),
    ),
    notes="""\
What a stopped container alone holds goes with it. Volumes that somebody has named stay. Steps of builds have no labels:
with a filter for one, their cache stays as it is.""",
    examples=(
        Example("lading system prune --dry-run", "see what would go, and how much that is"),
        Example("lading system prune -af --volumes", "everything that nothing needs, without a question"),
    ),
)
