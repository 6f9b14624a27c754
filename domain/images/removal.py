"""May this image, or this name of it, be removed? The rules of `rmi`, with the texts that clients match."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.errors import InUse
from domain.images.layer import hex_of
from domain.images.reference import split_key

RUNNING = frozenset({"starting", "running", "pausing", "paused", "unpausing", "stopping", "restarting"})
"""States of containers that hold their image whatever is asked for."""


@dataclass(frozen=True, slots=True)
class User:
    """A container that was made from the image."""

    id: str
    state: str
    name: str = ""

    @property
    def running(self) -> bool:
        """Whether even force cannot take the image away."""
        return self.state in RUNNING


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be removed: an image, with the references that name it, the containers made from it, and how many
    images have it as their parent. `reference` is the one that was typed; empty when an id was."""

    image_id: str
    reference: str
    references: tuple[str, ...] = ()
    users: tuple[User, ...] = ()
    children: int = 0


@dataclass(frozen=True, slots=True)
class Removal:
    """What is to be done: drop these references, and the image with them or not."""

    untag: tuple[str, ...]
    delete: bool


def decide(target: Target, *, force: bool) -> Removal:
    """What `rmi` does. Raises: InUse with Docker's text and, as the hint, what helps."""
    return _by_name(target, force) if target.reference else _by_id(target, force)


def _by_name(target: Target, force: bool) -> Removal:
    if not force and target.users and _single(target.references):
        user = target.users[0]
        raise InUse(
            f'conflict: unable to remove repository reference "{target.reference}" (must force) - container '
            f"{user.id[:12]} is using its referenced image {_short(target.image_id)}",
            hint=_hint(user),
        )
    dropped = (target.reference, *_orphans(target))
    left = set(target.references) - set(dropped)
    held = target.children or any(user.running for user in target.users) or (target.users and not force)
    return Removal(dropped, not left and not held)


def _orphans(target: Target) -> tuple[str, ...]:
    """Digests go with the last tag of their repository."""
    repository, tag, _ = split_key(target.reference)
    others = [key for key in target.references if key != target.reference and split_key(key)[0] == repository]
    return tuple(others) if tag and not any(split_key(key)[1] for key in others) else ()


def _by_id(target: Target, force: bool) -> Removal:
    if target.children:
        raise _conflict(target, "cannot be forced", "image has dependent child images", "remove the children first")
    for user in target.users:
        if user.running:
            raise _conflict(
                target, "cannot be forced", f"image is being used by running container {user.id[:12]}", _hint(user)
            )
    if not force and not _single(target.references):
        raise _conflict(
            target,
            "must be forced",
            "image is referenced in multiple repositories",
            "name one of them to drop only that, or use -f",
        )
    if not force and target.users:
        user = target.users[0]
        raise _conflict(
            target, "must be forced", f"image is being used by stopped container {user.id[:12]}", _hint(user)
        )
    return Removal(target.references, True)


def _single(references: Sequence[str]) -> bool:
    """One tag at most, and every digest belongs to its repository."""
    tags = [key for key in references if split_key(key)[1]]
    repositories = {split_key(key)[0] for key in references}
    return len(references) <= 1 or (len(tags) <= 1 and len(repositories) == 1)


def _conflict(target: Target, force: str, why: str, hint: str) -> InUse:
    return InUse(f"conflict: unable to delete {_short(target.image_id)} ({force}) - {why}", hint=hint)


def _hint(user: User) -> str:
    called = user.name or user.id[:12]
    if user.running:
        return f"container {called} is {user.state}: stop and remove it first"
    return f"remove container {called} first, or use -f"


def _short(image_id: str) -> str:
    return hex_of(image_id)[:12]
