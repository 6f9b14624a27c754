"""volume ls: the volumes of this host, by name."""

import asyncio

from domain.options import flag, many, one
from workers.console.commands.volume import words
from workers.console.verb import Example, Invocation, Verb


async def _ls(invocation: Invocation) -> int:
    options, volumes = invocation.options, invocation.engine.volumes
    test = words.filters(options.many("filter"))
    rows = [known for known in await volumes.all() if test(known)]
    if options.flag("quiet"):
        await invocation.out("".join(f"{known.name}\n" for known in rows))
        return 0
    form, sizes = options.text("format"), dict[str, int]()
    if "Size" in form:
        found = await asyncio.gather(*(volumes.size(known.name) for known in rows))
        sizes = {known.name: size for known, size in zip(rows, found, strict=True)}
    await invocation.out(words.shape(sizes).render(rows, form, columns=invocation.columns))
    return 0


VERB = Verb(
    name="volume ls",
    usage="[OPTIONS]",
    summary="List volumes",
    run=_ls,
    most=0,
    also=("volume list",),
    options=(
        many("filter", "f", "Only: name=, label=, driver=, dangling=true", value="filter"),
        one("format", "", "table, json, or a template like '{{.Name}}: {{.Size}}'"),
        flag("quiet", "q", "Print names only"),
    ),
    reads="volume ls",
    examples=(
        Example("lading volume ls -f dangling=true", "those that no container uses"),
        Example("lading volume ls --format '{{.Name}} {{.Size}} {{.Links}}'", "how large, and used by how many"),
    ),
)
