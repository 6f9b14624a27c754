"""The schema version of the file: create a new store, migrate an older one, refuse a newer one.

Alembic is slow to import, so it is asked only when a migration is due: the stored version is read with plain SQL, and a
new store is made from the tables as they are today (a test proves that the migrations lead to the same tables).
"""

import os
from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine, insert
from sqlalchemy.exc import DBAPIError

from adapters.sqlite.driver import ERRORS, connect, copy, storage_error
from adapters.sqlite.engine import create_private, sync_directory
from adapters.sqlite.tables import ALEMBIC_VERSION, METADATA
from domain.errors import NewerStore, StorageError

SCHEMA = "0001"
"""The revision that this version works with; revisions are numbers of four digits."""

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


def prepare(path: Path, engine: Engine) -> None:
    """Leave a file of today's schema, whatever was there. Raises: NewerStore, StorageError."""
    try:
        if create_private(path) or (stored := stored_version(path)) == "":
            _create(engine)
        elif stored != SCHEMA:
            _migrate(path, engine, stored)
    except ERRORS as error:
        raise storage_error(error, path) from error
    except DBAPIError as error:
        raise StorageError(f"{path} cannot be migrated: {error.orig}") from error
    except OSError as error:
        raise StorageError(f"cannot create {path}: {error.strerror}") from error


def stored_version(path: Path) -> str:
    """The schema version of an existing file; empty for a file without any table."""
    with closing(connect(path, "ro")) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if not tables:
            return ""
        if ALEMBIC_VERSION.name not in tables:
            raise StorageError(f"{path} is a database, but no event log")
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if found is None:
        raise StorageError(f"{path} does not say which schema it has")
    return str(found[0])


def _create(engine: Engine) -> None:
    with engine.begin() as connection:
        METADATA.create_all(connection, checkfirst=False)
        connection.execute(insert(ALEMBIC_VERSION).values(version_num=SCHEMA))


def _migrate(path: Path, engine: Engine, stored: str) -> None:
    if stored > SCHEMA:
        raise NewerStore(
            f"{path} was written by a newer version (schema {stored}; this one knows {SCHEMA})",
            hint="install that version again, or use another data root",
        )
    back_up(path, path.with_name(f"{path.name}.schema-{stored}"))
    upgrade(engine, MIGRATIONS)


def back_up(path: Path, kept: Path) -> None:
    """A consistent copy beside the file, durable when this returns; an earlier copy of that name is replaced."""
    fresh = kept.with_name(kept.name + ".new")
    fresh.unlink(missing_ok=True)
    create_private(fresh)
    with closing(connect(path, "ro")) as source, closing(connect(fresh, "rw")) as target:
        copy(source, target)
    descriptor = os.open(fresh, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.replace(kept)
    sync_directory(kept.parent)


def upgrade(engine: Engine, migrations: Path) -> None:
    """Run the migrations that are due, all in one transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
