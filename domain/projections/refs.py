"""Which image a reference names: one row per reference that names something."""

from domain.images.events import Tagged, Untagged
from domain.messages import Recorded
from domain.projections.fold import Column, Row


class Refs:
    """Key: the reference as it is kept (`busybox:latest`, `busybox@sha256:…`); `since` in ns."""

    name = "refs"
    inline = True
    revision = 1
    cares = frozenset({Tagged, Untagged})
    columns = (
        Column("reference", "text"),
        Column("image_id", "text", indexed=True),
        Column("since", "integer"),
    )

    def keys(self, record: Recorded) -> tuple[str, ...]:
        """Only the reference's own stream touches its row."""
        return (record.stream.key,) if record.stream.kind == "ref" else ()

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """The row after the event."""
        match record.event:
            case Tagged(image_id=image_id):
                return {"reference": key, "image_id": image_id, "since": record.time}
            case Untagged():
                return None
            case _:
                return row
