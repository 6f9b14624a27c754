"""What happens to images and references; an image has a stream of its own (`image/sha256:…`), and so has every
reference (`ref/busybox:latest`). An image that was removed can be registered again in the same stream."""

from typing import Literal

from domain.images.model import Image
from domain.messages import Event

How = Literal["imported", "loaded", "committed", "pulled", "built"]


class ImageRegistered(Event, stored_as="image-registered.v1"):
    """The image can be used; `source` says where it came from: a file name, a container, a registry. `parent` is the
    image that it was made from on this host."""

    image: Image
    how: How
    source: str = ""
    parent: str = ""


class ImageCached(Event, stored_as="image-cached.v1"):
    """The result of a step of a build: kept for the next one, and named by nobody. `parent` as above."""

    image: Image
    parent: str = ""


class ImageRemoveRequested(Event, stored_as="image-remove-requested.v1", intent=True):
    """The image can no longer be named; its contents are to be deleted."""


class ImageRemoved(Event, stored_as="image-removed.v1", settles=("image-remove-requested.v1",)):
    """The contents are gone. `held`: not yet, containers that were made from the image still need its layers."""

    held: bool = False


class Tagged(Event, stored_as="tagged.v1"):
    """The reference names this image from now on; `previous` is the image it named before, if any."""

    image_id: str
    previous: str = ""


class Untagged(Event, stored_as="untagged.v1"):
    """The reference names nothing; `image_id` is what it named."""

    image_id: str


class PullRequested(Event, stored_as="pull-requested.v1", intent=True):
    """What the reference means in its registry is to be brought here; `platform` only if one was asked for."""

    platform: str = ""


class Pulled(Event, stored_as="pulled.v1", settles=("pull-requested.v1",)):
    """The image is here; `digest` is what the name meant in the registry (a manifest or an index), `received` are the
    bytes that had to come for it."""

    image_id: str
    digest: str
    received: int = 0


class PullFailed(Event, stored_as="pull-failed.v1", settles=("pull-requested.v1",)):
    """What the reference names here is what it was; what has come waits for the next pull."""

    reason: str


class PushRequested(Event, stored_as="push-requested.v1", intent=True):
    """What the reference names here is to be brought to its registry."""

    image_id: str


class Pushed(Event, stored_as="pushed.v1", settles=("push-requested.v1",)):
    """The registry has it, and the reference means it there; `digest` is that of its manifest."""

    image_id: str
    digest: str
    sent: int = 0


class PushFailed(Event, stored_as="push-failed.v1", settles=("push-requested.v1",)):
    """What the reference means in the registry is what it was."""

    reason: str
