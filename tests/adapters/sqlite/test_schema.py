"""The schema: new stores, older ones, newer ones, and files that are none."""

import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from adapters.sqlite import schema
from adapters.sqlite.driver import connect
from adapters.sqlite.engine import writer_engine
from adapters.sqlite.event_store import SqliteEventStore
from adapters.sqlite.schema import MIGRATIONS, SCHEMA, back_up, prepare, stored_version, upgrade
from adapters.sqlite.tables import RESERVED
from domain.errors import NewerStore, StorageError
from tests.adapters.sqlite.conftest import Opener, sql
from tests.contracts.samples import DOOR, META, Built, Doors, append

ROOT = Path(__file__).resolve().parents[3]


def shape(path: Path) -> list[tuple[object, ...]]:
    """Tables, columns and indexes of a file, without regard to how their statements were spelled."""
    with closing(connect(path, "ro")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        found: list[tuple[object, ...]] = []
        for table in sorted(tables):
            found += [(table, *row) for row in connection.execute(f"PRAGMA table_xinfo({table})")]
            for _, name, *rest in connection.execute(f"PRAGMA index_list({table})").fetchall():
                columns = tuple(connection.execute(f"PRAGMA index_info({name})"))
                found.append((table, name, *rest, columns))
            found.append(tuple(connection.execute(f"PRAGMA table_list({table})"))[:1])
        return found


def test_the_migrations_lead_to_the_tables_of_today(tmp_path: Path) -> None:
    """New stores do not pass through them, so nothing else would notice a difference."""
    migrated, made = tmp_path / "migrated.db", tmp_path / "made.db"
    migrated.touch()
    engine = writer_engine(migrated)
    upgrade(engine, MIGRATIONS)
    engine.dispose()
    engine = writer_engine(made)
    prepare(made, engine)
    engine.dispose()
    assert shape(migrated) == shape(made)
    assert stored_version(migrated) == stored_version(made) == SCHEMA


def test_the_newest_migration_is_the_schema_of_today() -> None:
    """The constant that is compared without alembic."""
    revisions = sorted(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    assert revisions[-1] == SCHEMA


async def test_a_newer_store_is_refused_in_one_line_and_left_alone(tmp_path: Path) -> None:
    """Nobody writes into what he does not understand."""
    store = SqliteEventStore(tmp_path)
    await store.open()
    await store.close()
    sql(tmp_path, "UPDATE alembic_version SET version_num = '9999'")
    before = store.path.read_bytes()
    with pytest.raises(NewerStore, match="newer version") as caught:
        await store.open()
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert store.path.read_bytes() == before


@pytest.mark.parametrize("content", [b"x" * 10_000, b"SQLite format 3\0" + b"x" * 5000])
async def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    """It is not overwritten."""
    (tmp_path / "lading.db").write_bytes(content)
    with pytest.raises(StorageError) as caught:
        await SqliteEventStore(tmp_path).open()
    assert "\n" not in str(caught.value)
    assert (tmp_path / "lading.db").read_bytes() == content


@pytest.mark.parametrize(
    ("statement", "words"),
    [("DROP TABLE alembic_version", "no event log"), ("DELETE FROM alembic_version", "does not say which schema")],
)
async def test_another_programs_database_is_refused(tmp_path: Path, statement: str, words: str) -> None:
    """Also when it looks a little like ours."""
    store = SqliteEventStore(tmp_path)
    await store.open()
    await store.close()
    sql(tmp_path, statement)
    with pytest.raises(StorageError, match=words):
        await store.open()


async def test_a_start_that_was_interrupted_is_begun_again(tmp_path: Path) -> None:
    """An empty file is what a kill between two steps leaves."""
    (tmp_path / "lading.db").touch()
    store = SqliteEventStore(tmp_path)
    await store.open()
    assert await store.head() == 0
    await store.close()


async def test_an_older_store_is_backed_up_and_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The events stay, the copy holds the file as it was."""
    store = SqliteEventStore(tmp_path, (Doors(),))
    await store.open()
    await store.append(append(DOOR, 0, Built(name="front")), META)
    await store.close()
    later = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, later, ignore=shutil.ignore_patterns("__pycache__"))
    (later / "versions" / "0002_more.py").write_text(
        '"""A later step."""\n\nfrom alembic import op\n\nrevision = "0002"\ndown_revision = "0001"\n\n\n'
        'def upgrade() -> None:\n    """Add a table."""\n    op.execute("CREATE TABLE more (id INTEGER)")\n'
    )
    monkeypatch.setattr(schema, "SCHEMA", "0002")
    monkeypatch.setattr(schema, "MIGRATIONS", later)
    await store.open()
    assert len(await store.load(DOOR)) == 1
    assert (await store.verify()).findings == ()
    await store.close()
    copy = tmp_path / "lading.db.schema-0001"
    assert stored_version(store.path) == "0002"
    assert stored_version(copy) == "0001"
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(connect(copy, "ro")) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (1,)


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one transaction; the error is one line."""
    store = SqliteEventStore(tmp_path)
    await store.open()
    await store.close()
    later = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, later, ignore=shutil.ignore_patterns("__pycache__"))
    (later / "versions" / "0002_more.py").write_text(
        '"""A later step."""\n\nfrom alembic import op\n\nrevision = "0002"\ndown_revision = "0001"\n\n\n'
        'def upgrade() -> None:\n    """Fail half way."""\n    op.execute("CREATE TABLE more (id INTEGER)")\n'
        '    op.execute("CREATE TABLE more (id INTEGER)")\n'
    )
    before = shape(store.path)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "SCHEMA", "0002")
        patch.setattr(schema, "MIGRATIONS", later)
        with pytest.raises(StorageError, match="already exists"):
            await store.open()
    assert shape(store.path) == before
    await store.open()
    await store.close()


async def test_a_backup_is_a_whole_store(opened: Opener, tmp_path: Path) -> None:
    """Taken while the store is in use; an earlier one is replaced."""
    store = await opened()
    for number in range(2):
        await store.append(append(DOOR, number, Built(name=f"n{number}")), META)
        back_up(store.path, tmp_path / "copy.db")
        with closing(connect(tmp_path / "copy.db", "ro")) as connection:
            assert connection.execute("SELECT count(*) FROM events").fetchone() == (number + 1,)


def test_a_usual_start_imports_neither_alembic_nor_the_cipher(tmp_path: Path) -> None:
    """They cost more than everything else at the start."""
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from adapters.sqlite.event_store import SqliteEventStore\n"
        "store = SqliteEventStore(Path(sys.argv[1]))\n"
        "async def main():\n    await store.open(); seen = set(sys.modules); await store.close(); return seen\n"
        "seen = asyncio.run(main())\n"
        "print(sorted(name for name in seen if name.split('.')[0] in ('alembic', 'cryptography')))\n"
    )
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, cwd=ROOT, check=True)
        assert run.stdout.decode().strip() == "[]"


@pytest.mark.parametrize("name", [*sorted(RESERVED), "no name", "x; DROP TABLE events", ""])
def test_projections_cannot_take_the_logs_own_names(tmp_path: Path, name: str) -> None:
    """Their tables are dropped and made anew."""
    with pytest.raises(ValueError, match="cannot be called"):
        SqliteEventStore(tmp_path, (Doors(name=name),))


def test_two_projections_cannot_have_one_name(tmp_path: Path) -> None:
    """They would have one table."""
    with pytest.raises(ValueError, match="cannot be called"):
        SqliteEventStore(tmp_path, (Doors(), Doors()))


def test_sqlalchemy_agrees_with_the_driver_about_transactions(tmp_path: Path) -> None:
    """What the migrations rely on: a rolled back CREATE TABLE is gone."""
    path = tmp_path / "x.db"
    engine = writer_engine(path)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
        connection.rollback()
        assert connection.exec_driver_sql("SELECT count(*) FROM sqlite_schema").scalar() == 0
    engine.dispose()
    create_engine("sqlite://").dispose()
