"""images: the images of this host, one line for each of their names."""

from collections import Counter
from collections.abc import Mapping

from domain.images.model import Image
from domain.images.usage import Share, shares
from domain.options import flag, many, one
from domain.text.times import created_at
from domain.text.units import ago, human_size
from workers.console import images as words
from workers.console.forest import lines
from workers.console.images import Named
from workers.console.listing import Field, Shape
from workers.console.verb import Example, Invocation, Verb


def _shape(
    now: int, used: Counter[str], parts: Mapping[str, Share], *, full: bool, digests: bool
) -> Shape[Named]:
    def part(row: Named, name: str) -> str:
        share = parts.get(row.image.id)
        return "N/A" if share is None else human_size(getattr(share, name), digits=4)

    fields = {
        "Repository": Field[Named]("REPOSITORY", lambda row: row.repository),
        "Tag": Field[Named]("TAG", lambda row: row.tag),
        "Digest": Field[Named]("DIGEST", lambda row: row.digest),
        "ID": Field[Named]("IMAGE ID", lambda row: _id(row, full)),
        "CreatedSince": Field[Named](
            "CREATED", lambda row: ago(row.image.created, now) if row.image.created else "N/A"
        ),
        "CreatedAt": Field[Named]("CREATED AT", lambda row: created_at(row.image.created)),
        "Size": Field[Named]("SIZE", lambda row: human_size(row.image.size)),
        "VirtualSize": Field[Named]("SIZE", lambda row: human_size(row.image.size, digits=4)),
        "Containers": Field[Named]("CONTAINERS", lambda row: str(used[row.image.id]) if used else "N/A"),
        "SharedSize": Field[Named]("SHARED SIZE", lambda row: part(row, "shared")),
        "UniqueSize": Field[Named]("UNIQUE SIZE", lambda row: part(row, "unique")),
    }
    names = ["Repository", "Tag", *(["Digest"] if digests else []), "ID", "CreatedSince", "Size"]
    raw = (
        ("repository", "Repository"),
        ("tag", "Tag"),
        ("image_id", "ID"),
        ("created_at", "CreatedAt"),
        ("virtual_size", "Size"),
    )
    return Shape(fields, tuple(fields[name] for name in names), raw)


def _id(row: Named, full: bool) -> str:
    return row.image.id if full else row.image.id.removeprefix("sha256:")[:12]


async def _images(invocation: Invocation) -> int:
    options, engine = invocation.options, invocation.engine
    values = options.many("filter")
    edges: dict[str, Image] = {}
    for name in words.named_in_filters(values):
        edges[name] = (await engine.images.find(name)).image
    test = words.filters(values, edges, invocation.now())
    entries = await engine.images.all()
    rows = [row for row in words.rows(entries) if test(row)]
    if invocation.arguments:
        fits = words.matching(invocation.arguments[0])
        rows = [row for row in rows if fits(row)]
    if options.flag("tree"):
        ids = {row.image.id for row in rows}
        await invocation.out("".join(f"{line}\n" for line in lines([e for e in entries if e.image.id in ids])))
        return 0
    if options.flag("quiet"):
        await invocation.out("".join(f"{_id(row, options.flag('no-trunc'))}\n" for row in rows))
        return 0
    used = await _used(invocation) if "Containers" in options.text("format") else Counter[str]()
    wanted = any(name in options.text("format") for name in ("SharedSize", "UniqueSize", "json"))
    parts = shares(entry.image for entry in entries) if wanted else {}
    shape = _shape(invocation.now(), used, parts, full=options.flag("no-trunc"), digests=options.flag("digests"))
    await invocation.out(shape.render(rows, options.text("format"), columns=invocation.columns))
    return 0


async def _used(invocation: Invocation) -> Counter[str]:
    return Counter(str(row["image_id"]) for row in await invocation.engine.views.select("containers"))


VERB = Verb(
    name="images",
    usage="[OPTIONS] [REPOSITORY[:TAG]]",
    summary="List images",
    run=_images,
    most=1,
    group="Common Commands",
    also=("image ls", "image list"),
    options=(
        flag("all", "a", "Show intermediate images too"),
        flag("digests", "", "Show digests"),
        many(
            "filter", "f", "Show only what fits: dangling=, label=, reference=, before=, since=, until=", value="filter"
        ),
        one("format", "", "table, json, raw, or a template like '{{.Repository}}:{{.Tag}}'"),
        flag("no-trunc", "", "Do not shorten ids"),
        flag("quiet", "q", "Print ids only"),
        flag("tree", "", "Show which layers are shared, as trees"),
    ),
    reads="images",
    examples=(
        Example("lading images 'web*'", "all images whose repository begins with web"),
        Example("lading images -q -f dangling=true", "ids of images that nothing names"),
    ),
)
