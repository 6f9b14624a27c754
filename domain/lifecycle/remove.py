"""Remove: every trace of the container goes away except its history."""

from collections.abc import Mapping

from domain.container import LIVE, RESTING, Container, State
from domain.errors import Refused
from domain.lifecycle.absent import present
from domain.machine import Move, Transition
from domain.messages import Command, Event, Recorded

_ALL_INTENTS = (
    "start-requested.v1",
    "stop-requested.v1",
    "kill-requested.v1",
    "pause-requested.v1",
    "unpause-requested.v1",
    "commit-requested.v1",
    "exec-requested.v1",
    "limits-requested.v1",
    "connect-requested.v1",
    "disconnect-requested.v1",
    "remove-requested.v1",
    "restart-scheduled.v1",
)


class Remove(Command):
    """Take it away; `force` kills what runs, `volumes` takes along those that were made for it alone."""

    force: bool = False
    volumes: bool = False


class RemoveRequested(Event, stored_as="remove-requested.v1", intent=True, settles_all=("restart-scheduled.v1",)):
    """The container is to vanish; `by` is `user`, or `auto-remove` for `--rm`; `volumes`: with those that
    nobody has named."""

    force: bool = False
    by: str = "user"
    volumes: bool = False


class Removed(Event, stored_as="removed.v1", settles_all=_ALL_INTENTS, drops_key=True):
    """No process, mount, cgroup or directory of the container is left; `let_go` are the addresses (`network/address`)
    that were kept for it."""

    let_go: tuple[str, ...] = ()


class RemoveFailed(Event, stored_as="remove-failed.v1", settles=("remove-requested.v1",)):
    """Something could not be taken away; it is tried again at the next start of the engine or by `rm`."""

    residue: str


def _remove(container: Container, command: Remove) -> tuple[Event, ...]:
    present(container)
    if container.state is State.STARTING:
        raise Refused(f"cannot remove container {container.name}: it is starting")
    if container.state in RESTING or command.force:
        return (RemoveRequested(force=command.force, volumes=command.volumes),)
    state = "paused" if container.state is State.PAUSED else "running"
    mend = (
        "unpause and then stop the container before removing or force remove"
        if state == "paused"
        else "stop the container before removing or force remove"
    )
    if container.state is State.RESTARTING:
        state = "restarting"
    raise Refused(f'cannot remove container "{container.name}": container is {state}: {mend}')


def _requested(container: Container, event: RemoveRequested, record: Recorded) -> Mapping[str, object]:
    takes = {"takes_volumes": event.volumes or event.by == "auto-remove"}
    if event.force and container.state in LIVE:
        return {**takes, "requested": record.position, "manual": True, "then_start": False}
    return takes


def _removed(container: Container, event: Removed, record: Recorded) -> Mapping[str, object]:
    return {"pid": 0, "env": (), "execs": {}}


def _failed(container: Container, event: RemoveFailed, record: Recorded) -> Mapping[str, object]:
    return {"error": event.residue}


TRANSITION = Transition(
    decisions={Remove: _remove},
    moves=(
        Move(RemoveRequested, RESTING | LIVE | {State.RESTARTING}, State.REMOVING, _requested),
        Move(Removed, frozenset({State.REMOVING}), State.REMOVED, _removed),
        Move(RemoveFailed, frozenset({State.REMOVING}), State.DEAD, _failed),
    ),
)
