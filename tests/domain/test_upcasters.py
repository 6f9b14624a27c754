"""Old events become today's on reading; their bytes stay as they are."""

import json

import pytest

from domain.errors import StorageError
from domain.messages import Event, event_type
from domain.stored import ciphertext_of, closed, from_bytes, sealed_bytes, to_bytes, with_sealed
from domain.upcasters import UPCASTERS, Upcaster, upcast


class Waited(Event, stored_as="test-waited.v3"):
    """Today's shape."""

    seconds: int
    reason: str = "unknown"


class Locked(Event, stored_as="test-locked.v1", sealed=("code",)):
    """One with a secret."""

    name: str = ""
    code: tuple[str, ...] = ()


TABLE = {
    "test-waited.v1": Upcaster("test-waited.v2", lambda old: {"seconds": old["minutes"] * 60}),
    "test-waited.v2": Upcaster("test-waited.v3", lambda old: {**old, "reason": "old"}),
}


def test_old_events_pass_through_every_step() -> None:
    """From the oldest version to today's."""
    assert upcast("test-waited.v1", {"minutes": 2}, TABLE) == ("test-waited.v3", {"seconds": 120, "reason": "old"})
    event = from_bytes("test-waited.v1", b'{"minutes":2}', upcasters=TABLE)
    assert event == Waited(seconds=120, reason="old")


def test_todays_events_pass_unchanged() -> None:
    """No step leads away from them."""
    assert upcast("test-waited.v3", {"seconds": 1}, TABLE) == ("test-waited.v3", {"seconds": 1})
    assert from_bytes("test-waited.v3", b'{"seconds":1}') == Waited(seconds=1)


def test_fields_of_later_versions_are_ignored_and_missing_ones_have_defaults() -> None:
    """Additive changes need no step, in either direction."""
    assert from_bytes("test-waited.v3", b'{"seconds":1,"mood":"good"}') == Waited(seconds=1)


def test_events_of_newer_versions_are_none() -> None:
    """Nobody guesses what they mean."""
    assert from_bytes("test-waited.v9", b'{"anything":1}') is None


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"seconds":"x"}', b"\xff", b'{"seconds":null}'])
def test_damaged_payloads_are_storage_errors(data: bytes) -> None:
    """Of the file, not of the program."""
    with pytest.raises(StorageError, match="damaged"):
        from_bytes("test-waited.v3", data)


def test_every_step_leads_to_an_event_of_today() -> None:
    """Without cycles, and never away from a class that still exists."""
    for stored_as in UPCASTERS:
        assert event_type(stored_as) is None
        name, seen = stored_as, {stored_as}
        while name in UPCASTERS:
            name = UPCASTERS[name].into
            assert name not in seen
            seen.add(name)
        assert event_type(name) is not None


def test_sealed_fields_are_kept_apart() -> None:
    """The payload never holds them in clear."""
    event = Locked(name="a", code=("1234",))
    data = to_bytes(event)
    assert json.loads(data) == {"name": "a"}
    assert json.loads(sealed_bytes(event)) == {"code": ["1234"]}
    assert sealed_bytes(Locked(name="a")) == b""
    assert sealed_bytes(Waited(seconds=1)) == b""
    assert closed(event) == Locked(name="a")
    assert from_bytes("test-locked.v1", data, opened=sealed_bytes(event)) == event


@pytest.mark.parametrize("data", [b"{}", b'{"name":"a"}', b'{"labels":{"~sealed":"QUJD"},"name":"~sealed"}'])
def test_the_ciphertext_travels_in_the_payload(data: bytes) -> None:
    """Whatever else is in it."""
    both = with_sealed(data, b"\0secret")
    assert ciphertext_of(both) == b"\0secret"
    assert ciphertext_of(data) == b""
    assert from_bytes("test-locked.v1", both) == from_bytes("test-locked.v1", data)
