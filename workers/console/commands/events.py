"""events: what happens, as it happens; with --since also what has happened, from the very first event on."""

import asyncio
from collections.abc import Callable

from domain.errors import InvalidValue
from domain.messages import Recorded
from domain.notices import Narrator, Notice
from domain.options import many, one
from domain.text.safe import safe, safe_json
from domain.text.template.apply import Template, parse
from domain.text.times import rfc3339_fixed
from domain.text.units import SECOND
from workers.console.engine import Engine
from workers.console.moments import moment, time_of
from workers.console.streams import until_gone
from workers.console.verb import Example, Invocation, Verb
from workers.console.words import together

_PAGE = 500
Test = Callable[[Notice], bool]


async def _events(invocation: Invocation) -> int:
    show = _form(invocation.options.text("format"))
    fits = together(invocation.options.many("filter"), _test)
    await until_gone(invocation.call, _follow(invocation, show, fits))
    return 0


async def _follow(invocation: Invocation, show: Callable[[Notice], str], fits: Test) -> None:
    engine, narrator = invocation.engine, Narrator()
    until = await _until(invocation)
    position = await _begin(invocation)
    while True:
        records = await engine.store.read(position, _PAGE)
        wanted = [record for record in records if until is None or record.time <= until]
        for record in wanted:
            await _tell(invocation, narrator, record, show, fits)
        if len(wanted) < len(records):
            return
        position = records[-1].position if records else position
        if not records and not await _more(invocation, position, until):
            return


async def _more(invocation: Invocation, position: int, until: int | None) -> bool:
    """Wait for another event; False when the time is over."""
    if until is None:
        await invocation.engine.grown(position)
        return True
    try:
        async with asyncio.timeout(max(until - invocation.now(), 0) / SECOND):
            await invocation.engine.grown(position)
    except TimeoutError:
        return False
    return True


async def _begin(invocation: Invocation) -> int:
    """The position behind which the answer begins."""
    text = invocation.options.one("since")
    if text is None:
        return await invocation.engine.store.head()
    since = moment("since", text, invocation.now())
    if since.position is not None:
        return max(since.position - 1, 0)
    return await invocation.engine.store.position_at((since.time or 0) - 1)


async def _until(invocation: Invocation) -> int | None:
    text = invocation.options.one("until")
    if text is None:
        return None
    return await time_of(invocation.engine, moment("until", text, invocation.now()))


async def _tell(
    invocation: Invocation, narrator: Narrator, record: Recorded, show: Callable[[Notice], str], fits: Test
) -> None:
    if record.stream.kind == "container" and record.version > 1 and not narrator.knows(record.stream.key):
        await _catch_up(invocation.engine, narrator, record)
    for notice in narrator.tell(record):
        if fits(notice):
            await invocation.say(show(notice))


async def _catch_up(engine: Engine, narrator: Narrator, record: Recorded) -> None:
    for earlier in await engine.history(record.stream.key):
        if earlier.version >= record.version:
            return
        narrator.tell(earlier)


def _form(form: str) -> Callable[[Notice], str]:
    if not form:
        return _line
    if form == "json":
        return lambda notice: safe_json(_Message(notice).data())
    template: Template = parse(form.replace("\\t", "\t").replace("\\n", "\n"))
    return lambda notice: template.render(_Message(notice))


def _line(notice: Notice) -> str:
    attributes = ", ".join(f"{safe(key)}={safe(value)}" for key, value in sorted(notice.attributes.items()))
    return f"{rfc3339_fixed(notice.time)} {notice.kind} {notice.action} {safe(notice.id)} ({attributes})"


class _Message:
    """A notice with the field names of the industry's API."""

    def __init__(self, notice: Notice) -> None:
        self._fields: dict[str, object] = {
            "Status": notice.action,
            "ID": notice.id,
            "From": notice.attributes.get("image", ""),
            "Type": notice.kind,
            "Action": notice.action,
            "Actor": {"ID": notice.id, "Attributes": dict(sorted(notice.attributes.items()))},
            "Scope": "local",
            "Time": notice.time // SECOND,
            "TimeNano": notice.time,
        }

    def field(self, name: str) -> object:
        """One field."""
        return self._fields[name]

    def data(self) -> object:
        """As JSON spells it."""
        small = {
            "Status": "status",
            "ID": "id",
            "From": "from",
            "Scope": "scope",
            "Time": "time",
            "TimeNano": "timeNano",
        }
        return {small.get(name, name): value for name, value in self._fields.items() if value != ""}


def _test(key: str, wanted: str) -> Test:
    label, equals, value = wanted.partition("=")
    known: dict[str, Test] = {
        "type": lambda n: n.kind == wanted,
        "event": lambda n: n.action == wanted or n.action.startswith(f"{wanted}:"),
        "container": lambda n: n.kind == "container" and _is(n, wanted),
        "image": lambda n: _image(n, wanted),
        "network": lambda n: n.kind == "network" and _is(n, wanted),
        "volume": lambda n: n.kind == "volume" and _is(n, wanted),
        "label": lambda n: label in n.attributes and (not equals or n.attributes[label] == value),
        "scope": lambda n: wanted == "local",
    }
    if key not in known:
        raise InvalidValue(f"invalid filter '{key}'", hint="known: " + ", ".join(known))
    return known[key]


def _is(notice: Notice, wanted: str) -> bool:
    return bool(wanted) and (notice.id.startswith(wanted) or notice.attributes.get("name") == wanted.removeprefix("/"))


def _image(notice: Notice, wanted: str) -> bool:
    names = {wanted, f"{wanted}:latest", wanted.removesuffix(":latest")}
    if notice.kind == "image":
        return notice.attributes.get("name") in names or notice.id.removeprefix("sha256:").startswith(wanted)
    return notice.attributes.get("image") in names


VERB = Verb(
    name="events",
    usage="[OPTIONS]",
    summary="Show what happens, and what has happened",
    run=_events,
    most=0,
    also=("system events",),
    options=(
        many("filter", "f", "Show only what fits: type=, event=, container=, image=, volume=, label=", value="filter"),
        one("format", "", "json, or a template like '{{.Action}} {{.Actor.ID}}'"),
        one("since", "", "Begin in the past: 10m, a time, or the number of an event", value="moment"),
        one("until", "", "End at a moment", value="moment"),
    ),
    examples=(
        Example("lading events --since 0 --until 0s", "everything that has ever happened on this host"),
        Example("lading events -f container=web -f event=die", "wait for the ends of web"),
    ),
)
