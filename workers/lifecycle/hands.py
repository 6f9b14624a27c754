"""What an act may use: the ports, and two questions about the container that is being worked on."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from domain.container import Container
from domain.messages import Event, Recorded
from domain.ports import Clock, Runtime


@dataclass(frozen=True, slots=True)
class Hands:
    """`ended(id, seconds)` waits until the end of the run is in the log and says whether it came in time (None: for
    ever). `layers(container)` gives the layer directories of its image. `committing` makes an image and gives back its
    outcome event; it is the image store's half of a commit."""

    runtime: Runtime
    clock: Clock
    boot: str
    ended: Callable[[str, float | None], Awaitable[bool]]
    layers: Callable[[Container], Awaitable[tuple[str, ...]]]
    committing: Callable[[Container, Recorded], Awaitable[Event]]
