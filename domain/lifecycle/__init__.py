"""The table of transitions: one line for each file of this folder."""

from domain.lifecycle import (
    attach,
    commit,
    create,
    exec,
    exit,
    files,
    health,
    kill,
    network,
    pause,
    remove,
    rename,
    shortage,
    start,
    stop,
    unpause,
    update,
)
from domain.machine import Machine

TRANSITIONS = (
    create.TRANSITION,
    start.TRANSITION,
    stop.TRANSITION,
    exit.TRANSITION,
    kill.TRANSITION,
    pause.TRANSITION,
    unpause.TRANSITION,
    rename.TRANSITION,
    update.TRANSITION,
    commit.TRANSITION,
    attach.TRANSITION,
    exec.TRANSITION,
    files.TRANSITION,
    health.TRANSITION,
    shortage.TRANSITION,
    network.TRANSITION,
    remove.TRANSITION,
)

MACHINE = Machine(TRANSITIONS)
"""The container's state machine."""
