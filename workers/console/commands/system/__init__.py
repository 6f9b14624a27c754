"""Subcommands of `system` that have no short name: one file each."""

from workers.console.commands.system import check, df, prune
from workers.console.verb import Verb

VERBS: dict[str, Verb] = {"check": check.VERB, "df": df.VERB, "prune": prune.VERB}
"""Verbs by what follows `system`."""
