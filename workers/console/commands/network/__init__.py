"""The subcommands of `network`: one file each."""

from workers.console.commands.network import connect, create, ls, prune, rm
from workers.console.verb import Verb

_ALL = (connect.CONNECT, create.VERB, connect.DISCONNECT, ls.VERB, prune.VERB, rm.VERB)

VERBS: dict[str, Verb] = {
    spelling.removeprefix("network "): verb for verb in _ALL for spelling in (verb.name, *verb.also)
}
"""Verbs by what follows `network`."""
