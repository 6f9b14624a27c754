"""create: write a container down without starting it."""

from domain.options import refused
from workers.console.commands.run import create
from workers.console.creation import OPTIONS, request
from workers.console.verb import Example, Invocation, Verb


async def _create(invocation: Invocation) -> int:
    await invocation.say(await create(invocation, await request(invocation)))
    return 0


VERB = Verb(
    name="create",
    usage="[OPTIONS] IMAGE [COMMAND] [ARG...]",
    summary="Create a container without starting it",
    run=_create,
    least=1,
    interspersed=False,
    also=("container create",),
    options=(*OPTIONS, *refused("-a/--attach=")),
    examples=(
        Example("lading create --name job alpine sh /work.sh", "keep it for later"),
        Example("lading start -a job", "run it and see its output"),
    ),
)
