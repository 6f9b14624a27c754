"""What every wish but create checks first."""

from domain.container import Container, State
from domain.errors import NotFound, Refused


def present(container: Container) -> None:
    """Raises: NotFound when the container never existed or is removed, Refused while it is being removed."""
    if container.state in {State.ABSENT, State.REMOVED}:
        raise NotFound(f"No such container: {container.name or container.short}")
    if container.state is State.REMOVING:
        raise Refused(f"removal of container {container.name} is already in progress")


def running(container: Container, verb: str) -> None:
    """Raises: Refused unless the first process exists; `verb` is what was wished."""
    present(container)
    if container.state is State.RESTARTING:
        raise Refused(f"Container {container.id} is restarting, wait until the container is running")
    if container.state in {State.CREATED, State.EXITED, State.DEAD, State.STARTING, State.REMOVING}:
        raise Refused(f"cannot {verb} container: {container.name}: container {container.id} is not running")
