"""update: other limits or another restart policy for one or more containers, also while they run."""

from domain.lifecycle.update import Update
from domain.options import one, refused
from domain.spec import RestartPolicy
from domain.text.safe import safe
from workers.console.creation import restart_policy
from workers.console.errors import Plain, each
from workers.console.limits import LIVE_OPTIONS, changes
from workers.console.verb import Example, Invocation, Verb
from workers.mover import Caller

_LATER = "--cpu-rt-period= --cpu-rt-runtime="


async def _update(invocation: Invocation) -> int:
    policy, limits = _policy(invocation), changes(invocation.options)
    if policy is None and not limits:
        raise Plain("you must provide one or more flags when using this command", hint="see lading update --help")
    wish = Update(restart=policy, limits=limits)

    async def act(name: str, who: Caller) -> None:
        id = await invocation.engine.resolve(name)
        for line in await invocation.engine.advice_on(id, wish):
            await invocation.warn(f"WARNING: {safe(line)}")
        await invocation.engine.execute(id, wish, who)
        await invocation.echo(name)

    return await each(invocation, act)


def _policy(invocation: Invocation) -> RestartPolicy | None:
    text = invocation.options.one("restart")
    return None if text is None else restart_policy(text)


VERB = Verb(
    name="update",
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    summary="Change the limits or the restart policy of one or more containers",
    run=_update,
    least=1,
    also=("container update",),
    options=(
        *LIVE_OPTIONS,
        one("restart", "", "What to do when it ends: no, on-failure[:n], always, unless-stopped", value="policy"),
        *refused(_LATER),
    ),
    notes="It holds at once for what runs; the history says what was before, and who changed it.",
    examples=(
        Example("lading update --memory 512m --memory-swap 1g web", "more room for what runs"),
        Example("lading update --cpus 0.5 web db", "half a processor for each"),
        Example("lading update --restart unless-stopped web db", "start them again whenever they end by themselves"),
    ),
)
