"""The fold of a volume's stream, and what may be appended to it. Pure.

    absent ── created ──▶ present ── remove requested ──▶ removing ── removed ──▶ absent
                             ▲ │ claimed, released             │ failed
                             └─┘                               ▼
                                                             broken ── remove requested ──▶ removing
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from domain.errors import IllegalTransition, InUse, NotFound, Refused
from domain.messages import Append, Event, Recorded, StreamId
from domain.volumes.events import (
    How,
    VolumeClaimed,
    VolumeCreated,
    VolumeReleased,
    VolumeRemoved,
    VolumeRemoveFailed,
    VolumeRemoveRequested,
)

State = Literal["absent", "present", "removing", "broken"]
_NOBODY: Mapping[str, VolumeClaimed] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume: `claims` by the ids of the containers that use it, `request` the position of the open wish to remove
    it, `created_at` in ns. `residue` is what could not be deleted. `made` says how it was created, None if it is not
    there."""

    name: str
    version: int = 0
    state: State = "absent"
    made: VolumeCreated | None = None
    created_at: int = 0
    claims: Mapping[str, VolumeClaimed] = field(default_factory=lambda: _NOBODY)
    request: int = 0
    residue: str = ""

    @property
    def stream(self) -> StreamId:
        """Where its events are."""
        return StreamId("volume", self.name)

    def append(self, *events: Event) -> Append:
        """Valid only while nobody else has appended."""
        return Append(self.stream, self.version, events)


def fold(name: str, records: Sequence[Recorded]) -> Volume:
    """The volume after its events. Raises: IllegalTransition."""
    volume = Volume(name)
    for record in records:
        volume = evolve(volume, record)
    return volume


def evolve(volume: Volume, record: Recorded) -> Volume:
    """The volume after one more event. Raises: IllegalTransition."""
    return replace(_after(volume, record), version=record.version)


def _after(volume: Volume, record: Recorded) -> Volume:
    match record.event:
        case VolumeCreated() as event if volume.state == "absent":
            return Volume(volume.name, state="present", made=event, created_at=record.time)
        case VolumeClaimed() as event if volume.state == "present":
            return replace(volume, claims=MappingProxyType({**volume.claims, event.container: event}))
        case VolumeReleased(container=container) if container in volume.claims:
            left = {id: claim for id, claim in volume.claims.items() if id != container}
            return replace(volume, claims=MappingProxyType(left))
        case VolumeRemoveRequested() if volume.state in ("present", "broken"):
            return replace(volume, state="removing", request=record.position)
        case VolumeRemoved() if volume.state == "removing":
            return Volume(volume.name)
        case VolumeRemoveFailed(residue=residue) if volume.state == "removing":
            return replace(volume, state="broken", request=0, residue=residue)
        case _:
            raise IllegalTransition(f"{record.stream}: {record.event.stored_as} while it is {volume.state}")


def create(volume: Volume, wish: VolumeCreated) -> tuple[Append, ...]:
    """What makes the volume; nothing when it is there as it is wished. Raises: Refused when it is there and of another
    kind, or just being removed."""
    if volume.state == "absent":
        return (volume.append(wish),)
    _usable(volume)
    _alike(volume, wish)
    return ()


def _alike(volume: Volume, wish: VolumeCreated) -> None:
    if wish.options and wish.options != _made(volume).options:
        raise Refused(f"volume {volume.name} already exists with other options: {_words(_made(volume).options)}",
                       hint=f"remove it first: lading volume rm {volume.name}")


def _words(options: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(options.items())) or "none"


def claim(volume: Volume, wish: VolumeClaimed, made: VolumeCreated) -> Append:
    """What lets a container use the volume, which is made as `made` says if it is not there. Raises: Refused when it
    is of another kind, or while it is being removed."""
    if volume.state == "absent":
        return volume.append(made, wish)
    _usable(volume)
    _alike(volume, made)
    if wish.container in volume.claims:
        raise Refused(f"container {wish.name} uses volume {volume.name} already")
    return volume.append(wish)


def _usable(volume: Volume) -> None:
    if volume.state == "removing":
        raise Refused(f"volume {volume.name} is being removed at the moment")
    if volume.state == "broken":
        raise Refused(f"volume {volume.name} could not be removed whole: {volume.residue}",
                       hint=f"remove the rest of it first: lading volume rm {volume.name}")


def _made(volume: Volume) -> VolumeCreated:
    return volume.made or VolumeCreated()


def release(volume: Volume, container: str, *, remove: bool) -> tuple[Append, ...]:
    """What a container that goes away gives back; with `remove` an anonymous volume that nobody else uses goes too."""
    if container not in volume.claims:
        return ()
    last = len(volume.claims) == 1 and volume.made is not None and volume.made.anonymous
    gone = (VolumeRemoveRequested(by="container"),) if remove and last and volume.state == "present" else ()
    return (volume.append(VolumeReleased(container=container), *gone),)


def remove(volume: Volume, by: How = "user") -> Append:
    """What takes the volume away. Raises: NotFound, InUse naming who uses it, Refused while it is on its way."""
    if volume.state == "absent":
        raise NotFound(f"get {volume.name}: no such volume")
    if volume.state == "removing":
        raise Refused(f"volume {volume.name} is being removed at the moment")
    if volume.claims:
        users = ", ".join(f"{claim.name} ({id[:12]})" for id, claim in sorted(volume.claims.items()))
        raise InUse(f"remove {volume.name}: volume is in use - [{', '.join(sorted(volume.claims))}]",
                    hint=f"first remove the containers that use it: {users}")
    return volume.append(VolumeRemoveRequested(by=by))
