"""Commands, events, and the hand-written names under which events are stored.

A stored event is a row of JSON; its name ends in `.vN` and is never reused for another shape. Additive changes get a
default and keep N; anything else gets a new N and an upcaster (`domain.upcasters`).
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

StreamKind = Literal["container", "image", "ref", "network", "volume", "host", "build", "cache", "access"]


class Command(BaseModel):
    """An imperative that may be refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Event(BaseModel):
    """A fact in the past tense.

    `intent`: a worker has to act on it; it stays in `open_intents` until an outcome settles it.
    `settles`: stored names of intents that this event ends in its stream. With `meta.cause` set to the position of an
    open intent of one of these names only that one is ended, except for names in `settles_all`, which all end.
    `sealed`: fields whose value is stored encrypted under the stream's key, and lost when that key is dropped.
    `drops_key`: after this event the stream's sealed values can no longer be read.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    stored_as: ClassVar[str] = ""
    intent: ClassVar[bool] = False
    settles: ClassVar[tuple[str, ...]] = ()
    settles_all: ClassVar[tuple[str, ...]] = ()
    sealed: ClassVar[tuple[str, ...]] = ()
    drops_key: ClassVar[bool] = False

    def __init_subclass__(
        cls,
        *,
        stored_as: str = "",
        intent: bool = False,
        settles: tuple[str, ...] = (),
        settles_all: tuple[str, ...] = (),
        sealed: tuple[str, ...] = (),
        drops_key: bool = False,
    ) -> None:
        super().__init_subclass__()
        cls.stored_as, cls.intent, cls.settles, cls.settles_all = stored_as, intent, settles, settles_all
        cls.sealed, cls.drops_key = sealed, drops_key
        if stored_as:
            if stored_as in _EVENTS:
                raise TypeError(f"two events are stored as {stored_as}")
            _EVENTS[stored_as] = cls


_EVENTS: dict[str, type[Event]] = {}


def event_type(stored_as: str) -> type[Event] | None:
    """The class behind a stored name, or None for a name of a newer version."""
    return _EVENTS.get(stored_as)


def event_types() -> dict[str, type[Event]]:
    """All known stored names; complete once `domain.catalogue` is imported."""
    return dict(_EVENTS)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked, as the system proved it.

    `via` is `socket` (kernel credentials), `nats` (a NATS user) or `engine` (a policy or the recovery). `command` is
    the command line with secret values masked.
    """

    via: str = "engine"
    user: str = ""
    uid: int = -1
    gid: int = -1
    pid: int = 0
    command: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Meta:
    """What is known about an event besides its fact.

    `command_id` identifies the request (idempotent retries), `cause` is the position of the event that led here (0 for
    none), `correlation` the first position of the whole story. `boot` is the boot id, `version` that of the engine.
    """

    actor: Actor = field(default_factory=Actor)
    command_id: str = ""
    cause: int = 0
    correlation: int = 0
    boot: str = ""
    version: str = ""


class StreamId(NamedTuple):
    """One stream: all that happened to one object; written `kind/key`. A tuple, for it is looked up all the time."""

    kind: StreamKind
    key: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.key}"


@dataclass(slots=True)
class Recorded:
    """A stored event: `position` in the whole log (from 1, no gaps), `version` in its stream (from 1), `time` in
    nanoseconds since the epoch, strictly increasing with the position. Nobody changes one; it is not frozen because
    a rebuild makes millions, and that would take three times as long."""

    position: int
    stream: StreamId
    version: int
    time: int
    event: Event
    meta: Meta


@dataclass(frozen=True, slots=True)
class Append:
    """Events for one stream, valid only while the stream is at `expected` (0: the stream does not exist; None: wherever
    it is, for facts that depend on none before)."""

    stream: StreamId
    expected: int | None
    events: tuple[Event, ...]
