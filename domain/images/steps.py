"""The steps by which an image was made, as `history` tells them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.images.config import history, timestamp
from domain.images.model import Image


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `id` is that of the image for the last one, and empty for the others. Times in ns."""

    id: str
    created: int
    created_by: str
    size: int
    comment: str


def steps(image: Image) -> Sequence[Step]:
    """Newest first; layers that no entry speaks of are steps without words."""
    sizes = [layer.size for layer in image.layers]
    found = []
    for entry in history(image.config):
        size = 0 if entry.get("empty_layer") is True or not sizes else sizes.pop(0)
        text, comment = (str(entry.get(key) or "") for key in ("created_by", "comment"))
        found.append(Step("", timestamp(entry.get("created")), text, size, comment))
    found += [Step("", 0, "", size, "") for size in sizes]
    if not found:
        return ()
    *older, last = found
    return (Step(image.id, last.created, last.created_by, last.size, last.comment), *reversed(older))
