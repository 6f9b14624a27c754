"""The table of subcommands: one file each. A verb is listed once and found under all its spellings."""

from workers.console.commands import (
    attach,
    audit,
    build,
    builder_prune,
    commit,
    container,
    cp,
    create,
    diff,
    events,
    exec_,
    export,
    history,
    image,
    images,
    import_,
    info,
    inspect,
    kill,
    load,
    login,
    logout,
    logs,
    network,
    pause,
    port,
    ps,
    pull,
    push,
    rename,
    restart,
    rm,
    rmi,
    run,
    save,
    search,
    start,
    stats,
    stop,
    system,
    tag,
    top,
    unpause,
    update,
    version,
    volume,
    wait,
    why,
)
from workers.console.verb import Verb

_ALL = (
    run.VERB,
    exec_.VERB,
    ps.VERB,
    logs.VERB,
    images.VERB,
    pull.VERB,
    push.VERB,
    build.VERB,
    rm.VERB,
    attach.VERB,
    audit.VERB,
    commit.VERB,
    cp.VERB,
    create.VERB,
    diff.VERB,
    events.VERB,
    export.VERB,
    history.VERB,
    import_.VERB,
    info.VERB,
    inspect.VERB,
    kill.VERB,
    load.VERB,
    login.VERB,
    logout.VERB,
    pause.VERB,
    port.VERB,
    rename.VERB,
    restart.VERB,
    rmi.VERB,
    save.VERB,
    search.VERB,
    start.VERB,
    stats.VERB,
    stop.VERB,
    tag.VERB,
    top.VERB,
    unpause.VERB,
    update.VERB,
    version.VERB,
    wait.VERB,
    why.VERB,
)

VERBS: dict[str, Verb] = {verb.name: verb for verb in _ALL}
"""Verbs by their short name, in the order of the help."""


def _below(noun: str) -> dict[str, Verb]:
    return {name.removeprefix(f"{noun} "): verb for verb in _ALL for name in verb.also if name.startswith(f"{noun} ")}


NOUNS: dict[str, tuple[str, dict[str, Verb], dict[str, str]]] = {
    "container": (
        "Manage containers",
        {**_below("container"), **container.VERBS, "inspect": inspect.below("container")},
        {"type": "container"},
    ),
    "builder": ("Manage builds", {**_below("builder"), "prune": builder_prune.VERB}, {}),
    "image": (
        "Manage images",
        {**_below("image"), **image.VERBS, "inspect": inspect.below("image")},
        {"type": "image"},
    ),
    "network": ("Manage networks", {**network.VERBS, "inspect": inspect.below("network")}, {"type": "network"}),
    "system": ("Manage the engine", {**_below("system"), **system.VERBS}, {}),
    "volume": ("Manage volumes", {**volume.VERBS, "inspect": inspect.below("volume")}, {"type": "volume"}),
}
"""Nouns: what they are about, their verbs, and what these verbs are told besides."""

LATER = frozenset(
    {
        "buildx",
        "checkpoint",
        "compose",
        "config",
        "context",
        "manifest",
        "node",
        "plugin",
        "secret",
        "service",
        "stack",
        "swarm",
        "trust",
        "system dial-stdio",
    }
)
"""Commands of the industry's CLI that have no effect in this version: refused by name, never mistaken for a typo."""
