"""The folds of a build's stream and of a cache entry's, and what may be appended to them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from domain.build.events import (
    BuildCancelled,
    BuildFailed,
    BuildFinished,
    BuildRequested,
    CacheDropped,
    CacheStored,
    CacheUsed,
    ContextReceived,
    StepDone,
    StepFailed,
    StepStarted,
)
from domain.errors import IllegalTransition
from domain.messages import Append, Event, Recorded, StreamId

State = Literal["absent", "running", "finished", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Build:
    """One build: `request` is the position of the wish, `steps` how many there are, `done` those that have ended."""

    id: str
    version: int = 0
    state: State = "absent"
    request: int = 0
    steps: int = 0
    done: frozenset[int] = frozenset()

    @property
    def stream(self) -> StreamId:
        """Where its events are."""
        return StreamId("build", self.id)

    def append(self, *events: Event) -> Append:
        """Valid only while nobody else has appended."""
        return Append(self.stream, self.version, events)

    def after(self, record: Recorded) -> "Build":
        """Raises: IllegalTransition."""
        return replace(_after(self, record), version=record.version)


def fold(id: str, records: Sequence[Recorded]) -> Build:
    """The build after its events. Raises: IllegalTransition."""
    build = Build(id)
    for record in records:
        build = build.after(record)
    return build


def _after(build: Build, record: Recorded) -> Build:
    match record.event:
        case BuildRequested(steps=steps) if build.state == "absent":
            return replace(build, state="running", request=record.position, steps=steps)
        case ContextReceived() | StepStarted() | StepFailed() if build.state == "running":
            return build
        case StepDone(number=number) if build.state == "running" and number not in build.done:
            return replace(build, done=build.done | {number})
        case BuildFinished() if build.state == "running":
            return replace(build, state="finished")
        case BuildFailed() if build.state == "running":
            return replace(build, state="failed")
        case BuildCancelled() if build.state == "running":
            return replace(build, state="cancelled")
        case _:
            raise IllegalTransition(f"{record.stream}: {record.event.stored_as} while {build.state}")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept under one key: an image, or nothing."""

    key: str
    version: int = 0
    image_id: str = ""
    size: int = 0

    @property
    def stream(self) -> StreamId:
        """Where its events are."""
        return StreamId("cache", self.key)

    def append(self, *events: Event) -> Append:
        """Valid only while nobody else has appended."""
        return Append(self.stream, self.version, events)


def fold_entry(key: str, records: Sequence[Recorded]) -> Entry:
    """The entry after its events. Raises: IllegalTransition."""
    entry = Entry(key)
    for record in records:
        match record.event:
            case CacheStored(image_id=image_id, size=size):
                entry = Entry(key, record.version, image_id, size)
            case CacheUsed() if entry.image_id:
                entry = replace(entry, version=record.version)
            case CacheDropped() if entry.image_id:
                entry = Entry(key, record.version)
            case _:
                raise IllegalTransition(f"{record.stream}: {record.event.stored_as} while it holds nothing")
    return entry
