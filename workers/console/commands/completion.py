"""completion: print the script that completes command lines in a shell."""

from domain.errors import InvalidValue
from workers.console.completion.scripts import SHELLS, script
from workers.console.completion.table import pages
from workers.console.verb import Example, Invocation, Verb


async def _completion(invocation: Invocation) -> int:
    from workers.console.commands import NOUNS, VERBS  # the table that this verb is in itself

    shell = invocation.arguments[0]
    if shell not in SHELLS:
        raise InvalidValue(f"no completion for the shell {shell!r}", hint=f"there is one for {', '.join(SHELLS)}")
    await invocation.out(script(shell, pages(VERBS, NOUNS)))
    return 0


VERB = Verb(
    name="completion",
    usage="SHELL",
    summary="Print the script that completes command lines in bash, fish or zsh",
    run=_completion,
    least=1,
    most=1,
    notes="make install has put it where the shells look for it. Names of containers, images, networks and volumes\n"
    "are asked of the daemon at each Tab, for at most a tenth of a second.",
    examples=(
        Example("source <(lading completion bash)", "in this shell, from now on"),
        Example("lading completion fish > ~/.config/fish/completions/lading.fish", "in every fish of mine"),
        Example("lading completion zsh > /usr/local/share/zsh/site-functions/_lading", "in every zsh on this machine"),
    ),
)
