"""JSON on the bus between the daemon and its workers: work that is to be done, and outcomes."""

import json
from dataclasses import dataclass

from domain.errors import Unavailable
from domain.messages import Event, event_type


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


def encode_outcome(outcome: Event | None) -> bytes:
    """`{"type":"started.v1","data":{…}}`, or nothing when another fact settles the intent (an exit settles a stop)."""
    if outcome is None:
        return b""
    return json.dumps({"type": outcome.stored_as, "data": outcome.model_dump(mode="json")}).encode()


def decode_outcome(data: bytes) -> Event | None:
    """Raises: Unavailable for anything else than an outcome."""
    if not data:
        return None
    try:
        document = json.loads(data)
        found = event_type(document["type"])
        if found is None:
            raise KeyError(document["type"])
        return found.model_validate(document["data"])
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"this is not an outcome: {data[:80]!r}") from error
