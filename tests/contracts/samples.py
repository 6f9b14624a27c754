"""A small world for the tests of event stores: doors that have a name, are asked to close, and are torn down."""

from dataclasses import dataclass, field

from pydantic import Field

from domain.messages import Actor, Append, Event, Meta, Recorded, StreamId
from domain.projections.fold import Column, Projection, Row

DOOR = StreamId("container", "a" * 64)
GATE = StreamId("container", "b" * 64)
IMAGE = StreamId("image", "sha256:" + "c" * 64)

META = Meta(
    actor=Actor(via="socket", user="ada", uid=1000, gid=1000, pid=7, command="lading run", host="mill"),
    command_id="", cause=0, correlation=3, boot="boot-1", version="0.1",
)  # fmt: skip


class Built(Event, stored_as="test-built.v1", sealed=("code", "notes")):
    """A door exists; its code is secret."""

    name: str
    code: tuple[str, ...] = ()
    notes: dict[str, str] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)


class Named(Event, stored_as="test-named.v1"):
    """Another name from now on."""

    name: str


class CloseAsked(Event, stored_as="test-close-asked.v1", intent=True):
    """Somebody has to close it."""

    hurry: bool = False


class PaintAsked(Event, stored_as="test-paint-asked.v1", intent=True):
    """Somebody has to paint it."""


class Closed(Event, stored_as="test-closed.v1", settles=("test-close-asked.v1",)):
    """It is closed."""


class Burnt(
    Event,
    stored_as="test-burnt.v1",
    settles=("test-close-asked.v1",),
    settles_all=("test-paint-asked.v1",),
):
    """One who was asked to close it has failed, and painting is pointless."""


class Torn(
    Event,
    stored_as="test-torn.v1",
    settles_all=("test-close-asked.v1", "test-paint-asked.v1"),
    drops_key=True,
):
    """It is gone."""


class Noted(Event, stored_as="test-noted.v1"):
    """Something to be written down, of any size."""

    text: str = ""
    number: int = 0


@dataclass
class Doors:
    """Key: stream key; no two doors have one name."""

    name: str = "doors"
    inline: bool = True
    revision: int = 1
    columns: tuple[Column, ...] = field(default=(
        Column("id", "text"),
        Column("name", "text", unique=True),
        Column("state", "text", indexed=True),
        Column("tags", "json"),
        Column("asked", "integer"),
        Column("code", "json"),
        Column("since", "integer"),
    ))  # fmt: skip

    def keys(self, record: Recorded) -> tuple[str, ...]:
        """Every event of a container's stream."""
        return (record.stream.key,) if record.stream.kind == "container" else ()

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """The row after the event."""
        event = record.event
        if isinstance(event, Built):
            return {"id": key, "name": event.name, "state": "open", "tags": event.tags, "asked": 0,
                    "code": list(event.code), "since": record.time}  # fmt: skip
        if row is None or (changes := self.changes(row, record)) is None:
            return None
        return {**row, **changes}

    def changes(self, row: Row, record: Recorded) -> Row | None:
        """What the event changes in the row, if it stays."""
        match record.event:
            case Built() | Torn():
                return None
            case Named(name=name):
                return {"name": name or None}
            case CloseAsked():
                return {"asked": int(str(row["asked"])) + 1}
            case Closed():
                return {"state": "closed"}
            case Burnt():
                return {"state": "burnt"}
        return {}


class Whole(Doors):
    """The same rows, of which it does not say what an event changes in them."""

    changes = None  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__("whole")

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """The row after the event."""
        return Doors().fold(row, record, key)


class Past(Doors):
    """The same rows with all their past."""

    def __init__(self, name: str = "door_past", *, inline: bool = False) -> None:
        super().__init__(name, inline)
        self.columns = (Column("id", "text"), Column("name", "text"), Column("state", "text"))
        self.temporal = True

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """Name and state only."""
        after = super().fold(row and {"asked": 0, "tags": {}, **row}, record, key)
        return after and {name: after[name] for name in ("id", "name", "state")}


def projections() -> tuple[Projection, ...]:
    """A plain one that is written with the events, and a temporal one that follows."""
    return Doors(), Past()


def append(stream: StreamId, expected: int, *events: Event) -> tuple[Append, ...]:
    """A batch of one."""
    return (Append(stream, expected, events),)


def door(number: int) -> StreamId:
    """One of many streams."""
    return StreamId("container", f"{number:064x}")
