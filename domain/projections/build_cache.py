"""What is kept of builds: one row for each key, gone when nothing is kept under it."""

from domain.build.events import CacheDropped, CacheStored, CacheUsed
from domain.messages import Recorded
from domain.projections.fold import Column, Row


class BuildCache:
    """Key: the cache key. `inputs` are pairs of name and short digest, `step` tells the same step of other builds,
    `size` are the bytes that it has added, `used` is the last time (ns), `uses` how often it was found again."""

    name = "build_cache"
    inline = True
    revision = 1
    cares = frozenset({CacheStored, CacheUsed, CacheDropped})
    columns = (
        Column("key", "text"),
        Column("image_id", "text", indexed=True),
        Column("step", "text", indexed=True),
        Column("text", "text"),
        Column("inputs", "json"),
        Column("size", "integer"),
        Column("created", "integer"),
        Column("used", "integer", indexed=True),
        Column("uses", "integer"),
        Column("build", "text"),
    )

    def keys(self, record: Recorded) -> tuple[str, ...]:
        """Only the entry's own stream touches its row."""
        return (record.stream.key,) if record.stream.kind == "cache" else ()

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """The row after the event."""
        match record.event:
            case CacheStored() as event:
                return {
                    "key": key,
                    "image_id": event.image_id,
                    "step": event.step,
                    "text": event.text,
                    "inputs": [list(pair) for pair in event.inputs],
                    "size": event.size,
                    "created": record.time,
                    "used": record.time,
                    "uses": 0,
                    "build": event.build,
                }
            case CacheUsed() if row is not None:
                uses = row["uses"]
                return {**row, "used": record.time, "uses": (uses if isinstance(uses, int) else 0) + 1}
            case CacheDropped():
                return None
            case _:
                return row
