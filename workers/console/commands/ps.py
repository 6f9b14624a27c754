"""ps: the containers of this host, now or at a moment of the past.

The default table's STATUS carries the reason of an exit after the text that scripts match
(`Exited (137) 2 minutes ago: out of memory`). `.Status` in `--format` is that text alone, `.Reason` the reason alone.
"""

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from domain.container import LIVELY
from domain.errors import LadingError
from domain.options import Parsed, flag, many, number, one
from domain.projections.containers import Containers
from domain.projections.fold import Row
from domain.text.safe import quoted, safe
from domain.text.table import shortened
from domain.text.times import created_at, local
from domain.text.units import ago, ago_changes, human_size
from workers.console import containers as words
from workers.console.containers import Listed, listed
from workers.console.engine import Engine
from workers.console.limits import shown as limited
from workers.console.listing import Field, Shape
from workers.console.moments import moment, position_of, time_of
from workers.console.references import Pointers, pointers
from workers.console.sheet import MANY, Writing
from workers.console.verb import Example, Invocation, Verb

_COMMAND = 20
_SPARE = ("PORTS", "COMMAND", "IMAGE")


def _shape(now: int, names: Pointers, *, full: bool, sizes: bool) -> Shape[Listed]:
    def command(c: Listed) -> str:
        text = words.command_line(c.command)
        # The quotes are part of the value, the escapes make it one line: nothing in it steers a terminal any more.
        return quoted(text if full else shortened(text, _COMMAND))

    fields = {
        "ID": Field[Listed]("CONTAINER ID", lambda c: c.id if full else c.id[:12]),
        "Image": Field[Listed]("IMAGE", lambda c: names.shown(c.image, c.image_id)),
        "Command": Field[Listed]("COMMAND", command),
        "CreatedAt": Field[Listed]("CREATED AT", lambda c: created_at(c.created_at)),
        "RunningFor": Field[Listed]("CREATED", lambda c: ago(words.second(c.created_at), now)),
        "Ports": Field[Listed]("PORTS", words.port_column),
        "State": Field[Listed]("STATE", lambda c: c.status_name),
        "Status": Field[Listed]("STATUS", lambda c: words.status(c, now)),
        "Reason": Field[Listed]("REASON", words.reason),
        "Size": Field[Listed]("SIZE", _size),
        "Names": Field[Listed]("NAMES", lambda c: c.name),
        "Labels": Field[Listed]("LABELS", _labels),
        "Limits": Field[Listed]("LIMITS", lambda c: limited(c.limits)),
        "Mounts": Field[Listed]("MOUNTS", lambda c: ",".join(words.sources(c, full=full))),
        "Networks": Field[Listed]("NETWORKS", _networks),
        "LocalVolumes": Field[Listed]("LOCAL VOLUMES", lambda c: str(words.local_volumes(c))),
    }
    raw: tuple[tuple[str, str], ...] = (
        ("container_id", "ID"),
        ("image", "Image"),
        ("command", "Command"),
        ("created_at", "CreatedAt"),
        ("state", "State"),
        ("status", "Status"),
        ("names", "Names"),
        ("labels", "Labels"),
        ("ports", "Ports"),
    )
    marked = Field[Listed]("IMAGE", lambda c: names.marked(c.image, c.image_id))
    told = Field[Listed]("STATUS", lambda c: words.status_with_reason(c, now))
    table = [
        fields["ID"],
        marked,
        fields["Command"],
        fields["RunningFor"],
        told,
        fields["Ports"],
        fields["Names"],
    ]
    if sizes:
        table.append(fields["Size"])
        raw = (*raw, ("size", "Size"))
    return Shape(fields, tuple(table), raw, lambda c, key: c.labels.get(key, ""), _SPARE)


def _writing(shape: Shape[Listed], now: int, names: Pointers) -> Writing:
    """The default table as a sheet keeps it."""
    first = next(place for place, field in enumerate(shape.table) if field.header == "CREATED")
    values = [field.value for place, field in enumerate(shape.table) if place not in (first, first + 1)]

    def cells(container: Listed) -> tuple[str, ...]:
        return tuple([safe(value(container)) for value in values])

    def alike(c: Listed) -> Hashable:
        return words.second(c.created_at), words.since(c), c.status_name, c.exit_code, c.error, c.reason, c.health

    def times(c: Listed) -> tuple[tuple[str, ...], int]:
        created, since = words.second(c.created_at), words.since(c)
        text = safe(ago(created, now)), safe(words.status_with_reason(c, now))
        return text, min(ago_changes(created, now), ago_changes(since, now))

    return Writing(tuple(field.header for field in shape.table), cells, first, alike, times, now, names.ids)


def _labels(container: Listed) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(container.labels.items()))


def _networks(container: Listed) -> str:
    """By name; what shares another's network has none of its own."""
    if container.networks:
        return ",".join(name for name, _ in container.networks)
    return "" if container.network.startswith("container:") else container.network


def _size(container: Listed) -> str:
    if container.size < 0:
        return "0B"
    virtual = f" (virtual {human_size(container.virtual)})" if container.virtual > 0 else ""
    return human_size(container.size) + virtual


async def _ps(invocation: Invocation) -> int:
    options, engine = invocation.options, invocation.engine
    kept, now = await _rows(invocation)
    rows = await _chosen(engine, options, kept)
    if options.flag("quiet"):
        digits = 64 if options.flag("no-trunc") else 12
        await invocation.out("".join([f"{c.id[:digits]}\n" for c in rows]))
        return 0
    form = options.text("format")
    names = Pointers(None) if options.has("at") else await pointers(engine)
    shape = _shape(now, names, full=options.flag("no-trunc"), sizes=options.flag("size"))
    if rows is kept and _plain(options):
        writing = _writing(shape, now, names)
        text = await engine.board.sheet.write(rows, writing, columns=invocation.columns, spare=_SPARE)
        await invocation.call.out(text)
        return 0
    if options.flag("size") or "Size" in form:
        rows = list(await asyncio.gather(*(_sized(engine, c) for c in rows)))
    # A long list is written in a thread: starts and stops of others do not wait for it.
    away = len(rows) > MANY
    write = partial(shape.render, rows, form, columns=invocation.columns)
    await invocation.out(await asyncio.to_thread(write) if away else write())
    return 0


def _plain(options: Parsed) -> bool:
    """Whether it is the default table of the present."""
    asked = any(options.flag(name) for name in ("no-trunc", "size")) or options.has("at")
    return not asked and options.text("format").strip(" ") in ("", "table")


async def _rows(invocation: Invocation) -> tuple[Sequence[Listed], int]:
    """The containers, and the moment for which the list speaks."""
    engine, at, now = invocation.engine, invocation.options.one("at"), invocation.now()
    if at is None:
        return await _present(engine, invocation.options), now
    when = moment("at", at, now)
    position = await position_of(engine, when)
    then = await time_of(engine, when)
    await _as_of(invocation, position, then)
    return [listed(row) for row in await _past(engine, position)], then


async def _as_of(invocation: Invocation, position: int, time: int) -> None:
    if not invocation.options.flag("quiet"):
        await invocation.warn(f"As of event {position}, {local(time)}")


async def _present(engine: Engine, options: Parsed) -> Sequence[Listed]:
    """All of them, or those that live: few of many are found by what is going on."""
    if options.flag("all") or _count(options) or options.has("filter"):
        return await engine.board.rows()
    rows = await engine.views.select("containers", where={"active": 1}, order="created_at", descending=True)
    return [listed(row) for row in rows]


async def _past(engine: Engine, position: int) -> Sequence[Row]:
    """The rows as they were after the event at `position`, newest first: who was there tells the projection of spans,
    how each of them was its own history."""
    rows = [await _then(engine, str(span["id"]), position) for span in await engine.views.at("spans", position)]
    return sorted((row for row in rows if row), key=lambda row: int(str(row["created_at"])), reverse=True)


async def _then(engine: Engine, id: str, position: int) -> Row | None:
    projection, row = Containers(), None
    for record in await engine.history(id):
        if record.position <= position:
            row = projection.fold(row, record, id)
    return row


async def _chosen(engine: Engine, options: Parsed, rows: Sequence[Listed]) -> Sequence[Listed]:
    """What the options leave of the list: the list itself if that is all of it."""
    values, count = options.many("filter"), _count(options)
    if not values and (count or options.flag("all")):
        return rows[:count] if count else rows
    test = words.filters(values, await _edges(engine, words.named_in_filters(values)))
    states = any(value.partition("=")[0].strip().lower() in ("status", "exited") for value in values)
    if not (options.flag("all") or states or count):
        rows = [c for c in rows if c.state in LIVELY]
    rows = [c for c in rows if test(c)]
    return rows[:count] if count else rows


def _count(options: Parsed) -> int:
    """How many of the newest are wanted, in any state; 0: neither `--latest` nor `--last` says so."""
    return 1 if options.flag("latest") else max(options.number("last") or 0, 0)


async def _edges(engine: Engine, names: Sequence[str]) -> Mapping[str, Listed]:
    edges: dict[str, Listed] = {}
    for name in names:
        row = await engine.views.get("containers", await engine.resolve(name))
        if row is not None:
            edges[name] = listed(row)
    return edges


async def _sized(engine: Engine, container: Listed) -> Listed:
    try:
        size = await engine.writable_size(container.id)
    except LadingError:  # removed meanwhile: a list does not fail for that
        size = 0
    try:
        image = (await engine.images.find(container.image_id)).image.size
    except LadingError:
        image = 0
    return replace(container, size=size, virtual=size + image)


VERB = Verb(
    name="ps",
    usage="[OPTIONS]",
    summary="List containers",
    run=_ps,
    most=0,
    group="Common Commands",
    also=("container ls", "container list", "container ps"),
    options=(
        flag("all", "a", "Show all containers, not only those that run"),
        one(
            "at",
            "",
            "Show what the list was at a moment: a time, a duration ago, or the number of an event",
            value="moment",
        ),
        many(
            "filter",
            "f",
            "Only: name=, id=, status=, health=, label=, exited=, ancestor=, before=, since=, network=",
            value="filter",
        ),
        one("format", "", "table, json, raw, or a template like '{{.Names}}: {{.Status}}'"),
        number("last", "n", "Show the n newest containers in any state"),
        flag("latest", "l", "Show the newest container in any state"),
        flag("no-trunc", "", "Do not shorten ids and commands"),
        flag("quiet", "q", "Print ids only"),
        flag("size", "s", "Show how much each container has written"),
    ),
    reads="ps",
    examples=(
        Example("lading ps -a --filter status=exited", "everything that has ended, with the reason"),
        Example("lading ps --format '{{.Names}}: {{.Limits}}'", "what each may use at most"),
        Example("lading ps --at 'yesterday 14:00'", "what ran at that time"),
    ),
)
