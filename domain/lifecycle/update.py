"""Update: another restart policy for the same container; decided and done at once, also while it runs or waits."""

from collections.abc import Mapping
from dataclasses import replace

from domain.container import Container, State
from domain.errors import Refused
from domain.lifecycle.absent import present
from domain.lifecycle.exit import RestartCancelled
from domain.machine import Move, Transition
from domain.messages import Command, Event, Recorded
from domain.policies.restart import next_delay
from domain.spec import ContainerSpec, RestartPolicy

UPDATABLE = frozenset(State) - {State.ABSENT, State.REMOVING, State.REMOVED, State.DEAD}


class Update(Command):
    """From now on `restart` says when it is started again."""

    restart: RestartPolicy


class Updated(Event, stored_as="updated.v1"):
    """The policy `restart` holds from now on; `old` is the one before."""

    restart: RestartPolicy
    old: RestartPolicy


def _update(container: Container, command: Update) -> tuple[Event, ...]:
    present(container)
    if container.state is State.DEAD:
        raise Refused(f"cannot update container {container.name}: it is {container.state}")
    spec = container.settled
    if spec.auto_remove and command.restart.name != "no":
        raise Refused("Restart policy cannot be updated because AutoRemove is enabled for the container")
    if command.restart == spec.restart:
        return ()
    updated = Updated(restart=command.restart, old=spec.restart)
    return (updated, RestartCancelled()) if _waits_in_vain(container, command) else (updated,)


def _waits_in_vain(container: Container, command: Update) -> bool:
    """Whether it waits for a start that the new policy does not want."""
    changed = replace(container, spec=_with(container.settled, command.restart))
    waits = container.state is State.RESTARTING
    return waits and next_delay(changed, container.exit_code, container.finished_at) is None


def _with(spec: ContainerSpec, restart: RestartPolicy) -> ContainerSpec:
    return spec.model_copy(update={"restart": restart})


def _updated(container: Container, event: Updated, record: Recorded) -> Mapping[str, object]:
    return {"spec": _with(container.settled, event.restart)}


TRANSITION = Transition(decisions={Update: _update}, moves=(Move(Updated, UPDATABLE, None, _updated),))
