"""Subcommands of `gateway`: one file each."""

from workers.console.commands.gateway import start, status, stop
from workers.console.verb import Verb

VERBS: dict[str, Verb] = {"start": start.VERB, "status": status.VERB, "stop": stop.VERB}
"""Verbs by what follows `gateway`."""
