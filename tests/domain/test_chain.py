"""The hash chain: what it finds, and what it says about it."""

import sqlite3
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.chain import GENESIS, ChainCheck, Head, StoredRow, cut, data_hash, link, meta_hash, row_link


def log(length: int = 8) -> list[StoredRow]:
    """A sound log over two streams."""
    rows: list[StoredRow] = []
    previous = GENESIS
    for position in range(1, length + 1):
        data = f'{{"n":{position}}}'.encode()
        stream, version = (b"container/a", (position + 1) // 2) if position % 2 else (b"image/b", position // 2)
        row = StoredRow(position, stream, version, b"noted.v1", 1000 + position, data, data_hash(data), b"[]", 0, 0,
                        b"", b"")  # fmt: skip
        row = row._replace(hash=row_link(previous, row))
        rows.append(row)
        previous = row.hash
    return rows


def sealed_again(row: StoredRow, previous: bytes) -> StoredRow:
    """The row as somebody would write it who knows how hashes are made."""
    row = row._replace(data_hash=data_hash(row.data))
    return row._replace(hash=row_link(previous, row))


def changed(row: StoredRow, field: str, value: object) -> StoredRow:
    """The row with anything at all in one column."""
    return StoredRow._make(value if name == field else found for name, found in zip(row._fields, row, strict=True))


def test_a_sound_log_has_no_fault() -> None:
    """And its head is its last event."""
    rows, check = log(), ChainCheck()
    assert check.first_fault(rows) is None
    assert check.head == Head(8, rows[-1].hash)


def test_the_walk_can_be_cut_into_slices() -> None:
    """A long log is read in many short transactions."""
    rows, check = log(), ChainCheck()
    assert check.first_fault(rows[:3]) is None
    assert check.first_fault(rows[3:]) is None
    assert check.head.position == 8


def test_an_edited_payload_is_named() -> None:
    """The position, the stream and what does not fit."""
    rows = log()
    rows[4] = rows[4]._replace(data=b'{"n":55}')
    fault = ChainCheck().first_fault(rows)
    assert fault is not None
    assert (fault.position, fault.stream, fault.kind) == (5, "container/a", "edited")
    assert str(fault) == "event 5 (container/a) was edited: its payload does not match its hash"


def test_an_edited_payload_with_its_own_hash_is_named() -> None:
    """Whoever mends the payload's hash still breaks the chain."""
    rows = log()
    rows[4] = rows[4]._replace(data=b"{}", data_hash=data_hash(b"{}"))
    fault = ChainCheck().first_fault(rows)
    assert fault is not None
    assert (fault.position, fault.kind) == (5, "edited")


def test_a_deleted_row_is_named() -> None:
    """By the position that is missing."""
    rows = log()
    del rows[4]
    fault = ChainCheck().first_fault(rows)
    assert fault is not None
    assert (fault.position, fault.kind) == (5, "deleted")


def test_a_deleted_first_row_is_named() -> None:
    """A log begins at 1."""
    fault = ChainCheck().first_fault(log()[1:])
    assert fault is not None
    assert (fault.position, fault.kind) == (1, "deleted")


@pytest.mark.parametrize("distance", [1, 2])
def test_swapped_rows_are_named(distance: int) -> None:
    """Two rows that have changed places, of one stream or of two."""
    rows = log()
    rows[3], rows[3 + distance] = (
        rows[3 + distance]._replace(position=4),
        rows[3]._replace(position=4 + distance),
    )
    fault = ChainCheck().first_fault(rows)
    assert fault is not None
    assert (fault.position, fault.kind) == (4, "swapped")


def test_a_forged_last_row_is_named() -> None:
    """Somebody appended an event and made up its hash."""
    rows = log()
    forged = rows[-1]._replace(position=9, version=5, time=2000, hash=bytes(32))
    fault = ChainCheck().first_fault([*rows, forged])
    assert fault is not None
    assert (fault.position, fault.kind) == (9, "forged")


def test_a_forged_row_with_a_right_hash_breaks_at_the_next() -> None:
    """The chain cannot tell which of two neighbours is false; it says so."""
    rows = log()
    rows[4] = sealed_again(rows[4]._replace(data=b"{}"), rows[3].hash)
    fault = ChainCheck().first_fault(rows)
    assert fault is not None
    assert (fault.position, fault.kind) == (6, "edited")
    assert "or the event before it was forged" in fault.detail


def test_a_cut_tail_is_found_by_the_head_that_was_kept() -> None:
    """The chain alone is content with a shorter log."""
    rows = log()
    kept = Head(8, rows[-1].hash)
    check = ChainCheck()
    assert check.first_fault(rows[:6]) is None
    fault = cut(check.head, kept, None)
    assert fault is not None
    assert (fault.position, fault.kind) == (7, "cut")
    assert cut(kept, Head(6, rows[5].hash), rows[5].hash) is None
    assert cut(kept, Head(), None) is None


def test_a_log_written_anew_is_found_by_the_head_that_was_kept() -> None:
    """Even when every hash in it is right."""
    rows = log()
    fault = cut(Head(8, rows[-1].hash), Head(6, bytes(31) + b"\1"), rows[5].hash)
    assert fault is not None
    assert (fault.position, fault.kind) == (6, "forged")


@dataclass(frozen=True)
class Odd:
    """Something that no column should hold."""


@pytest.mark.parametrize("field", StoredRow._fields)
@pytest.mark.parametrize("value", [None, -1, 2**64, 1.5, "text", b"", b"x", Odd()])
def test_any_value_in_any_column_is_found(field: str, value: object) -> None:
    """Whatever type a damaged cell may have, verification goes on and names the row."""
    rows = log()
    if getattr(rows[3], field) == value:
        return
    rows[3] = changed(rows[3], field, value)
    fault = ChainCheck().first_fault(rows)
    assert fault is not None
    assert fault.position == 4
    assert str(fault)


@given(st.integers(0, 7), st.sampled_from(["stream", "type", "data", "data_hash", "origin", "hash"]), st.data())
def test_any_byte_changed_in_any_column_is_found(index: int, field: str, chosen: st.DataObject) -> None:
    """One bit is enough."""
    rows = log()
    value = bytearray(getattr(rows[index], field))
    at = chosen.draw(st.integers(0, len(value) - 1))
    value[at] ^= chosen.draw(st.integers(1, 255))
    rows[index] = changed(rows[index], field, bytes(value))
    fault = ChainCheck().first_fault(rows)
    assert fault is not None
    assert fault.position == index + 1


def test_fields_cannot_be_shifted_into_each_other() -> None:
    """Lengths are part of what is hashed."""
    zero = bytes(32)
    assert link(zero, 1, b"ab", 1, b"c", 1, zero, zero) != link(zero, 1, b"a", 1, b"bc", 1, zero, zero)
    assert meta_hash(b"ab", 0, 0, b"c") != meta_hash(b"a", 0, 0, b"bc")


def test_the_hash_of_a_given_event_never_changes() -> None:
    """Stored logs must verify under every later version."""
    about = meta_hash(b'["socket","root",0,0,1,"lading","","",""]', 2, 1, b"c1")
    hash = link(GENESIS, 1, b"container/a", 1, b"created.v1", 1_700_000_000_000_000_000, data_hash(b"{}"), about)
    assert about.hex() == "4ff188df54f907fd707f372278e5120d26c0075a2cb3d8d4d2026e31cc36a29d"
    assert hash.hex() == "5e7486654ae04655beb5db28526c20576953154d88adc3bf799d0c0089f3931e"


def test_text_is_not_taken_for_bytes() -> None:
    """A cell whose type was changed in place holds the same characters, and is still found."""
    connection = sqlite3.connect(":memory:")
    (text,) = connection.execute("SELECT CAST(? AS TEXT)", (b'{"n":4}',)).fetchone()
    connection.close()
    rows = log()
    rows[3] = rows[3]._replace(data=text)
    fault = ChainCheck().first_fault(rows)
    assert fault is not None
    assert (fault.position, fault.kind) == (4, "edited")
