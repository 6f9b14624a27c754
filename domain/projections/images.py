"""The images of this host: one row each, gone when nothing of the image is left."""

from domain.images.events import ImageCached, ImageRegistered, ImageRemoved, ImageRemoveRequested
from domain.images.model import Image
from domain.messages import Recorded
from domain.projections.fold import Column, Row


class Images:
    """Key: image id. `state` is present, removing or held (see `domain.images.streams`); only present ones are listed,
    and held ones are what containers and the cache of builds keep.

    `created` is what the config says, `registered` when this host learned of it (both ns). `parent` is an image id.
    """

    name = "images"
    inline = True
    revision = 2
    cares = frozenset({ImageCached, ImageRegistered, ImageRemoveRequested, ImageRemoved})
    columns = (
        Column("id", "text"),
        Column("created", "integer", indexed=True),
        Column("size", "integer"),
        Column("config", "json"),
        Column("layers", "json"),
        Column("parent", "text", indexed=True),
        Column("how", "text"),
        Column("source", "text"),
        Column("registered", "integer"),
        Column("state", "text", indexed=True),
    )

    def keys(self, record: Recorded) -> tuple[str, ...]:
        """Only the image's own stream touches its row."""
        return (record.stream.key,) if record.stream.kind == "image" else ()

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """The row after the event."""
        match record.event:
            case ImageRegistered() as event:
                return _registered(event, record.time, key)
            case ImageCached() as event:
                return _row(event.image, record.time, key, "cached", "", event.parent, "held")
            case ImageRemoveRequested() if row is not None:
                return {**row, "state": "removing"}
            case ImageRemoved(held=held):
                return {**row, "state": "held"} if held and row is not None else None
            case _:
                return row


def _registered(event: ImageRegistered, time: int, key: str) -> Row:
    return _row(event.image, time, key, event.how, event.source, event.parent, "present")


def _row(image: Image, time: int, key: str, how: str, source: str, parent: str, state: str) -> Row:
    return {
        "id": key,
        "created": image.created,
        "size": image.size,
        "config": image.config,
        "layers": [layer.model_dump() for layer in image.layers],
        "parent": parent,
        "how": how,
        "source": source,
        "registered": time,
        "state": state,
    }
