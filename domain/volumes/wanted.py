"""Which volumes a container gets: its own wishes, those of other containers, those of its image. Pure."""

from collections.abc import Callable, Iterable, Sequence

from domain.errors import InvalidValue
from domain.mounts import Mount, clean

_MODES = {"": False, "rw": False, "z": False, "Z": False, "ro": True}


def volumes_from(text: str) -> tuple[str, bool]:
    """The container that one `--volumes-from` names, and whether its mounts are to be read only. Raises:
    InvalidValue."""
    name, colon, mode = text.partition(":")
    words = mode.split(",") if colon else [""]
    if not name or any(word not in _MODES for word in words) or (colon and not mode):
        raise InvalidValue(f"invalid mode for volumes-from: {mode}" if name else f"invalid volumes-from: {text!r}",
                           hint="write it as CONTAINER[:ro]")
    return name, any(_MODES[word] for word in words)


def inherited(mounts: Iterable[Mount], *, read_only: bool) -> tuple[Mount, ...]:
    """What another container has, but for its memory. What its volumes are was decided when they were made."""
    return tuple(mount.model_copy(update={"read_only": mount.read_only or read_only})
                 for mount in mounts if mount.type != "tmpfs")


def declared(paths: Iterable[str]) -> tuple[Mount, ...]:
    """What an image declares with VOLUME. Raises: InvalidValue for what can be no place."""
    return tuple(Mount(type="volume", target=clean(path), anonymous=True) for path in sorted(paths))


def wanted(
    own: Sequence[Mount], others: Iterable[Mount], image: Iterable[Mount], taken: Iterable[str],
    new_name: Callable[[], str],
) -> tuple[Mount, ...]:
    """All of them, each with the name of its volume: of two for one place the container's own wish counts, then the
    last of the other containers', then the image's. `taken` are places of other things."""
    places = {mount.target: mount for mount in (*image, *others)}
    given = {mount.target for mount in own} | {clean(path) for path in taken}
    rest = [mount for target, mount in places.items() if target not in given]
    return tuple(_named(mount, new_name) for mount in (*own, *rest))


def _named(mount: Mount, new_name: Callable[[], str]) -> Mount:
    if mount.type != "volume" or mount.source:
        return mount
    return mount.model_copy(update={"source": new_name(), "anonymous": True})
