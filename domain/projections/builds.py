"""The builds of this host, one row each, for ever: what was built, from what, and how it ended."""

from domain.build.events import (
    BuildCancelled,
    BuildFailed,
    BuildFinished,
    BuildRequested,
    ContextReceived,
    StepDone,
)
from domain.messages import Recorded
from domain.projections.fold import Column, Row


class Builds:
    """Key: build id. `state` is running, finished, failed or cancelled; times in ns, 0 for never. `cached` counts the
    steps that were found in the cache."""

    name = "builds"
    inline = True
    revision = 1
    cares = frozenset({BuildRequested, ContextReceived, StepDone, BuildFinished, BuildFailed, BuildCancelled})
    columns = (
        Column("id", "text"),
        Column("state", "text", indexed=True),
        Column("dockerfile", "text"),
        Column("target", "text"),
        Column("refs", "json"),
        Column("started", "integer", indexed=True),
        Column("finished", "integer"),
        Column("steps", "integer"),
        Column("done", "integer"),
        Column("cached", "integer"),
        Column("context", "integer"),
        Column("image_id", "text"),
        Column("error", "text"),
    )

    def keys(self, record: Recorded) -> tuple[str, ...]:
        """Only the build's own stream touches its row."""
        return (record.stream.key,) if record.stream.kind == "build" else ()

    def fold(self, row: Row | None, record: Recorded, key: str) -> Row | None:
        """The row after the event."""
        match record.event:
            case BuildRequested() as event:
                return _begun(event, record.time, key)
            case ContextReceived(bytes=size) if row is not None:
                return {**row, "context": size}
            case StepDone(how=how) if row is not None:
                return {**row, "done": _int(row["done"]) + 1, "cached": _int(row["cached"]) + (how == "cached")}
            case BuildFinished(image_id=image_id) if row is not None:
                return {**row, "state": "finished", "image_id": image_id, "finished": record.time}
            case BuildFailed(reason=reason) if row is not None:
                return {**row, "state": "failed", "error": reason, "finished": record.time}
            case BuildCancelled(by=by) if row is not None:
                return {**row, "state": "cancelled", "error": f"cancelled by the {by}", "finished": record.time}
            case _:
                return row


def _begun(event: BuildRequested, time: int, key: str) -> Row:
    return {
        "id": key,
        "state": "running",
        "dockerfile": event.dockerfile,
        "target": event.target,
        "refs": list(event.references),
        "started": time,
        "finished": 0,
        "steps": event.steps,
        "done": 0,
        "cached": 0,
        "context": 0,
        "image_id": "",
        "error": "",
    }


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
