"""Arms the daemon's failpoints: `LADING_FAILPOINTS="store.before-commit=kill@3;start.after-act=delay:0.2"`.

An action is `kill` (SIGKILL to the daemon itself), `error` (a LadingError) or `delay:SECONDS`; `@N` makes it happen
only at the N-th passing. Nothing is armed unless the variable is set.
"""

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass

from domain.errors import InvalidValue, Unavailable
from domain.failpoints import arm


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at a failpoint; `passing` 0 means every time."""

    action: str
    seconds: float = 0.0
    passing: int = 0


def parse_faults(text: str) -> dict[str, Fault]:
    """Raises: InvalidValue."""
    return dict(_one(part.strip()) for part in text.split(";") if part.strip())


def _one(text: str) -> tuple[str, Fault]:
    name, _, rest = text.partition("=")
    action, _, passing = rest.partition("@")
    action, _, seconds = action.partition(":")
    if not name or action not in {"kill", "error", "delay"} or (passing and not passing.isdigit()):
        raise InvalidValue(f"LADING_FAILPOINTS: {text!r}", hint="use NAME=kill|error|delay:SECONDS[@N]")
    try:
        return name, Fault(action, float(seconds or 0), int(passing or 0))
    except ValueError:
        raise InvalidValue(f"LADING_FAILPOINTS: {seconds!r} is not a number of seconds") from None


def arm_faults(text: str) -> None:
    """Arm what the text names; an empty one disarms."""
    faults = parse_faults(text)
    if not faults:
        arm(None)
        return
    passed: Counter[str] = Counter()

    def passing(name: str) -> None:
        fault = faults.get(name)
        if fault is None:
            return
        passed[name] += 1
        if fault.passing in {0, passed[name]}:
            _happen(name, fault)

    arm(passing)


def _happen(name: str, fault: Fault) -> None:
    if fault.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault.action == "error":
        raise Unavailable(f"failpoint {name}")
    time.sleep(fault.seconds)
