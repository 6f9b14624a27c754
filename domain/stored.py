"""Events as stored bytes and back.

A payload is one JSON object in UTF-8. The sealed fields of an event are left out; an adapter encrypts them and puts the
result beside the others (`with_sealed`):

    {"name":"web","spec":{…},"~sealed":"bm9uY2UrY2lwaGVydGV4dA=="}

Without the key such an event is read with the defaults of its sealed fields, which therefore must have one.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from domain.errors import StorageError
from domain.messages import Event, event_type
from domain.upcasters import UPCASTERS, Upcaster, upcast

_SEALED = "~sealed"


def to_bytes(event: Event) -> bytes:
    """The payload without its sealed fields."""
    serializer = event.__pydantic_serializer__  # asked of the class, it takes eight times as long
    return serializer.to_json(event, exclude=set(event.sealed)) if event.sealed else serializer.to_json(event)


def sealed_bytes(event: Event) -> bytes:
    """The sealed fields that differ from their defaults as a JSON object; empty if there are none."""
    if not event.sealed:
        return b""
    data = event.__pydantic_serializer__.to_json(event, include=set(event.sealed), exclude_defaults=True)
    return b"" if data == b"{}" else data


def with_sealed(data: bytes, ciphertext: bytes) -> bytes:
    """The payload with the encrypted fields beside the others."""
    entry = b'"%s":"%s"}' % (_SEALED.encode(), b64encode(ciphertext))
    return data[:-1] + (b"" if data == b"{}" else b",") + entry


def ciphertext_of(data: bytes) -> bytes:
    """The encrypted fields of a payload; empty if it has none."""
    found = _document(data).get(_SEALED, "")
    return b64decode(found) if isinstance(found, str) else b""


def from_bytes(
    stored_as: str, data: bytes, *, opened: bytes = b"", upcasters: Mapping[str, Upcaster] = UPCASTERS
) -> Event | None:
    """The event, or None for a type that this version does not know; `opened` are its decrypted fields.

    Raises: StorageError for bytes that are no such event.
    """
    if stored_as in upcasters:
        stored_as, document = upcast(stored_as, _document(data), upcasters)
        data = json.dumps(document).encode()
    kind = event_type(stored_as)
    if kind is None:
        return None
    if opened:
        data = json.dumps({**_document(data), **_document(opened)}).encode()
    try:
        return kind.__pydantic_validator__.validate_json(data)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise StorageError(f"a stored {stored_as} is damaged: {error.errors()[0]['msg']}") from error


def closed(event: Event) -> Event:
    """The event as anyone without the key reads it: what projections see, now and at every replay."""
    if not event.sealed:
        return event
    return event.model_copy(update=_defaults(type(event)))


@cache
def _defaults(kind: type[Event]) -> dict[str, Any]:
    fields = kind.model_fields
    return {name: fields[name].get_default(call_default_factory=True) for name in kind.sealed}


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise StorageError("a stored event is damaged: its payload is not JSON") from error
    if not isinstance(document, dict):
        raise StorageError("a stored event is damaged: its payload is not an object")
    return document
