"""Failpoints of the small processes: which are armed, and what an armed one does.

    warden.before-go=kill;warden.before-journal=delay:0.2@3;zygote.before-clone=error

`@N` arms only the N-th passing in the process. Faults whose point is named `….recover-…` are for the first respawned
process, the others for the original: so that a killed process does not die at the same place for ever.
"""

import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

from domain import failpoints

RECOVERY = ".recover-"


def arm(text: str, generation: int) -> None:
    """Arm what `text` asks for in a process that was started for the `generation`-th time again. Raises: ValueError."""
    actions = {name: action for name, action in _parse(text) if generation == (RECOVERY in name)}
    if not actions:
        return

    def act(name: str) -> None:
        action = actions.get(name)
        if action is not None:
            action()

    failpoints.arm(act)


def _parse(text: str) -> Iterator[tuple[str, Callable[[], None]]]:
    for item in filter(None, text.split(";")):
        name, _, wish = item.partition("=")
        effect, _, passing = wish.partition("@")
        yield name.strip(), _counted(_effect(effect.strip(), name.strip()), int(passing) if passing else 0)


def _counted(effect: Callable[[], None], passing: int) -> Callable[[], None]:
    seen = 0

    def act() -> None:
        nonlocal seen
        seen += 1
        if passing in (0, seen):
            effect()

    return act


def _effect(wish: str, name: str) -> Callable[[], None]:
    kind, _, argument = wish.partition(":")
    if kind == "kill":
        return _kill
    if kind == "delay":
        seconds = float(argument)
        return lambda: time.sleep(seconds)
    if kind == "error":
        return lambda: _fail(name)
    raise ValueError(f"failpoint {name}: {wish} is not kill, error or delay:SECONDS")


def _kill() -> None:
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)
    os._exit(128 + signal.SIGKILL)  # only number 1 of a pid namespace gets here: the kernel spares it from itself


def _fail(name: str) -> None:
    raise OSError(errno.EIO, f"failpoint {name}")
