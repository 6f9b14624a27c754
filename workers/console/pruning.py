"""What all prunes have in common: the question before, the filters, and how the space is told.

A dry run lists what would go, computed by the same code that decides what goes.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from domain.container import RESTING
from domain.errors import InvalidValue, LadingError
from domain.images.model import Image, Registered
from domain.lifecycle.remove import Remove
from domain.options import filter_pair, flag, many
from domain.text.safe import safe
from domain.text.units import human_size
from workers.console.containers import Listed
from workers.console.engine import Engine
from workers.console.moments import moment
from workers.console.verb import Invocation
from workers.mover import Caller

DRY_RUN = flag("dry-run", "", "Only say what would go, and how large it is")
FORCE = flag("force", "f", "Do not ask")
FILTER = many("filter", "", "Only: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]", value="filter")

Test = Callable[[int, Mapping[str, str]], bool]
"""Whether something goes, by when it was made (ns) and its labels."""


@dataclass(frozen=True, slots=True)
class Section:
    """One kind of things that went, or would: a title, what is said of each, and the bytes."""

    title: str
    lines: tuple[str, ...] = ()
    size: int = 0

    def __bool__(self) -> bool:
        return bool(self.lines)


def chosen(values: Sequence[str], now: int) -> Test:
    """What the filters mean together. Raises InvalidValue."""
    tests = [_test(*filter_pair(value), now) for value in values]
    return lambda created, labels: all(test(created, labels) for test in tests)


def edge(values: Sequence[str], now: int) -> int | None:
    """The moment (ns) that `until` names, the earliest if there are several."""
    pairs = [filter_pair(value) for value in values]
    found = [moment("filter until", text, now).time or 0 for key, text in pairs if key == "until"]
    return min(found, default=None)


def _test(key: str, text: str, now: int) -> Test:
    if key == "until":
        edge = moment("filter until", text, now).time or 0
        return lambda created, labels: created < edge
    if key not in ("label", "label!"):
        raise InvalidValue(f"invalid filter '{key}'", hint="known: until, label, label!")
    name, equals, value = text.partition("=")

    def has(labels: Mapping[str, str]) -> bool:
        return name in labels and (not equals or labels[name] == value)

    return lambda created, labels: has(labels) is (key == "label")


async def agreed(invocation: Invocation, what: str) -> bool:
    """Whether the person says yes; nobody asks who has said so before."""
    return invocation.options.flag("force") or await invocation.agreed(what)


async def tell(invocation: Invocation, sections: Sequence[Section], *, dry: bool) -> None:
    """What went, or would."""
    lines: list[str] = []
    for section in filter(None, sections):
        would = f"{section.title[0].upper()}{section.title[1:]} that would be deleted:"
        lines += [would if dry else f"Deleted {section.title}:", *map(safe, section.lines), ""]
    listed = "".join(f"{line}\n" for line in lines)
    last = "Space that would be reclaimed" if dry else "Total reclaimed space"
    await invocation.out(f"{listed}{last}: {human_size(sum(section.size for section in sections), digits=4)}\n")


# Images


async def images(
    engine: Engine, who: Caller, test: Test, *, everything: bool, dry: bool, gone: Collection[str] = ()
) -> Section:
    """Take away images that no container uses, or only count them; containers in `gone` use nothing any more."""
    desk = engine.images

    def goes(image: Image) -> bool:
        return test(image.created, labels_of(image))

    ids = await desk.unused(goes, everything=everything, gone=gone)
    if not dry:
        untagged, deleted, freed = await desk.prune(ids, who)
        lines = (*(f"untagged: {key}" for key in untagged), *(f"deleted: {id}" for id in deleted))
        return Section("Images", lines, freed)
    known = {entry.image.id: entry for entry in await desk.all()}
    lines = tuple(line for id in ids for line in _would_go(known[id]))
    return Section("Images", lines, await desk.would_free(ids))


def _would_go(entry: Registered) -> tuple[str, ...]:
    return (*(f"untagged: {key}" for key in entry.references), f"deleted: {entry.image.id}")


def labels_of(image: Image) -> Mapping[str, str]:
    """The labels that its config gives."""
    config = image.config.get("config")
    labels = config.get("Labels") if isinstance(config, Mapping) else None
    return labels if isinstance(labels, Mapping) else {}


# Builds


async def build_cache(
    engine: Engine,
    who: Caller,
    *,
    everything: bool,
    until: int | None = None,
    dry: bool,
    gone: Collection[str] = (),
) -> Section:
    """Take steps of builds out of their cache, or only count them; images in `gone` (ids) are made of nothing any
    more."""
    builder = engine.builder
    if dry:
        pruned = await builder.would_prune(all=everything, until=until, gone=gone)
    else:
        pruned = await builder.prune(who, all=everything, until=until)
    return Section("build cache objects", tuple(key[:25] for key in pruned.keys), pruned.freed)


# Networks


async def networks(
    engine: Engine, who: Caller, test: Test, *, dry: bool, gone: Collection[str] = ()
) -> Section:
    """Take away networks that no container is to be on, or only count them; containers in `gone` are on nothing any
    more."""
    desk = engine.networks
    chosen = [
        known
        for known in await desk.all()
        if not known.network.built_in
        and not await desk.wanted(known, gone)
        and test(known.created_at, known.network.labels)
    ]
    if dry:
        return Section("Networks", tuple(known.name for known in chosen))
    names = await desk.prune([known.id for known in chosen], who)
    return Section("Networks", tuple(names))


# Containers


async def containers(engine: Engine, who: Caller, test: Test, *, dry: bool) -> Section:
    """Take away containers that do not run, or only count them; one that somebody starts meanwhile stays."""
    gone: list[str] = []
    size = 0
    for place, row in enumerate(await resting(engine)):
        if not test(row.created_at, row.labels):
            continue
        try:
            written = await engine.writable_size(row.id)
            if not dry:
                await engine.execute(row.id, Remove(), Caller(who.actor, _nth(who, place)))
        except LadingError:
            continue
        gone.append(row.id)
        size += written
    return Section("Containers", tuple(gone), size)


async def resting(engine: Engine) -> Sequence[Listed]:
    """Containers that do not run, newest first."""
    return [row for row in await engine.board.rows() if row.state in RESTING]


def _nth(who: Caller, place: int) -> str:
    return f"{who.command_id}/prune/{place}" if who.command_id else ""
