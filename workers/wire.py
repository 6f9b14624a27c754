"""JSON on the bus between the daemon and its workers: work that is to be done, and outcomes."""

import json
from dataclasses import dataclass

from domain.errors import Unavailable
from domain.images.model import Image
from domain.messages import Event, event_type

LARGEST_OUTCOME = 1_000_000
"""Bytes: what is certain to fit into a message."""


@dataclass(frozen=True, slots=True)
class Work:
    """An intent to be carried out: its position in the log, the container, and its stored name.

    The intent itself is read from the log, which may hold what must not travel in clear.
    Example: `{"position":17,"id":"4f1c…","kind":"start-requested.v1"}`
    """

    position: int
    id: str
    kind: str

    def encode(self) -> bytes:
        """As it travels."""
        return json.dumps({"position": self.position, "id": self.id, "kind": self.kind}).encode()

    @staticmethod
    def decode(data: bytes) -> "Work":
        """Raises: Unavailable for anything that is not work."""
        try:
            document = json.loads(data)
            return Work(int(document["position"]), str(document["id"]), str(document["kind"]))
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable(f"this is not work: {data[:80]!r}") from error


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an intent ended. `event` is None when another fact settles it (an exit settles a stop); `image` is what a
    commit has made, to be recorded in the same transaction under `reference`.

    Example: `{"type":"started.v1","data":{…},"image":null}`
    """

    event: Event | None
    image: Image | None = None

    def encode(self) -> bytes:
        """As it travels."""
        if self.event is None:
            return b""
        image = None if self.image is None else self.image.model_dump(mode="json")
        return json.dumps(
            {"type": self.event.stored_as, "data": self.event.model_dump(mode="json"), "image": image}
        ).encode()

    @staticmethod
    def decode(data: bytes) -> "Outcome":
        """Raises: Unavailable for anything else than an outcome."""
        if not data:
            return Outcome(None)
        return _decoded(data)


def _decoded(data: bytes) -> Outcome:
    try:
        document = json.loads(data)
        found = event_type(document["type"])
        if found is None:
            raise KeyError(document["type"])
        image = document.get("image")
        return Outcome(found.model_validate(document["data"]), Image.model_validate(image) if image else None)
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"this is not an outcome: {data[:80]!r}") from error
