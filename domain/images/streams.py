"""The folds of an image's and of a reference's stream, and what may be appended to them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from domain.errors import Conflict, IllegalTransition
from domain.images.events import (
    ImageCached,
    ImageRegistered,
    ImageRemoved,
    ImageRemoveRequested,
    Pulled,
    PullFailed,
    PullRequested,
    Pushed,
    PushFailed,
    PushRequested,
    Tagged,
    Untagged,
)
from domain.images.model import Image
from domain.machine import settled_by
from domain.messages import Append, Event, Recorded, StreamId

_NOTHING: Mapping[int, str] = MappingProxyType({})
State = Literal["absent", "present", "removing", "held"]
"""`held`: there for nobody to name, while containers made from it, or the cache of builds, keep the layers."""


@dataclass(frozen=True, slots=True)
class ImageStream:
    """One image: `request` is the position of the open wish to remove it."""

    id: str
    version: int = 0
    state: State = "absent"
    image: Image | None = None
    request: int = 0

    @property
    def stream(self) -> StreamId:
        """Where its events are."""
        return StreamId("image", self.id)

    def append(self, *events: Event) -> Append:
        """Valid only while nobody else has appended."""
        return Append(self.stream, self.version, events)


@dataclass(frozen=True, slots=True)
class RefStream:
    """One reference and the image it names (empty: none); `open` are the pulls and pushes that have no outcome yet,
    by their positions."""

    key: str
    version: int = 0
    image_id: str = ""
    open: Mapping[int, str] = field(default_factory=lambda: _NOTHING)

    @property
    def stream(self) -> StreamId:
        """Where its events are."""
        return StreamId("ref", self.key)


def fold_image(id: str, records: Sequence[Recorded]) -> ImageStream:
    """The image after its events. Raises: IllegalTransition."""
    image = ImageStream(id)
    for record in records:
        image = replace(_image_after(image, record), version=record.version)
    return image


def _image_after(image: ImageStream, record: Recorded) -> ImageStream:
    match record.event:
        case ImageRegistered() as event if image.state in ("absent", "held"):
            return replace(image, state="present", image=event.image, request=0)
        case ImageCached() as event if image.state == "absent":
            return replace(image, state="held", image=event.image, request=0)
        case ImageRemoveRequested() if image.state in ("present", "held"):
            return replace(image, state="removing", request=record.position)
        case ImageRemoved(held=held) if image.state == "removing":
            return replace(image, state="held" if held else "absent", request=0)
        case _:
            raise IllegalTransition(f"{record.stream}: {record.event.stored_as} while {image.state}")


def fold_ref(key: str, records: Sequence[Recorded]) -> RefStream:
    """The reference after its events. Raises: IllegalTransition."""
    ref = RefStream(key)
    for record in records:
        match record.event:
            case Tagged(image_id=image_id) if image_id != ref.image_id:
                ref = replace(ref, version=record.version, image_id=image_id)
            case Untagged() if ref.image_id:
                ref = replace(ref, version=record.version, image_id="")
            case PullRequested() | PushRequested():
                opened = {**ref.open, record.position: record.event.stored_as}
                ref = replace(ref, version=record.version, open=opened)
            case Pulled() | PullFailed() | Pushed() | PushFailed():  # what it names is told by itself
                ended = settled_by(ref.open, record.event, record.meta.cause)
                left = {position: kind for position, kind in ref.open.items() if position not in ended}
                ref = replace(ref, version=record.version, open=left)
            case _:
                named = ref.image_id or "nothing"
                raise IllegalTransition(f"{record.stream}: {record.event.stored_as} while it names {named}")
    return ref


def register(current: ImageStream, event: ImageRegistered) -> tuple[Append, ...]:
    """What makes the image known; nothing when it is. Raises: Conflict while it is being removed."""
    if current.state == "removing":
        raise Conflict(f"image {current.id} is being removed at the moment")
    return () if current.state == "present" else (current.append(event),)


def note(ref: RefStream, event: Event) -> Append:
    """What writes down that something is being done, or was not, with what the reference names."""
    return Append(ref.stream, ref.version, (event,))


def failed(ref: RefStream, event: PullFailed | PushFailed, request: int) -> tuple[Append, ...]:
    """What says that the pull or push of that position came to nothing; nothing when it has an outcome."""
    return (note(ref, event),) if request in ref.open else ()


def pulled(ref: RefStream, event: Pulled) -> Append:
    """What makes the reference name what was pulled, together with the news of it."""
    moves = (Tagged(image_id=event.image_id, previous=ref.image_id),) if ref.image_id != event.image_id else ()
    return Append(ref.stream, ref.version, (event, *moves))


def cache(current: ImageStream, event: ImageCached) -> tuple[Append, ...]:
    """What keeps the image for builds to come; nothing when it is known. Raises: Conflict while it is being removed."""
    if current.state == "removing":
        raise Conflict(f"image {current.id} is being removed at the moment")
    return (current.append(event),) if current.state == "absent" else ()


def point(ref: RefStream, image_id: str) -> tuple[Append, ...]:
    """What makes the reference name the image; nothing when it does."""
    if ref.image_id == image_id:
        return ()
    return (Append(ref.stream, ref.version, (Tagged(image_id=image_id, previous=ref.image_id),)),)


def drop(ref: RefStream) -> tuple[Append, ...]:
    """What makes the reference name nothing; nothing when it does not."""
    return (Append(ref.stream, ref.version, (Untagged(image_id=ref.image_id),)),) if ref.image_id else ()
