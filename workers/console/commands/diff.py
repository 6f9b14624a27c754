"""diff: what a container has changed over its image."""

from domain.text.safe import safe
from workers.console.streams import until_gone
from workers.console.verb import Example, Invocation, Verb

_TOGETHER = 1000


async def _diff(invocation: Invocation) -> int:
    id = await invocation.engine.resolve(invocation.arguments[0])
    invocation.reading.about("container", id)
    await until_gone(invocation.call, _show(invocation, id))
    return 0


async def _show(invocation: Invocation, id: str) -> None:
    lines = list[str]()
    async for kind, path in invocation.engine.files.changes(id):
        lines.append(f"{kind} {safe(path)}\n")
        if len(lines) == _TOGETHER:
            await invocation.out("".join(lines))
            lines.clear()
    await invocation.out("".join(lines))


VERB = Verb(
    name="diff",
    usage="CONTAINER",
    summary="Show what a container has changed over its image",
    run=_diff,
    least=1,
    most=1,
    also=("container diff",),
    notes="A: added, C: changed, D: deleted. Volumes and file systems in memory are not a part of it.",
    reads="diff",
    examples=(
        Example("lading diff web", "A /var/log/new, C /etc, D /tmp/gone"),
        Example("lading diff web | grep ^A", "only what is new"),
    ),
)
