"""What happens to volumes; each has a stream of its own (`volume/data`). A name that was removed can be used again in
the same stream, so its history tells of everything that was ever called so.

A claim is a container's: it is appended in the same transaction as the container's own creation, and given back with
its removal. So nobody can remove a volume between the moment in which a container finds it and the one in which it is
known to use it.
"""

from typing import Literal

from pydantic import Field

from domain.messages import Event

How = Literal["user", "container"]


class VolumeCreated(Event, stored_as="volume-created.v1"):
    """The volume can be used. `options` are those of the local driver (`type`, `device`, `o`); `anonymous` ones were
    made for one container, go with it, and have a name that nobody has chosen."""

    driver: str = "local"
    options: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    anonymous: bool = False
    by: How = "user"


class VolumeClaimed(Event, stored_as="volume-claimed.v1"):
    """A container uses the volume from now on, whether it runs or not."""

    container: str
    name: str
    targets: tuple[str, ...]
    read_only: bool = False


class VolumeReleased(Event, stored_as="volume-released.v1"):
    """The container is gone, and its claim with it."""

    container: str


class VolumeRemoveRequested(Event, stored_as="volume-remove-requested.v1", intent=True):
    """The volume can no longer be used; its contents are to be deleted. `by` is `container` for an anonymous one that
    goes with its container."""

    by: How = "user"


class VolumeRemoved(Event, stored_as="volume-removed.v1", settles=("volume-remove-requested.v1",)):
    """The contents are gone."""


class VolumeRemoveFailed(Event, stored_as="volume-remove-failed.v1", settles=("volume-remove-requested.v1",)):
    """Something of it could not be deleted; it is tried again at the next start of the engine, or by `volume rm`."""

    residue: str
