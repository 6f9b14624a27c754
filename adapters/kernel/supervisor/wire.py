"""What daemon and warden say to each other on `<run>/warden.sock`: a length (4 bytes, big-endian), then JSON.

    → {"n": 7, "op": "start", "id": "3f…", "attempt": 1, "plan": "…", …}
    ← {"re": 7, "pid": 4711, "start": 123456, "cgroup": "lading-1a2b3c4d/3f….1"}
    ← {"re": 7, "error": {"stage": "mount", "errno": 2, "text": "…", "exit_code": 125}}
    ← {"ev": "log", "id": "3f…"}   {"ev": "exited", "exit": {…}}

Requests carry a number of the client's choice; answers may come in another order.
"""

import json
from typing import Any

Message = dict[str, Any]

PROTOCOL = 3
"""What a warden says it speaks. 1: no execs, no inputs; 2: of limits only that of processes."""

LIMIT = 8 << 20
"""The longest message either side accepts."""


_compact = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
"""`json.dumps` would make an encoder for every message, and a person at a terminal waits for one with each key."""


class Garbage(ValueError):
    """What came is no message of this protocol: the connection is of no more use."""


def pack(message: Message) -> bytes:
    """One message as it travels."""
    body = _compact(message).encode()
    return len(body).to_bytes(4) + body


class Splitter:
    """Cuts a stream of bytes into messages; holds at most one incomplete message."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes. Raises: Garbage."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= 4:
            size = int.from_bytes(self._buffer[:4])
            if size > LIMIT:
                raise Garbage(f"a message of {size} bytes")
            if len(self._buffer) < 4 + size:
                break
            messages.append(_parse(bytes(self._buffer[4:4 + size])))
            del self._buffer[:4 + size]
        return messages


def _parse(body: bytes) -> Message:
    try:
        message = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise Garbage(str(error)) from error
    if not isinstance(message, dict):
        raise Garbage("a message that is no object")
    return message
