"""wait: block until one or more containers do not run, and print their exit statuses."""

from domain.options import flag
from workers.console.errors import each
from workers.console.streams import until_gone
from workers.console.verb import Example, Invocation, Verb
from workers.mover import Caller


async def _wait(invocation: Invocation) -> int:
    engine = invocation.engine
    statuses: list[int] = []

    async def act(name: str, who: Caller) -> None:
        status = await until_gone(invocation.call, engine.wait(await engine.resolve(name)))
        if status is None:
            return
        statuses.append(status)
        await invocation.say(str(status))

    failed = await each(invocation, act)
    if failed or not invocation.options.flag("exit-code"):
        return failed
    return next((status & 0xFF for status in statuses if status), 0)


VERB = Verb(
    name="wait",
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    summary="Wait until containers stop, then print their exit codes",
    run=_wait,
    least=1,
    also=("container wait",),
    options=(flag("exit-code", "", "End with the first exit status that is not 0"),),
    examples=(
        Example("lading wait job", "print its exit status once it is over"),
        Example("lading wait --exit-code job && echo fine", "use the status as your own"),
    ),
)
