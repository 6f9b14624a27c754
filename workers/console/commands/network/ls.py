"""network ls: the networks of this host, by name."""

from domain.options import flag, many, one
from workers.console.commands.network import words
from workers.console.verb import Example, Invocation, Verb


async def _ls(invocation: Invocation) -> int:
    options, networks = invocation.options, invocation.engine.networks
    test = words.filters(options.many("filter"))
    rows = [known for known in await networks.all() if test(known, await networks.wanted(known))]
    full = options.flag("no-trunc")
    if options.flag("quiet"):
        await invocation.out("".join(f"{known.id if full else known.id[:12]}\n" for known in rows))
    else:
        await invocation.out(words.shape(full=full).render(rows, options.text("format"), columns=invocation.columns))
    return 0


VERB = Verb(
    name="network ls",
    usage="[OPTIONS]",
    summary="List networks",
    run=_ls,
    most=0,
    also=("network list",),
    options=(
        many("filter", "f", "Only: name=, id=, driver=, label=, type=, dangling=, scope=", value="filter"),
        one("format", "", "table, json, or a template like '{{.Name}}: {{.Subnets}}'"),
        flag("no-trunc", "", "Do not shorten ids"),
        flag("quiet", "q", "Print ids only"),
    ),
    reads="network ls",
    examples=(
        Example("lading network ls -f type=custom", "those that somebody has created"),
        Example("lading network ls --format '{{.Name}}: {{.Subnets}}'", "which addresses belong to whom"),
    ),
)
