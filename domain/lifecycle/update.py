"""Update: another restart policy, and other limits, for the same container.

A policy is decided and done at once, also while the container runs or waits. Limits are, too, for one that rests; those
of a container that lives have to be written into its control groups: that is an intent with an outcome. The spec says
what is wanted from the request on; a kernel that refuses it brings back what was before.
"""

from collections.abc import Mapping
from dataclasses import replace

from pydantic import Field

from domain.container import LIVE, Container, State
from domain.errors import Refused
from domain.lifecycle.absent import present
from domain.lifecycle.exit import RestartCancelled
from domain.limits import changed
from domain.machine import Move, Transition
from domain.messages import Command, Event, Recorded
from domain.policies.restart import next_delay
from domain.resources import Resources
from domain.spec import ContainerSpec, RestartPolicy

UPDATABLE = frozenset(State) - {State.ABSENT, State.REMOVING, State.REMOVED, State.DEAD}
SETTLED = frozenset(State) - {State.ABSENT, State.REMOVED}
"""States in which the kernel's answer may come."""


class Update(Command):
    """From now on `restart` says when it is started again (None: as before); `limits` maps names of limits that can be
    changed (`domain.limits.LIVE`) to their new values."""

    restart: RestartPolicy | None = None
    limits: dict[str, int | str] = Field(default_factory=dict)


class Updated(Event, stored_as="updated.v1"):
    """The policy `restart` holds from now on; `old` is the one before."""

    restart: RestartPolicy
    old: RestartPolicy


class LimitsRequested(Event, stored_as="limits-requested.v1", intent=True):
    """The limits of a container that lives are to become `limits`; `before` are those up to now."""

    limits: Resources
    before: Resources


class LimitsChanged(Event, stored_as="limits-changed.v1", settles=("limits-requested.v1",)):
    """The limits are `limits` now, they were `before`; for a container that rests they hold from its next start on."""

    limits: Resources
    before: Resources


class LimitsFailed(Event, stored_as="limits-failed.v1", settles=("limits-requested.v1",)):
    """The kernel has refused `limits`: those of `before` go on."""

    limits: Resources
    before: Resources
    reason: str


def under_way(container: Container) -> bool:
    """Whether the kernel is still being told of other limits: what was before is only known afterwards."""
    return LimitsRequested.stored_as in container.open.values()


def _update(container: Container, command: Update) -> tuple[Event, ...]:
    present(container)
    if container.state is State.DEAD:
        raise Refused(f"cannot update container {container.name}: it is {container.state}")
    return (*_policy(container, command.restart), *_limits(container, command.limits))


def _policy(container: Container, policy: RestartPolicy | None) -> tuple[Event, ...]:
    spec = container.settled
    if policy is None or policy == spec.restart:
        return ()
    if spec.auto_remove and policy.name != "no":
        raise Refused("Restart policy cannot be updated because AutoRemove is enabled for the container")
    updated = Updated(restart=policy, old=spec.restart)
    return (updated, RestartCancelled()) if _waits_in_vain(container, policy) else (updated,)


def _limits(container: Container, changes: Mapping[str, int | str]) -> tuple[Event, ...]:
    old = container.settled.limits
    new = changed(old, changes) if changes else old
    if new == old:
        return ()
    if container.state in LIVE:
        return (LimitsRequested(limits=new, before=old),)
    return (LimitsChanged(limits=new, before=old),)


def _waits_in_vain(container: Container, policy: RestartPolicy) -> bool:
    """Whether it waits for a start that the new policy does not want."""
    changed = replace(container, spec=_with(container.settled, policy))
    waits = container.state is State.RESTARTING
    return waits and next_delay(changed, container.exit_code, container.finished_at) is None


def _with(spec: ContainerSpec, restart: RestartPolicy) -> ContainerSpec:
    return spec.model_copy(update={"restart": restart})


def _updated(container: Container, event: Updated, record: Recorded) -> Mapping[str, object]:
    return {"spec": _with(container.settled, event.restart)}


def _wanted(container: Container, event: LimitsRequested | LimitsChanged, record: Recorded) -> Mapping[str, object]:
    return {"spec": container.settled.model_copy(update={"resources": event.limits})}


def _refused(container: Container, event: LimitsFailed, record: Recorded) -> Mapping[str, object]:
    if container.settled.limits != event.limits:
        return {}  # another update has come meanwhile
    return {"spec": container.settled.model_copy(update={"resources": event.before})}


TRANSITION = Transition(
    decisions={Update: _update},
    moves=(
        Move(Updated, UPDATABLE, None, _updated),
        Move(LimitsRequested, LIVE, None, _wanted),
        Move(LimitsChanged, SETTLED, None, _wanted),
        Move(LimitsFailed, SETTLED, None, _refused),
    ),
)
