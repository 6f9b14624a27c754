"""Exit: the first process has ended. A fact, not a wish; the policies that follow are decided in the same breath."""

from collections.abc import Mapping

from domain.container import LIVE, Container, State
from domain.lifecycle.network import released
from domain.lifecycle.remove import RemoveRequested
from domain.lifecycle.start import StartRequested
from domain.machine import Move, Transition
from domain.messages import Command, Event, Recorded
from domain.policies.restart import STEADY_AFTER, next_delay

MAY_END = LIVE | {State.REMOVING, State.DEAD}
"""States in which the first process may end: what could not be removed may still have one that the kernel holds."""
_UNTIL_EXIT = ("stop-requested.v1", "kill-requested.v1", "pause-requested.v1", "unpause-requested.v1",
               "connect-requested.v1", "disconnect-requested.v1")


class ReportExit(Command):
    """The supervisor, or the recovery, has seen the end of run `attempt`; `time` in ns since the epoch."""

    attempt: int
    code: int
    signal: int = 0
    oom: bool = False
    how: str = "self"
    time: int = 0
    log_dropped: int = 0
    log_lost: int = 0


class Exited(Event, stored_as="exited.v1", settles_all=_UNTIL_EXIT):
    """The run is over. `code` as a shell shows it, -1 when nobody knows; `how`: self, signal, oom, reboot, unknown.

    `requested` is the position of the stop or kill that led here, 0 if nobody asked; `ended` the true time.
    `log_dropped` bytes of the container's output, of this run and earlier ones, had been deleted by rotation by then;
    `log_lost` of this run could not be stored at all (a full disk).
    """

    attempt: int
    code: int
    signal: int = 0
    oom: bool = False
    how: str = "self"
    ended: int = 0
    requested: int = 0
    log_dropped: int = 0
    log_lost: int = 0


class RestartScheduled(Event, stored_as="restart-scheduled.v1", intent=True):
    """The restart policy starts the container again after `delay` seconds; `attempt` is the run that ended."""

    attempt: int
    delay: float
    count: int


class RestartCancelled(Event, stored_as="restart-cancelled.v1", settles_all=("restart-scheduled.v1",)):
    """Somebody stopped the container while it waited for its restart."""


def _report(container: Container, command: ReportExit) -> tuple[Event, ...]:
    if command.attempt != container.attempt or container.state not in MAY_END:
        return ()
    if container.state not in LIVE and not container.pid:
        return ()
    exited = Exited(
        attempt=command.attempt,
        code=command.code,
        signal=command.signal,
        oom=command.oom,
        how=command.how,
        ended=command.time,
        requested=container.requested,
        log_dropped=command.log_dropped,
        log_lost=command.log_lost,
    )
    return (exited, *released(container), *_consequences(container, command))


def _consequences(container: Container, command: ReportExit) -> tuple[Event, ...]:
    if container.state not in LIVE:
        return ()
    if container.then_start:
        return (StartRequested(attempt=container.attempt + 1, by="restart"),)
    if container.settled.auto_remove:
        return (RemoveRequested(by="auto-remove"),)
    delay = next_delay(container, command.code, command.time)
    if delay is None:
        return ()
    return (RestartScheduled(attempt=container.attempt, delay=delay, count=container.restarts + 1),)


def _exited(container: Container, event: Exited, record: Recorded) -> Mapping[str, object]:
    ended = event.ended or record.time
    quick = ended - container.started_at < STEADY_AFTER
    return {
        "exit_code": event.code,
        "signal": event.signal,
        "oom": event.oom,
        "how": event.how,
        "finished_at": ended,
        "pid": 0,
        "start_time": 0,
        "streak": container.streak + 1 if quick else 0,
    }


def _after_exit(container: Container) -> State:
    return State.EXITED if container.state in LIVE else container.state


TRANSITION = Transition(
    decisions={ReportExit: _report},
    moves=(
        Move(Exited, MAY_END, _after_exit, _exited),
        Move(RestartScheduled, frozenset({State.EXITED}), State.RESTARTING),
        Move(RestartCancelled, frozenset({State.RESTARTING}), State.EXITED),
    ),
)
