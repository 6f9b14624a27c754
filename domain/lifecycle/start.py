"""Start: run the first process of a container that is not running; every start is an attempt of its own."""

from collections.abc import Mapping

from domain.container import LIVE, Container, State
from domain.errors import Refused
from domain.lifecycle.absent import present
from domain.machine import Move, Transition
from domain.messages import Command, Event, Recorded

STARTABLE = frozenset({State.CREATED, State.EXITED, State.RESTARTING})


class Start(Command):
    """Run it; `size` is that of its terminal at first: rows and columns, zeros if nobody knows."""

    size: tuple[int, int] = (0, 0)


class StartScheduled(Command):
    """The waiting time of the restart policy is over; void when the container has moved on since `attempt`."""

    attempt: int


class StartRequested(Event, stored_as="start-requested.v1", intent=True, settles_all=("restart-scheduled.v1",)):
    """The run `attempt` is to begin; `by` is `user`, `restart` (the verb) or `policy`; `size` as in `Start`."""

    attempt: int
    by: str = "user"
    size: tuple[int, int] = (0, 0)


class Started(Event, stored_as="started.v1", settles=("start-requested.v1",)):
    """The first process was executed; (pid, start_time, boot) identify it. `adopted`: found running after a crash."""

    attempt: int
    pid: int
    start_time: int
    cgroup: str = ""
    boot: str = ""
    adopted: bool = False


class StartFailed(Event, stored_as="start-failed.v1", settles=("start-requested.v1",)):
    """Nothing runs and nothing of the attempt is left; `exit_code` is 125, 126 or 127 as the CLI shows it, `hint` says
    how to mend it."""

    attempt: int
    reason: str
    stage: str = ""
    errno: int = 0
    exit_code: int = 125
    hint: str = ""


class Adopted(Event, stored_as="adopted.v1"):
    """A new daemon has found the process alive and took it over; the container did not notice."""

    pid: int
    start_time: int
    boot: str = ""


class Adopt(Command):
    """The recovery has found the process of this run alive."""

    attempt: int
    pid: int
    start_time: int
    boot: str = ""


def begin(container: Container, by: str, size: tuple[int, int] = (0, 0)) -> tuple[Event, ...]:
    """The next attempt, or nothing when the container runs already. Raises: NotFound, Refused."""
    present(container)
    if container.state is State.PAUSED:
        raise Refused("cannot start a paused container, try unpause instead")
    if container.state in {State.STOPPING, State.DEAD}:
        raise Refused(f"cannot start container {container.short}: it is {container.state}")
    if container.state not in STARTABLE:
        return ()
    return (StartRequested(attempt=container.attempt + 1, by=by, size=size),)


def _start(container: Container, command: Start) -> tuple[Event, ...]:
    return begin(container, "user", command.size)


def _scheduled(container: Container, command: StartScheduled) -> tuple[Event, ...]:
    if container.state is not State.RESTARTING or container.attempt != command.attempt:
        return ()
    return (StartRequested(attempt=container.attempt + 1, by="policy"),)


def _adopt(container: Container, command: Adopt) -> tuple[Event, ...]:
    if container.attempt != command.attempt or container.pid != command.pid or container.state not in LIVE:
        return ()
    return (Adopted(pid=command.pid, start_time=command.start_time, boot=command.boot),)


def _requested(container: Container, event: StartRequested, record: Recorded) -> Mapping[str, object]:
    rest = State.EXITED if container.state is State.RESTARTING else container.state
    fresh = {} if event.by == "policy" else {"restarts": 0, "streak": 0}
    counted = {"restarts": container.restarts + 1} if event.by == "policy" else {}
    return {
        "attempt": event.attempt,
        "rest": rest,
        "error": "",
        "requested": 0,
        "manual": False,
        "then_start": False,
        "kills": 0,
        **fresh,
        **counted,
    }


def _started(container: Container, event: Started, record: Recorded) -> Mapping[str, object]:
    return {
        "pid": event.pid,
        "start_time": event.start_time,
        "cgroup": event.cgroup,
        "boot": event.boot,
        "started_at": record.time,
        "exit_code": 0,
        "signal": 0,
        "oom": False,
        "how": "",
        "health": "starting" if container.settled.health is not None else "",
        "health_streak": 0,
    }


def _failed(container: Container, event: StartFailed, record: Recorded) -> Mapping[str, object]:
    return {"error": event.reason, "exit_code": event.exit_code, "pid": 0}


def _rest(container: Container) -> State:
    return container.rest


TRANSITION = Transition(
    decisions={Start: _start, StartScheduled: _scheduled, Adopt: _adopt},
    moves=(
        Move(StartRequested, STARTABLE, State.STARTING, _requested),
        Move(Started, frozenset({State.STARTING}), State.RUNNING, _started),
        Move(StartFailed, frozenset({State.STARTING}), _rest, _failed),
        Move(Adopted, LIVE, None),
    ),
)
