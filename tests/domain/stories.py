"""Streams of containers for tests: events one after the other, each a second later."""

from dataclasses import dataclass, field

from domain.lifecycle.create import Created
from domain.messages import Actor, Event, Meta, Recorded, StreamId
from domain.spec import ContainerSpec

ID = "1" * 64
SECOND = 1_000_000_000
ANN = Actor(via="socket", user="ann", uid=1000, gid=1000, pid=77, command="lading …", host="here")
ENGINE = Actor()


@dataclass
class Story:
    """One stream; `tell` adds an event and gives its position."""

    name: str = "web"
    spec: ContainerSpec = field(
        default_factory=lambda: ContainerSpec(image="alpine", image_id="sha256:a", command=("sh",))
    )
    env: tuple[str, ...] = ("TOKEN=hunter2",)
    records: list[Recorded] = field(default_factory=list)
    now: int = 1_764_087_362 * SECOND

    def __post_init__(self) -> None:
        self.tell(Created(name=self.name, spec=self.spec, env=self.env))

    def tell(self, event: Event, actor: Actor = ANN, cause: int = 0) -> int:
        """One more event."""
        self.now += SECOND
        place = len(self.records) + 1
        stream = StreamId("container", ID)
        self.records.append(Recorded(place, stream, place, self.now, event, Meta(actor=actor, cause=cause)))
        return place
