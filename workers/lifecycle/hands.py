"""What an act may use: the ports, and two questions about the container that is being worked on."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from domain.container import Container
from domain.images.model import Image
from domain.messages import Recorded
from domain.ports.bus import Clock
from domain.ports.runtime import Runtime
from workers.leases import Leases


@dataclass(frozen=True, slots=True)
class Hands:
    """The answers to an act's questions.

    `ended(id, seconds)` waits until the end of the run is in the log and says whether it came in time (None: for ever).
    `execs_ended(id, seconds)` waits until the ends of all its other processes are in the log; of those that nobody
    reports in time it is written down that their status is unknown.
    `volumes(container)` makes its volumes ready. `layers(container)` gives the layer directories of its image.
    `image_of(container, intent)` makes the image of a commit in the image store; recording it is left to who stores the
    outcome. `leases` has what belongs to networks.
    """

    runtime: Runtime
    leases: Leases
    clock: Clock
    boot: str
    ended: Callable[[str, float | None], Awaitable[bool]]
    execs_ended: Callable[[str, float], Awaitable[None]]
    volumes: Callable[[Container], Awaitable[None]]
    layers: Callable[[Container], Awaitable[tuple[str, ...]]]
    image_of: Callable[[Container, Recorded], Awaitable[Image]]
