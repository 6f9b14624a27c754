"""history: the steps by which an image was made."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.images.config import history, timestamp
from domain.images.model import Image
from domain.options import flag, one, refused
from domain.text.times import created_at, rfc3339
from domain.text.units import ago, human_size
from workers.console.listing import Field, Shape
from workers.console.verb import Example, Invocation, Verb

_WIDEST = 45


@dataclass(frozen=True, slots=True)
class _Step:
    """One step; `id` is that of the image for the last one. Times in ns."""

    id: str
    created: int
    created_by: str
    size: int
    comment: str


def _steps(image: Image) -> Sequence[_Step]:
    """Newest first; layers that no entry speaks of are steps without words."""
    sizes = [layer.size for layer in image.layers]
    steps = []
    for entry in history(image.config):
        size = 0 if entry.get("empty_layer") is True or not sizes else sizes.pop(0)
        text, comment = (str(entry.get(key) or "") for key in ("created_by", "comment"))
        steps.append(_Step("", timestamp(entry.get("created")), text, size, comment))
    steps += [_Step("", 0, "", size, "") for size in sizes]
    if not steps:
        return ()
    *older, last = steps
    return (_Step(image.id, last.created, last.created_by, last.size, last.comment), *reversed(older))


def _shape(now: int, *, full: bool, human: bool) -> Shape[_Step]:
    def id(step: _Step) -> str:
        return (step.id if full else step.id.removeprefix("sha256:")[:12]) or "<missing>"

    def made_by(step: _Step) -> str:
        text = step.created_by.replace("\t", " ")
        return text if full or len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"

    def created(step: _Step) -> str:
        if not step.created:
            return "N/A"
        return ago(step.created, now) if human else rfc3339(step.created)

    fields = {
        "ID": Field[_Step]("IMAGE", id),
        "CreatedSince": Field[_Step]("CREATED", created),
        "CreatedBy": Field[_Step]("CREATED BY", made_by),
        "Size": Field[_Step]("SIZE", lambda step: human_size(step.size) if human else str(step.size)),
        "Comment": Field[_Step]("COMMENT", lambda step: step.comment),
        "CreatedAt": Field[_Step]("CREATED AT", lambda step: created_at(step.created) if step.created else "N/A"),
    }
    table = tuple(fields[name] for name in ("ID", "CreatedSince", "CreatedBy", "Size", "Comment"))
    return Shape(fields, table)


async def _history(invocation: Invocation) -> int:
    options = invocation.options
    steps = _steps((await invocation.engine.images.find(invocation.arguments[0])).image)
    shape = _shape(invocation.now(), full=options.flag("no-trunc"), human=options.flag("human"))
    form = "{{.ID}}" if options.flag("quiet") else options.text("format")
    await invocation.out(shape.render(steps, form, columns=invocation.columns))
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
        *refused("--platform="),
    ),
    notes="What happened to an image on this host is another story: lading audit image NAME.",
    examples=(
        Example("lading history web:1.2", "each step with its size, the newest first"),
        Example("lading history --no-trunc --format '{{.CreatedBy}}' web", "the commands alone, whole"),
    ),
)
