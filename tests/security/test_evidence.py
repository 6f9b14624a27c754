"""Somebody who can write to the database changes the past: the engine names the first row that is not what it was."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.tutorial.engine import Engine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

EDIT = "UPDATE events SET data = replace(data, 'busybox', 'busyb0x') WHERE pos = {pos}"
DELETE = "DELETE FROM events WHERE pos = {pos}"
SWAP = ("UPDATE events SET pos = -1 WHERE pos = {pos}; UPDATE events SET pos = {pos} WHERE pos = {pos} + 1; "
        "UPDATE events SET pos = {pos} + 1 WHERE pos = -1")
ANOTHER_ACTOR = ("UPDATE origins SET body = replace(body, 'root', 'r00t') "
                 "WHERE id = (SELECT origin FROM events WHERE pos = {pos})")
_SPOKEN_OF = "SELECT max(pos) FROM events WHERE instr(data, 'busybox')"
_FIRST_OF_ROOT = ("SELECT min(pos) FROM events WHERE origin = "
                  "(SELECT max(events.origin) FROM events JOIN origins o ON o.id = origin WHERE instr(o.body, 'root'))")
CUT = "DELETE FROM events WHERE pos > {pos}"


@pytest.fixture
def stopped(engine: Engine) -> Iterator[Engine]:
    """An engine that is down and has a history; it is put back as it was."""
    engine.ok("run", "--rm", "busybox", "true")
    engine.stop()
    _copy(engine.data, engine.folder / "kept")
    yield engine
    if engine.listens():
        engine.stop()
    _copy(engine.folder / "kept", engine.data)
    shutil.rmtree(engine.folder / "kept")
    engine.start()


def test_a_changed_past_is_named(stopped: Engine) -> None:
    """An edited, deleted or swapped row, or one that another is to have caused, by its number; a cut tail
    by the head that lies outside."""
    for damage in (EDIT, DELETE, SWAP, ANOTHER_ACTOR, CUT):
        _copy(stopped.folder / "kept", stopped.data)
        with closing(sqlite3.connect(stopped.data / "lading.db", isolation_level=None)) as connection:
            (last,) = connection.execute("SELECT max(pos) FROM events").fetchone()
            marked = {EDIT: _SPOKEN_OF, ANOTHER_ACTOR: _FIRST_OF_ROOT}.get(damage)
            pos = connection.execute(marked).fetchone()[0] if marked else last - 3
            connection.executescript(f"BEGIN; {damage.format(pos=pos)}; COMMIT")
        stopped.start()
        done = stopped.cli("audit", "verify")
        stopped.stop()
        assert done.code != 0, damage
        assert str(last if damage is CUT else pos) in done.out + done.err, damage


def _copy(source: Path, target: Path) -> None:
    """The database and the head."""
    (target / "state").mkdir(parents=True, exist_ok=True)
    for path in target.glob("lading.db*"):
        path.unlink()
    for path in (*source.glob("lading.db*"), source / "state" / "head"):
        shutil.copy2(path, target / path.relative_to(source))
