"""Subcommands of `container` that have no short name: one file each."""

from workers.console.commands.container import prune
from workers.console.verb import Verb

VERBS: dict[str, Verb] = {"prune": prune.VERB}
"""Verbs by what follows `container`."""
