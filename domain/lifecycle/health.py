"""Health: what the probes of a container say about it. Recorded only when it changes; what follows from it by the wish
of the user (`--health-action`) is decided in the same breath."""

from collections.abc import Mapping
from typing import Literal

from domain.container import LIVE, Container, State
from domain.lifecycle.kill import KILL, KillRequested
from domain.lifecycle.stop import StopRequested
from domain.machine import Move, Transition
from domain.messages import Command, Event, Recorded
from domain.signals import number

Status = Literal["starting", "healthy", "unhealthy"]


class ReportHealth(Command):
    """The probes of run `attempt` have come to a `status` after `streak` failures in a row; `exit_code` (-1: it took
    too long) and `output` are those of the last probe."""

    attempt: int
    status: Status
    streak: int
    exit_code: int
    output: str = ""


class HealthChanged(Event, stored_as="health-changed.v1"):
    """The container is `status` from now on; see `ReportHealth` for the rest."""

    status: Status
    streak: int
    exit_code: int
    output: str = ""


def _report(container: Container, command: ReportHealth) -> tuple[Event, ...]:
    stale = container.attempt != command.attempt or container.state is not State.RUNNING
    if stale or container.health == command.status:
        return ()
    changed = HealthChanged(
        status=command.status, streak=command.streak, exit_code=command.exit_code, output=command.output
    )
    return (changed, *_action(container)) if command.status == "unhealthy" else (changed,)


def _action(container: Container) -> tuple[Event, ...]:
    """What the user wants to be done with a container that is not well. After a kill its restart policy decides."""
    spec = container.settled
    action = spec.health.action if spec.health is not None else "none"
    if action == "restart":
        return (StopRequested(signal=number(spec.stop_signal), timeout=spec.stop_timeout, then_start=True),)
    return (KillRequested(signal=KILL),) if action == "kill" else ()


def _changed(container: Container, event: HealthChanged, record: Recorded) -> Mapping[str, object]:
    return {"health": event.status, "health_streak": event.streak}


TRANSITION = Transition(decisions={ReportHealth: _report}, moves=(Move(HealthChanged, LIVE, None, _changed),))
