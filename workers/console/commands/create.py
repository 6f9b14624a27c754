"""create: write a container down without starting it."""

from workers.console.commands.run import advise, create, refresh
from workers.console.creation import OPTIONS, attached_streams, request
from workers.console.verb import Example, Invocation, Verb


async def _create(invocation: Invocation) -> int:
    attached_streams(invocation.options)
    wanted = await request(invocation)
    await advise(invocation, wanted)
    await refresh(invocation, wanted)
    await invocation.say(await create(invocation, wanted))
    return 0


VERB = Verb(
    name="create",
    usage="[OPTIONS] IMAGE [COMMAND] [ARG...]",
    summary="Create a container without starting it",
    run=_create,
    least=1,
    interspersed=False,
    also=("container create",),
    options=OPTIONS,
    examples=(
        Example("lading create --name job alpine sh /work.sh", "keep it for later"),
        Example("lading start -a job", "run it and see its output"),
        Example("lading create -it --name box alpine sh", "a shell for lading start -ai box"),
    ),
)
