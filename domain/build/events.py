"""What happens to builds (`build/<id>`) and to what is kept of them (`cache/<key>`). Values of arguments and secrets
are in none of these events, only their names and short digests."""

from typing import Literal

from domain.messages import Event

How = Literal["ran", "cached", "set"]
"""`set`: only the configuration has changed."""


class BuildRequested(Event, stored_as="build-requested.v1", intent=True):
    """Somebody wants an image to be built: `steps` are those that the target needs, `arguments` the names of what was
    given, `context` what is sent (empty: nothing was needed)."""

    dockerfile: str
    digest: str
    steps: int
    target: str = ""
    references: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    platform: str = ""
    no_cache: bool = False


class ContextReceived(Event, stored_as="build-context-received.v1"):
    """The files that the client let through have arrived; `took` in ns."""

    files: int
    bytes: int
    took: int = 0


class StepStarted(Event, stored_as="build-step-started.v1"):
    """The step is not in the cache, because of `cause`; `inputs` are all it depends on, by name and short digest."""

    number: int
    stage: str
    text: str
    key: str
    inputs: tuple[tuple[str, str], ...] = ()
    cause: str = ""


class StepDone(Event, stored_as="build-step-done.v1"):
    """The step has ended well; `size` are the bytes it has added, `took` in ns, `container` what it has run in."""

    number: int
    stage: str
    text: str
    how: How
    key: str = ""
    image_id: str = ""
    size: int = 0
    took: int = 0
    container: str = ""


class StepFailed(Event, stored_as="build-step-failed.v1"):
    """The step has not ended well; `code` is the status of its command, 0 if it was none that failed."""

    number: int
    stage: str
    text: str
    reason: str
    code: int = 0
    took: int = 0
    container: str = ""


_SETTLED = ("build-requested.v1",)


class BuildFinished(Event, stored_as="build-finished.v1", settles=_SETTLED):
    """The image is there, under these names; `size` of all its layers."""

    image_id: str = ""
    references: tuple[str, ...] = ()
    size: int = 0
    took: int = 0


class BuildFailed(Event, stored_as="build-failed.v1", settles=_SETTLED):
    """Nothing has come of it; what was done stays in the cache."""

    reason: str
    took: int = 0


class BuildCancelled(Event, stored_as="build-cancelled.v1", settles=_SETTLED):
    """It was called off by the `user`, or by the end of the `engine`; what was done stays in the cache."""

    by: Literal["user", "engine"]


class CacheStored(Event, stored_as="build-cache-stored.v1"):
    """The image is what a step gives with this key; `step` tells the same step of other builds, `size` are the bytes
    that the step has added, `source` is the image that it was taken from (`--cache-from`) if it was not built here."""

    image_id: str
    step: str
    text: str
    inputs: tuple[tuple[str, str], ...] = ()
    size: int = 0
    build: str = ""
    source: str = ""


class CacheUsed(Event, stored_as="build-cache-used.v1"):
    """A build has found the step in the cache."""

    build: str


class CacheDropped(Event, stored_as="build-cache-dropped.v1"):
    """The step is not kept any more; `freed` is what its image has added."""

    by: str = "prune"
    freed: int = 0
