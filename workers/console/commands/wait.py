"""wait: block until one or more containers do not run, and print their exit statuses; of removed ones, too."""

from domain.options import flag
from workers.console.errors import each
from workers.console.past import resolve_past
from workers.console.streams import until_gone
from workers.console.verb import Example, Invocation, Verb
from workers.mover import Caller


async def _wait(invocation: Invocation) -> int:
    engine = invocation.engine
    statuses: list[int] = []

    async def act(name: str, who: Caller) -> None:
        status = await until_gone(invocation.call, engine.wait(await resolve_past(engine, name)))
        if status is None:
            return
        statuses.append(status)
        await invocation.say(str(status))

    failed = await each(invocation, act)
    if failed or not invocation.options.flag("exit-code"):
        return failed
    return statuses[-1] & 0xFF if statuses else 0


VERB = Verb(
    name="wait",
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    summary="Wait until containers stop, then print their exit codes",
    run=_wait,
    least=1,
    also=("container wait",),
    notes="A container that was removed answers from its history, by name or id.",
    options=(flag("exit-code", "", "End with the exit status of the container (of several: the last one named)"),),
    examples=(
        Example("lading wait job", "print its exit status once it is over"),
        Example("lading wait --exit-code job && echo fine", "use the status as your own"),
    ),
)
