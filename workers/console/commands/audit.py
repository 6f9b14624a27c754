"""audit: the whole history of one container, network, volume or name of an image, who has only looked at it, and the
check of the log itself."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import inf

from domain.accesses import KIND, accesses_of
from domain.audit import Step, facts, steps
from domain.build.events import StepDone
from domain.errors import Ambiguous, InvalidValue, LadingError, NotFound
from domain.images import reference
from domain.images.events import Tagged, Untagged
from domain.messages import Recorded, StreamId
from domain.names import is_id_prefix
from domain.options import OptionError, flag, one
from domain.text.safe import safe, safe_json
from domain.text.times import local, rfc3339_fixed
from domain.text.units import exact_duration
from domain.volumes.names import volume_name
from workers.console.engine import Engine
from workers.console.errors import Plain
from workers.console.listing import Field, Shape
from workers.console.moments import moment, time_of
from workers.console.past import resolve_past
from workers.console.tenures import tenures
from workers.console.verb import Example, Invocation, Verb

_WIDEST = 48
MOST_BUILDS = 1000
"""The last builds that are asked whether they have used an entry of the cache."""


def _shape(*, full: bool) -> Shape[Step]:
    def cut(text: str) -> str:
        return text if full or len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"

    fields = {
        "Position": Field[Step]("EVENT", lambda s: str(s.record.position)),
        "Time": Field[Step]("TIME", lambda s: local(s.record.time)),
        "Timestamp": Field[Step]("TIMESTAMP", lambda s: rfc3339_fixed(s.record.time)),
        "Event": Field[Step]("WHAT", lambda s: s.event),
        "State": Field[Step]("STATE", lambda s: s.state),
        "Took": Field[Step]("TOOK", lambda s: "" if s.took is None else exact_duration(s.took)),
        "By": Field[Step]("BY", lambda s: s.by),
        "Cause": Field[Step]("CAUSE", lambda s: f"#{s.record.meta.cause}" if s.record.meta.cause else ""),
        "Command": Field[Step]("COMMAND", lambda s: s.record.meta.actor.command),
        "Detail": Field[Step]("DETAIL", lambda s: s.detail),
        "Uid": Field[Step]("UID", lambda s: str(s.record.meta.actor.uid)),
        "Pid": Field[Step]("PID", lambda s: str(s.record.meta.actor.pid)),
        "Via": Field[Step]("VIA", lambda s: s.record.meta.actor.via),
        "Host": Field[Step]("HOST", lambda s: s.record.meta.actor.host),
        "Version": Field[Step]("VERSION", lambda s: s.record.meta.version),
    }
    table = (
        *(fields[name] for name in ("Position", "Time", "Event", "State", "Took", "By", "Cause")),
        Field[Step]("COMMAND", lambda s: cut(s.record.meta.actor.command)),
        Field[Step]("DETAIL", lambda s: cut(s.detail)),
    )
    return Shape(fields, table, spare=("CAUSE", "TOOK", "COMMAND"))


async def _audit(invocation: Invocation) -> int:
    options = invocation.options
    if invocation.arguments[0] == "verify":
        return await _verify(invocation)
    if invocation.arguments[0] == "address" and len(invocation.arguments) == 2:
        return await tenures(invocation, invocation.arguments[1])
    wanted = _wanted(options.text("access"))
    records = await _with_accesses(invocation.engine, await _asked_for(invocation))
    since, until = await _bound(invocation, "since"), await _bound(invocation, "until")
    told = [
        step
        for step in steps(records)
        if (since is None or step.record.time >= since) and (until is None or step.record.time <= until)
        and wanted(step)
    ]
    if options.flag("json"):
        await invocation.out("".join(safe_json(_document(step)) + "\n" for step in told))
    else:
        shape = _shape(full=options.flag("no-trunc"))
        await invocation.out(shape.render(told, options.text("format"), columns=invocation.columns))
    if not told and since is None and until is None:
        await invocation.warn(f"none of its {len(records)} events tells of somebody who has only looked")
    elif not told:
        await invocation.warn(
            f"none of its {len(records)} events lies in this window: the first is of "
            f"{local(records[0].time)}, the last of {local(records[-1].time)}"
        )
    return 0


def _wanted(access: str) -> Callable[[Step], bool]:
    """Whether a step is shown: with who has only looked, without, or only that. Raises: OptionError."""
    match access:
        case "":
            return lambda step: True
        case "only" | "none":
            return lambda step: (step.record.stream.kind == KIND) == (access == "only")
    raise OptionError(f"invalid argument {access!r} for --access", hint="write --access only, or --access none")


async def _with_accesses(engine: Engine, records: Sequence[Recorded]) -> Sequence[Recorded]:
    """With the events of who has only looked, each at its place; of a name that is at the image which had it then."""
    stream = records[0].stream
    await engine.accesses.settled()
    if stream.kind == "ref":
        looked = [access for image_id, since, until in _meanings(records)
                  for access in await engine.store.load(accesses_of(StreamId("image", image_id)))
                  if since < access.position < until]
    else:
        looked = [*await engine.store.load(accesses_of(stream))]
    return sorted([*records, *looked], key=lambda record: record.position) if looked else records


def _meanings(records: Sequence[Recorded]) -> Iterator[tuple[str, int, float]]:
    """What a name meant: an image, from one position on, up to another one."""
    moves = [record for record in records if isinstance(record.event, Tagged | Untagged)]
    for record, after in pairwise([*moves, None]):
        if record is not None and isinstance(record.event, Tagged):
            yield record.event.image_id, record.position, inf if after is None else after.position


async def _asked_for(invocation: Invocation) -> Sequence[Recorded]:
    """The events of what the arguments name: one word a container, an image or a build, or the `host`, `image NAME` an
    image or a name of one, `network NAME` a network, `volume NAME` a volume."""
    first, *rest = invocation.arguments
    if not rest and first == "host":
        return await _of_host(invocation.engine)
    if not rest:
        return await _records(invocation.engine, first)
    readers = {"build": _of_known_build, "cache": _of_cache, "image": _of_known_image, "network": _of_network,
               "volume": _of_volume}
    if first not in readers:
        raise Plain(f'"{safe(first)}" is no kind of object with a history',
                    hint="write: lading audit build ID, cache KEY, image NAME, network NAME, volume NAME, or address "
                         "ADDRESS")
    return await readers[first](invocation.engine, rest[0])


async def _of_host(engine: Engine) -> Sequence[Recorded]:
    if not (records := await engine.store.load(StreamId("host", engine.host))):
        raise NotFound(f"nothing is known of the host {engine.host} yet")
    return records


async def _of_known_build(engine: Engine, name: str) -> Sequence[Recorded]:
    if not (records := await _of_build(engine, name)):
        raise NotFound(f"No such build: {name}")
    return records


async def _of_cache(engine: Engine, name: str) -> Sequence[Recorded]:
    """Who has made what is kept under a key, or the beginning of one, and every build that has found it there: using an
    entry often is told by the builds alone."""
    rows = await engine.views.select("build_cache", prefix=("key", name), limit=2) if is_id_prefix(name) else ()
    if len(rows) > 1:
        raise Ambiguous(f"multiple keys found with provided prefix: {name}")
    key = str(rows[0]["key"]) if rows else name
    records = await engine.store.load(StreamId("cache", key))
    if not records:
        raise NotFound(f"nothing is kept under the key {name}", hint="lading audit BUILD shows the keys of its steps")
    builds = await engine.views.select("builds", order="started", descending=True, limit=MOST_BUILDS)
    for build in builds:
        if int(str(build["finished"])) >= records[0].time or not build["finished"]:
            records = [*records, *(record for record in await engine.store.load(StreamId("build", str(build["id"])))
                                   if isinstance(record.event, StepDone) and record.event.key == key)]
    return sorted(records, key=lambda record: record.position)


async def _of_known_image(engine: Engine, name: str) -> Sequence[Recorded]:
    if not (records := await _of_image(engine, name)):
        raise NotFound(f"No such image, now or then: {name}")
    return records


async def _of_volume(engine: Engine, name: str) -> Sequence[Recorded]:
    records = await engine.store.load(StreamId("volume", volume_name(name)))
    if not records:
        raise NotFound(f"get {name}: no such volume")
    return records


async def _of_network(engine: Engine, name: str) -> Sequence[Recorded]:
    """Of a network, or of the last one that had this name or id."""
    try:
        id = (await engine.networks.find(name)).id
    except NotFound:
        gone = await engine.views.get("past_networks", name)
        past = [gone] if gone else await engine.views.select(
            "past_networks", where={"name": name}, order="created_at", descending=True, limit=1
        )
        if not past:
            raise
        id = str(past[0]["id"])
    return await engine.store.load(StreamId("network", id))


async def _records(engine: Engine, name: str) -> Sequence[Recorded]:
    try:
        return await engine.history(await resolve_past(engine, name))
    except NotFound as error:
        records = () if type(error) is not NotFound else (
            await _of_image(engine, name) or await _of_build(engine, name))
        if not records:
            raise
        return records


async def _of_image(engine: Engine, name: str) -> Sequence[Recorded]:
    """Of a name: what it meant, and who moved it; of an id, also an abbreviated one: what became of the image."""
    try:
        keys = dict.fromkeys((reference.parse(name).key, engine.images.expand(name).key))
    except InvalidValue:
        keys = {}
    for key in keys:
        if records := await engine.store.load(StreamId("ref", key)):
            return records
    try:
        return await engine.store.load(StreamId("image", (await engine.images.find(name)).image.id))
    except LadingError:
        return await engine.store.load(StreamId("image", name))


async def _of_build(engine: Engine, name: str) -> Sequence[Recorded]:
    """By its id or the beginning of it."""
    rows = await engine.views.select("builds", prefix=("id", name), limit=2) if is_id_prefix(name) else ()
    if len(rows) > 1:
        raise Ambiguous(f"multiple IDs found with provided prefix: {name}")
    return await engine.store.load(StreamId("build", str(rows[0]["id"]))) if rows else ()


async def _bound(invocation: Invocation, name: str) -> int | None:
    text = invocation.options.one(name)
    return None if text is None else await time_of(invocation.engine, moment(name, text, invocation.now()))


def _document(step: Step) -> dict[str, object]:
    record, actor = step.record, step.record.meta.actor
    return {
        "position": record.position,
        "stream": str(record.stream),
        "version": record.version,
        "time": rfc3339_fixed(record.time),
        "time_ns": record.time,
        "event": step.event,
        "state": step.state,
        "took_ns": step.took,
        "cause": record.meta.cause,
        "actor": {
            "user": actor.user,
            "uid": actor.uid,
            "gid": actor.gid,
            "pid": actor.pid,
            "via": actor.via,
            "host": actor.host,
            "command": actor.command,
        },
        "command_id": record.meta.command_id,
        "engine": record.meta.version,
        "data": facts(record.event),
    }


async def _verify(invocation: Invocation) -> int:
    report = await invocation.engine.verify()
    for finding in report.findings:
        await invocation.say(safe(str(finding)))
    if report.only_tables:
        whole = f"{report.checked} events were checked: the log is whole"
        await invocation.warn(f"{whole}, what is made from it is not")
        await invocation.warn("make it anew: lading daemon stop; lading daemon start --rebuild")
        return 1
    if report.findings:
        await invocation.warn(f"{report.checked} events were checked: the log was changed or damaged, see above")
        return 1
    await invocation.say(f"{report.checked} events were checked: the chain is whole")
    return 0


VERB = Verb(
    name="audit",
    usage="[OPTIONS] NAME|host|build ID|cache KEY|image NAME|network NAME|volume NAME|address ADDRESS|verify",
    summary="Show the whole history of a container, image, build, network or volume, also of a removed one",
    run=_audit,
    least=1,
    most=2,
    options=(
        one("access", "", "none: leave out who has only looked; only: nothing else", value="none|only"),
        one("format", "", "table, json, or a template like '{{.Time}} {{.Event}} {{.By}}'"),
        flag("json", "", "One JSON object for each event, with all its data"),
        flag("no-trunc", "", "Do not shorten commands and details"),
        one("since", "", "Only from a moment on: 10m, a time, or the number of an event", value="moment"),
        one("until", "", "Only up to a moment", value="moment"),
    ),
    notes="""\
Who only looks (logs, stats, inspect and the like) is an event, too: at once when it is the first time, and then counted
for a quarter of an hour. `lading audit host` tells who has looked at what is about no single object: lists, events,
system df. `lading audit verify` reads the whole log again and names the first event that was changed, if any.""",
    examples=(
        Example("lading audit web", "who did what to web, when, and how long it took"),
        Example("lading audit --access only web", "who has looked at it, or at what it has written, and how often"),
        Example("lading audit image web:1.2", "what that name pointed to, since when, and who pulled and pushed it"),
        Example("lading audit cache 3f9ad1c07b22", "which build has made a step of the cache, and who has used it"),
        Example("lading audit network shop", "the same of a network"),
        Example("lading audit volume data", "the same of a volume: who used it, and when"),
        Example("lading audit address 10.213.0.5", "which containers had this address, from when to when"),
        Example("lading audit verify", "prove that nobody has changed the log"),
    ),
)
