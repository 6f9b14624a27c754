"""Images as lists of the Docker Engine API show them, and the steps by which one was made. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from domain.images.model import Image
from domain.images.steps import steps
from domain.text.units import SECOND

UNKNOWN = -1
"""What a list says of sizes and counts that nobody asked for."""


def image_summary(
    image: Image,
    names: Sequence[str],
    digests: Sequence[str],
    *,
    parent: str = "",
    shared: int = UNKNOWN,
    containers: int = UNKNOWN,
) -> dict[str, Any]:
    """One row of a list; `names` have a tag, `digests` are `name@sha256:…`, `shared` are bytes in layers that other
    images have as well."""
    inner = image.config.get("config")
    labels = inner.get("Labels") if isinstance(inner, Mapping) else None
    return {
        "Id": image.id,
        "ParentId": parent,
        "RepoTags": list(names),
        "RepoDigests": list(digests),
        "Created": image.created // SECOND,
        "Size": image.size,
        "SharedSize": shared,
        "VirtualSize": image.size,
        "Labels": dict(labels) if isinstance(labels, Mapping) else None,
        "Containers": containers,
    }


def history_document(image: Image, names: Sequence[str]) -> list[dict[str, Any]]:
    """Every step, the newest first; only that one has an id and tags."""
    return [
        {
            "Id": step.id or "<missing>",
            "Created": step.created // SECOND,
            "CreatedBy": step.created_by,
            "Tags": (list(names) or None) if step.id else None,
            "Size": step.size,
            "Comment": step.comment,
        }
        for step in steps(image)
    ]
