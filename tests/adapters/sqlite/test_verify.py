"""`verify` names the first thing that is wrong, whatever was done to the file."""

import asyncio
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sqlite.driver import connect
from adapters.sqlite.event_store import SqliteEventStore
from adapters.sqlite.head import HeadFile
from adapters.sqlite.reading import Reader
from adapters.sqlite.verify import Report, verify
from domain.errors import StorageError
from domain.messages import Append
from tests.adapters.sqlite.conftest import Opener, sql
from tests.contracts.samples import (
    DOOR,
    GATE,
    META,
    Built,
    CloseAsked,
    Closed,
    Named,
    Noted,
    PaintAsked,
    Torn,
    append,
    door,
    projections,
)
from tests.examples import examples

COLUMNS = ("stream", "version", "type", "ts", "data", "data_hash", "origin", "cause", "correlation", "command", "hash")


async def fill(store: SqliteEventStore) -> None:
    """A small log with a bit of everything."""
    meta = replace(META, command_id="c1", cause=1)
    await store.append(append(DOOR, 0, Built(name="front", code=("1234",), tags={"a": "b"}), CloseAsked()), META)
    await store.append((Append(DOOR, 2, (Closed(),)), Append(GATE, 0, (Built(name="gate"),))), meta, reply="done")
    await store.append(append(GATE, 1, Named(name="x"), PaintAsked(), Noted(text="n")), META)
    await store.append(append(DOOR, 3, Torn()), META)


async def report(root: Path) -> Report:
    """Open the store again and verify it."""
    store = SqliteEventStore(root, projections())
    await store.open()
    try:
        return await store.verify()
    finally:
        await store.close()


async def test_a_sound_store_has_no_findings(opened: Opener) -> None:
    """Chain, head, file and projections; also after a key was dropped and after a restart."""
    store = await opened()
    await fill(store)
    found = await store.verify()
    assert found.sound
    assert found.checked == 8
    await store.close()
    assert (await report(store.path.parent)).findings == ()


async def test_an_empty_store_is_sound(opened: Opener) -> None:
    """There is nothing to find."""
    found = await (await opened()).verify()
    assert (found.checked, list(found.findings)) == (0, [])


async def test_a_sound_store_is_sound_while_it_grows(opened: Opener) -> None:
    """Appending goes on during a verification."""
    store = await opened()
    for number in range(20):
        await store.append(append(door(number), 0, Built(name=f"n{number}"), CloseAsked()), META)
        if number % 5 == 0:
            assert (await store.verify()).findings == ()


@pytest.mark.parametrize(
    ("statement", "position", "kind"),
    [
        ('UPDATE events SET data = \'{"name":"other"}\' WHERE pos = 4', 4, "edited"),
        ("UPDATE events SET data = CAST(data AS TEXT) WHERE pos = 4", 4, "edited"),
        ("UPDATE events SET ts = ts + 1 WHERE pos = 4", 4, "edited"),
        ("UPDATE events SET origin = 99 WHERE pos = 4", 4, "edited"),
        ("UPDATE events SET command = NULL WHERE pos = 4", 4, "edited"),
        ("UPDATE events SET type = (SELECT type FROM events WHERE pos = 2) WHERE pos = 4", 4, "edited"),
        ("UPDATE origins SET body = replace(CAST(body AS TEXT), 'ada', 'bob')", 1, "forged"),
        ("UPDATE streams SET key = 'ff' WHERE id = 2", 4, "forged"),
        ("UPDATE types SET name = 'test-other.v1' WHERE name = 'test-named.v1'", 5, "edited"),
        ("DELETE FROM events WHERE pos = 4", 4, "deleted"),
        ("DELETE FROM events WHERE pos = 1", 1, "deleted"),
        ("DELETE FROM events WHERE pos = 8", 8, "cut"),
        ("DELETE FROM events", 1, "cut"),
        (
            "UPDATE events SET pos = CASE pos WHEN -4 THEN 5 ELSE 4 END WHERE pos IN (-4, -5)",
            4,
            "swapped",
        ),
        (
            "INSERT INTO events SELECT 9, stream, 99, type, ts + 9, data, data_hash, origin, cause, correlation,"
            " command, hash FROM events WHERE pos = 8",
            9,
            "forged",
        ),
    ],
)
async def test_tampering_is_named(opened: Opener, statement: str, position: int, kind: str) -> None:
    """With its position and what was done."""
    store = await opened()
    await fill(store)
    root = store.path.parent
    await store.close()
    if kind == "swapped":
        sql(root, "UPDATE events SET pos = -pos WHERE pos IN (4, 5)")
    sql(root, statement)
    fault = (await report(root)).fault
    assert fault is not None
    assert (fault.position, fault.kind) == (position, kind)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store with a small log."""
    root = tmp_path_factory.mktemp("filled")

    async def write() -> None:
        store = SqliteEventStore(root, projections())
        await store.open()
        await fill(store)
        await store.close()

    asyncio.run(write())
    return root / "lading.db"


@pytest.mark.slow
@examples(200)
@given(chosen=st.data())
def test_any_byte_changed_in_any_event_row_is_found(filled: Path, chosen: st.DataObject) -> None:
    """In every column, in every row; the number in the finding is that of the row."""
    position = chosen.draw(st.integers(1, 8))
    column = chosen.draw(st.sampled_from(COLUMNS))
    with TemporaryDirectory() as name:
        root = Path(name)
        (root / "lading.db").write_bytes(filled.read_bytes())
        (value,) = sql(root, f"SELECT {column} FROM events WHERE pos = ?", position)[0]
        try:
            sql(root, f"UPDATE events SET {column} = ? WHERE pos = ?", _changed(value, chosen), position)
        except apsw.ConstraintError:  # two rows of one stream and version cannot even be written
            return
        with closing(connect(root / "lading.db", "ro")) as connection:
            fault = verify(Reader(connection), HeadFile(root), projections(), {}).fault
    assert fault is not None
    assert fault.position == position


@pytest.mark.parametrize("statement", [
    "UPDATE types SET name = CAST(x'ff' AS TEXT)", "UPDATE alembic_version SET version_num = CAST(x'ff' AS TEXT)",
    "UPDATE projections SET fingerprint = CAST(x'ff' AS TEXT)",
])  # fmt: skip
async def test_a_text_that_is_none_is_told_when_the_store_is_opened(opened: Opener, statement: str) -> None:
    """In one line, like every other damage, wherever it is met first."""
    store = await opened()
    await store.append(append(DOOR, 0, Built(name="front")), META)
    await store.close()
    sql(store.path.parent, statement)
    with pytest.raises(StorageError, match="cannot be used") as caught:
        await store.open()
    assert "audit verify" in caught.value.hint


async def test_a_row_whose_text_is_none_refuses_an_append(opened: Opener) -> None:
    """The caller is told of the log, and not of a letter."""
    store = await opened()
    await store.append(append(DOOR, 0, Built(name="front")), META)
    await store.close()
    sql(store.path.parent, "UPDATE doors SET state = CAST(x'ff' AS TEXT)")
    await store.open()
    with pytest.raises(StorageError, match="cannot be used"):
        await store.append(append(DOOR, 1, CloseAsked()), META)


def _changed(value: Any, chosen: st.DataObject) -> object:
    """The value with one byte changed."""
    if value is None:
        return b""
    raw = bytearray(value if isinstance(value, bytes) else value.to_bytes(8, "big"))
    if not raw:
        return None
    at = chosen.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= chosen.draw(st.integers(1, 255))
    return bytes(raw) if isinstance(value, bytes) else int.from_bytes(raw, "big", signed=True)


async def test_a_byte_changed_in_the_file_itself_is_found(opened: Opener) -> None:
    """Not only what SQL can reach: every byte of every payload, hash and name as it lies on the disk."""
    store = await opened()
    await store.append(append(DOOR, 0, Built(name="front"), Noted(text="x" * 40)), META)
    root = store.path.parent
    await store.close()
    whole = store.path.read_bytes()
    (record,) = sql(root, "SELECT data, data_hash, hash FROM events WHERE pos = 2")
    for part in record:
        assert isinstance(part, bytes)
        start = whole.index(part)
        for at in range(start, start + len(part), 7):
            store.path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :])
            fault = (await report(root)).fault
            assert fault is not None
            assert fault.position == 2


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE doors SET name = 'other' WHERE name = 'x'", "the table doors differs from the log in row"),
        ("DELETE FROM doors", "the table doors has lost row"),
        ("INSERT INTO doors (id, name) VALUES ('zz', 'zz')", "the table doors differs from the log in row zz"),
        ("UPDATE door_past SET state = 'burnt'", "the table door_past differs from the log"),
        ("DELETE FROM door_past WHERE to_pos < 9", "the table door_past differs from the log"),
        ("DELETE FROM open_intents", "the table open_intents differs from the log at event 6"),
        ("INSERT INTO open_intents VALUES (2, 1, 2)", "the table open_intents differs from the log at event 2"),
    ],
)
async def test_rows_that_disagree_with_the_log_are_named(opened: Opener, statement: str, words: str) -> None:
    """A table is only worth something when it is what the log says; made anew, it is."""
    store = await opened()
    await fill(store)
    await store.caught_up()
    root = store.path.parent
    await store.close()
    sql(root, statement)
    found = await report(root)
    assert found.fault is None
    assert [str(finding)[: len(words)] for finding in found.findings] == [words]
    assert found.only_tables
    again = SqliteEventStore(root, projections(), anew=True)
    await again.open()
    await again.close()
    assert (await report(root)).findings == ()


async def test_a_log_whose_tail_was_cut_takes_no_events(opened: Opener) -> None:
    """It can be read; going on with it needs somebody's decision."""
    store = await opened()
    await fill(store)
    root = store.path.parent
    await store.close()
    sql(root, "DELETE FROM events WHERE pos > 6")
    again = await opened()
    with pytest.raises(StorageError, match="the log ends at 6, and it had reached 8"):
        await again.append(append(door(1), 0, Built(name="n")), META)
    assert again.failure is not None
    assert str(root / "state" / "head") in again.failure.hint
    assert len(await again.load(GATE)) == 3
    await again.close()
    (root / "state" / "head").unlink()
    last = await opened()
    await last.append(append(door(1), 0, Built(name="n")), META)


@pytest.mark.parametrize("hidden", [False, True])
async def test_a_tail_that_is_cut_while_the_store_is_open_is_named_at_once(opened: Opener, hidden: bool) -> None:
    """The store knows what it has written, also what the head kept outside does not say (yet, or any more)."""
    store = await opened()
    await fill(store)
    root = store.path.parent
    if hidden:
        (root / "state" / "head").unlink(missing_ok=True)
    sql(root, "DELETE FROM events WHERE pos = 8")
    fault = (await store.verify()).fault
    assert fault is not None
    assert (fault.position, fault.kind) == (8, "cut")


async def test_a_log_put_back_from_another_day_takes_no_events(opened: Opener) -> None:
    """It is as long as before, but it is not the same."""
    store = await opened()
    await fill(store)
    await store.close()
    sql(store.path.parent, "UPDATE events SET hash = zeroblob(32) WHERE pos = 8")
    again = await opened()
    assert again.failure is not None
    assert "written anew" in again.failure.message


@pytest.mark.parametrize("text", ["", "x", "1 zz", "-1 " + "00" * 32, "8 00"])
async def test_a_head_that_makes_no_sense_is_reported(opened: Opener, text: str) -> None:
    """It may have been written by somebody who wanted to hide a cut."""
    store = await opened()
    await fill(store)
    root = store.path.parent
    await store.close()
    (root / "state" / "head").write_text(text)
    again = await opened()
    assert again.failure is not None
    assert "does not hold the head" in again.failure.message
    assert len((await again.verify()).findings) == 1


async def test_pages_of_noise_are_reported_in_one_line(opened: Opener) -> None:
    """Never a traceback: the store refuses to open, or verify says what is wrong."""
    store = await opened()
    await store.append([Append(door(n), 0, (Built(name=f"n{n}"), Noted(text="x" * 500))) for n in range(100)], META)
    root = store.path.parent
    await store.close()
    used = {page for (page,) in sql(root, "SELECT pageno FROM dbstat")}
    whole = store.path.read_bytes()
    size = 2048
    for page in range(len(whole) // size):
        store.path.write_bytes(whole[: page * size] + b"\x5a" * size + whole[(page + 1) * size :])
        again = SqliteEventStore(root, projections())
        refused = await _refusal(again)
        if refused:
            assert "\n" not in refused
            continue
        try:
            assert not (await again.verify()).sound or page + 1 not in used
        finally:
            await again.close()


async def _refusal(store: SqliteEventStore) -> str:
    """Why the store does not open; empty when it does."""
    try:
        await store.open()
    except StorageError as error:
        return str(error)
    return ""
