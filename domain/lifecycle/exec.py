"""Exec: one more process in a running container. The container's own state does not change by it.

Request, start and end of the process are events of the container's stream; who asked is in the first of them. A process
that ends before its start was recorded gives both events at once, so the start is never missing in the history.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from domain.container import Container, Execution, State
from domain.errors import Refused
from domain.lifecycle.absent import present
from domain.machine import Move, Transition
from domain.messages import Command, Event, Recorded
from domain.spec import ExecSpec

EXECUTABLE = frozenset({State.RUNNING, State.STOPPING})
"""Who looks why a container does not stop may want a shell in it: as long as it runs, commands are executed."""

EXISTS = frozenset(State) - {State.ABSENT, State.REMOVED}


class Exec(Command):
    """Execute `exec` as `exec_id` (64 hex digits); `env` holds its own `NAME=value` items, `size` rows and columns."""

    exec_id: str
    exec: ExecSpec
    env: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)


class ReportExecExit(Command):
    """The supervisor, or the recovery, has seen the end of a process; `time` in ns since the epoch."""

    exec_id: str
    pid: int
    start_time: int
    code: int
    signal: int = 0
    how: str = "self"
    time: int = 0


class ExecRequested(Event, stored_as="exec-requested.v1", intent=True, sealed=("env",)):
    """A command is to be executed in the run `attempt`; its own environment can be read until the container is removed.

    `size` are the rows and columns of its terminal at first, zeros if nobody knows. `by` is `user`.
    """

    exec_id: str
    exec: ExecSpec
    attempt: int
    env: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)
    by: str = "user"


class ExecStarted(Event, stored_as="exec-started.v1", settles=("exec-requested.v1",)):
    """The command was executed; (pid, start_time) and the boot of the event identify the process."""

    exec_id: str
    pid: int
    start_time: int


class ExecFailed(Event, stored_as="exec-failed.v1", settles=("exec-requested.v1",)):
    """Nothing of the command runs; `exit_code` is 125, 126 or 127 as the CLI shows it."""

    exec_id: str
    reason: str
    exit_code: int = 125


class ExecExited(Event, stored_as="exec-exited.v1"):
    """The process has ended. `code` as a shell shows it; `how`: self, signal, oom, reboot, unknown; `ended` the true
    time."""

    exec_id: str
    code: int
    signal: int = 0
    how: str = "self"
    ended: int = 0


def _exec(container: Container, command: Exec) -> tuple[Event, ...]:
    present(container)
    if container.state is State.PAUSED:
        raise Refused(f"Container {container.name} is paused, unpause the container before exec")
    if container.state is State.RESTARTING:
        raise Refused(f"Container {container.id} is restarting, wait until the container is running")
    if container.state not in EXECUTABLE:
        raise Refused(f"container {container.id} is not running")
    return (ExecRequested(attempt=container.attempt, **dict(command)),)


def _report(container: Container, command: ReportExecExit) -> tuple[Event, ...]:
    execution = container.execs.get(command.exec_id)
    if execution is None:
        return ()
    begun = ExecStarted(exec_id=command.exec_id, pid=command.pid, start_time=command.start_time)
    ended = ExecExited(
        exec_id=command.exec_id, code=command.code, signal=command.signal, how=command.how, ended=command.time
    )
    return (ended,) if execution.pid else (begun, ended)


def _requested(container: Container, event: ExecRequested, record: Recorded) -> Mapping[str, object]:
    execution = Execution(spec=event.exec, attempt=event.attempt, requested=record.position)
    return {"execs": {**container.execs, event.exec_id: execution}}


def _started(container: Container, event: ExecStarted, record: Recorded) -> Mapping[str, object]:
    execution = container.execs.get(event.exec_id)
    if execution is None:
        return {}
    started = replace(execution, pid=event.pid, start_time=event.start_time, started_at=record.time)
    return {"execs": {**container.execs, event.exec_id: started}}


def _over(container: Container, event: Any, record: Recorded) -> Mapping[str, object]:
    return {"execs": {id: execution for id, execution in container.execs.items() if id != event.exec_id}}


TRANSITION = Transition(
    decisions={Exec: _exec, ReportExecExit: _report},
    moves=(
        Move(ExecRequested, EXECUTABLE, None, _requested),
        Move(ExecStarted, EXISTS, None, _started),
        Move(ExecFailed, EXISTS, None, _over),
        Move(ExecExited, EXISTS, None, _over),
    ),
)
