"""Subcommands of `image` that have no short name: one file each."""

from workers.console.commands.image import prune
from workers.console.verb import Verb

VERBS: dict[str, Verb] = {"prune": prune.VERB}
"""Verbs by what follows `image`."""
