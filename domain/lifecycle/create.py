"""Create: write down what is to run. No process, directory or cgroup exists for a container that was only created."""

from collections.abc import Mapping

from domain.container import Container, State
from domain.errors import Refused
from domain.machine import Move, Transition
from domain.messages import Command, Event, Recorded
from domain.spec import ContainerSpec


class Create(Command):
    """A new container; `env` holds `NAME=value` items in order."""

    name: str
    spec: ContainerSpec
    env: tuple[str, ...] = ()


class Created(Event, stored_as="created.v1", sealed=("env",)):
    """The container exists; its environment can be read until it is removed."""

    name: str
    spec: ContainerSpec
    env: tuple[str, ...] = ()


def _create(container: Container, command: Create) -> tuple[Event, ...]:
    if container.state is not State.ABSENT:
        raise Refused(f"container {container.short} exists already")
    return (Created(name=command.name, spec=command.spec, env=command.env),)


def _created(container: Container, event: Created, record: Recorded) -> Mapping[str, object]:
    return {"name": event.name, "spec": event.spec, "env": event.env, "created_at": record.time,
            "attachments": event.spec.net.attachments}


TRANSITION = Transition(
    decisions={Create: _create},
    moves=(Move(Created, frozenset({State.ABSENT}), State.CREATED, _created),),
)
