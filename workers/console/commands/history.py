"""history: the steps by which an image was made."""

from domain.images.steps import Step, steps
from domain.options import flag, one
from domain.text.times import created_at, rfc3339
from domain.text.units import ago, human_size
from workers.console.listing import Field, Shape
from workers.console.platforms import SURE, ensure
from workers.console.verb import Example, Invocation, Verb

_WIDEST = 45


def _shape(now: int, *, full: bool, human: bool) -> Shape[Step]:
    def id(step: Step) -> str:
        return (step.id if full else step.id.removeprefix("sha256:")[:12]) or "<missing>"

    def made_by(step: Step) -> str:
        text = step.created_by.replace("\t", " ")
        return text if full or len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"

    def created(step: Step) -> str:
        if not step.created:
            return "N/A"
        return ago(step.created, now) if human else rfc3339(step.created)

    fields = {
        "ID": Field[Step]("IMAGE", id),
        "CreatedSince": Field[Step]("CREATED", created),
        "CreatedBy": Field[Step]("CREATED BY", made_by),
        "Size": Field[Step]("SIZE", lambda step: human_size(step.size) if human else str(step.size)),
        "Comment": Field[Step]("COMMENT", lambda step: step.comment),
        "CreatedAt": Field[Step]("CREATED AT", lambda step: created_at(step.created) if step.created else "N/A"),
    }
    table = tuple(fields[name] for name in ("ID", "CreatedSince", "CreatedBy", "Size", "Comment"))
    return Shape(fields, table)


async def _history(invocation: Invocation) -> int:
    options = invocation.options
    await ensure(invocation, invocation.arguments[0])
    image = (await invocation.engine.images.find(invocation.arguments[0])).image
    invocation.reading.about("image", image.id)
    found = steps(image)
    shape = _shape(invocation.now(), full=options.flag("no-trunc"), human=options.flag("human"))
    form = "{{.ID}}" if options.flag("quiet") else options.text("format")
    await invocation.out(shape.render(found, form, columns=invocation.columns))
    return 0


VERB = Verb(
    name="history",
    usage="[OPTIONS] IMAGE",
    summary="Show how an image was made",
    run=_history,
    least=1,
    most=1,
    also=("image history",),
    options=(
        one("format", "", "table, json, or a template like '{{.CreatedBy}}'"),
        flag("human", "H", "Sizes and times for people", default=True),
        flag("no-trunc", "", "Do not shorten ids and commands"),
        flag("quiet", "q", "Print ids only"),
        SURE,
    ),
    notes="What happened to an image on this host is another story: lading audit image NAME.",
    reads="history",
    examples=(
        Example("lading history web:1.2", "each step with its size, the newest first"),
        Example("lading history --no-trunc --format '{{.CreatedBy}}' web", "the commands alone, whole"),
    ),
)
