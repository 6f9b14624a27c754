"""rename: give a container another name; its history stays with it."""

from domain.lifecycle.rename import Rename
from domain.names import container_name
from workers.console.errors import Plain
from workers.console.verb import Example, Invocation, Verb


async def _rename(invocation: Invocation) -> int:
    old, new = invocation.arguments
    if not old or not new:
        raise Plain("Error: neither old nor new names may be empty")
    id = await invocation.engine.resolve(old)
    await invocation.engine.execute(id, Rename(name=container_name(new)), invocation.who)
    return 0


VERB = Verb(
    name="rename",
    usage="CONTAINER NEW_NAME",
    summary="Rename a container",
    run=_rename,
    least=2,
    most=2,
    also=("container rename",),
    examples=(
        Example("lading rename web web-old", "also while it runs"),
        Example("lading audit web", "the old name still finds its history"),
    ),
)
