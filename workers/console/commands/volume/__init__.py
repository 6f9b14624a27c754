"""The subcommands of `volume`: one file each."""

from workers.console.commands.volume import create, ls, prune, rm
from workers.console.verb import Verb

_ALL = (create.VERB, ls.VERB, prune.VERB, rm.VERB)

VERBS: dict[str, Verb] = {
    spelling.removeprefix("volume "): verb for verb in _ALL for spelling in (verb.name, *verb.also)
}
"""Verbs by what follows `volume`."""
