"""update: another restart policy for one or more containers, also while they run."""

from domain.lifecycle.update import Update
from domain.options import one, refused
from workers.console.creation import restart_policy
from workers.console.errors import Plain, fulfil
from workers.console.verb import Example, Invocation, Verb

_LATER = (
    "--blkio-weight= --cpu-period= --cpu-quota= --cpu-rt-period= --cpu-rt-runtime= -c/--cpu-shares= --cpus= "
    "--cpuset-cpus= --cpuset-mems= -m/--memory= --memory-reservation= --memory-swap= --pids-limit="
)


async def _update(invocation: Invocation) -> int:
    text = invocation.options.one("restart")
    if text is None:
        raise Plain("you must provide one or more flags when using this command", hint="this version knows --restart")
    wish = Update(restart=restart_policy(text))

    return await fulfil(invocation, wish)


VERB = Verb(
    name="update",
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    summary="Change the restart policy of one or more containers",
    run=_update,
    least=1,
    also=("container update",),
    options=(
        one("restart", "", "What to do when it ends: no, on-failure[:n], always, unless-stopped", value="policy"),
        *refused(_LATER),
    ),
    notes="It holds at once: for what runs, and for what waits to be started again.",
    examples=(
        Example("lading update --restart unless-stopped web db", "start them again whenever they end by themselves"),
        Example("lading update --restart no web", "let it rest the next time it ends"),
    ),
)
