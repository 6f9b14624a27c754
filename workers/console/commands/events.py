"""events: what happens, as it happens; with --since also what has happened, from the very first event on."""

from collections.abc import Callable
from contextlib import aclosing

from domain.notice_filters import filters
from domain.notices import Notice, notice_document
from domain.options import many, one
from domain.text.safe import safe, safe_json
from domain.text.template.apply import Template, parse
from domain.text.times import rfc3339_fixed
from domain.text.units import SECOND
from workers.console.moments import moment, time_of
from workers.console.streams import until_gone
from workers.console.verb import Example, Invocation, Verb
from workers.tidings import Test


async def _events(invocation: Invocation) -> int:
    show = _form(invocation.options.text("format"))
    fits = filters(invocation.options.many("filter"))
    await until_gone(invocation.call, _follow(invocation, show, fits))
    return 0


async def _follow(invocation: Invocation, show: Callable[[Notice], str], fits: Test) -> None:
    until = await _until(invocation)
    after = await _begin(invocation)
    invocation.reading.answered()
    told = invocation.engine.tidings.follow(fits, after=after, until=until, now=invocation.now)
    async with aclosing(told):
        async for notice in told:
            await invocation.say(show(notice))


async def _begin(invocation: Invocation) -> int | None:
    """The position behind which the answer begins; None for what comes."""
    text = invocation.options.one("since")
    if text is None:
        return None
    since = moment("since", text, invocation.now())
    if since.position is not None:
        return max(since.position - 1, 0)
    return await invocation.engine.store.position_at((since.time or 0) - 1)


async def _until(invocation: Invocation) -> int | None:
    text = invocation.options.one("until")
    if text is None:
        return None
    return await time_of(invocation.engine, moment("until", text, invocation.now()))


def _form(form: str) -> Callable[[Notice], str]:
    if not form:
        return _line
    if form == "json":
        return lambda notice: safe_json(notice_document(notice))
    template: Template = parse(form.replace("\\t", "\t").replace("\\n", "\n"))
    return lambda notice: template.render(_Message(notice))


def _line(notice: Notice) -> str:
    attributes = ", ".join(f"{safe(key)}={safe(value)}" for key, value in sorted(notice.attributes.items()))
    return f"{rfc3339_fixed(notice.time)} {notice.kind} {notice.action} {safe(notice.id)} ({attributes})"


class _Message:
    """A notice with the field names of the industry's API."""

    def __init__(self, notice: Notice) -> None:
        self._document = notice_document(notice)
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
        return self._document


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
    reads="events",
    examples=(
        Example("lading events --since 0 --until 0s", "everything that has ever happened on this host"),
        Example("lading events -f container=web -f event=die", "wait for the ends of web"),
    ),
)
