"""Connections: SQLAlchemy's, those behind them, and what errors of the driver mean."""

from contextlib import closing
from pathlib import Path

import apsw
import pytest
import sqlalchemy

from adapters.sqlite.driver import connect, is_fatal, storage_error
from adapters.sqlite.engine import bare, reader_engine, writer_engine


def test_values_go_in_and_come_out_as_they_are(tmp_path: Path) -> None:
    """Bytes, also empty ones, texts, numbers of 64 bits, and no value."""
    values = (b"\0x", b"", None, "ä\0b", 2**63 - 1, -1)
    with closing(connect(tmp_path / "a.db", "rwc")) as connection:
        assert connection.execute("SELECT ?, ?, ?, ?, ?, ?", values).fetchone() == values


def test_sqlalchemy_runs_on_the_same_driver(tmp_path: Path) -> None:
    """Statements with rows, with none, with many bindings; transactions that end either way."""
    engine = writer_engine(tmp_path / "a.db")
    table = sqlalchemy.Table("t", sqlalchemy.MetaData(), sqlalchemy.Column("a", sqlalchemy.Integer, primary_key=True))
    with engine.begin() as connection:
        table.create(connection)
        assert connection.execute(table.insert().values(a=7)).inserted_primary_key == (7,)
        connection.execute(table.insert(), [{"a": 1}, {"a": 2}])
        assert connection.execute(table.select().where(table.c.a == 3)).all() == []
    with engine.begin() as connection:
        assert connection.execute(table.update().values(a=8).where(table.c.a == 7)).rowcount == 1
        connection.rollback()
    assert [column["name"] for column in sqlalchemy.inspect(engine).get_columns("t")] == ["a"]
    with engine.begin() as connection:
        found = connection.execute(table.select().order_by(table.c.a))
        assert list(found.keys()) == ["a"]
        assert [found.fetchone(), *found.fetchmany(1), *found.fetchall()] == [(1,), (2,), (7,)]
    engine.dispose()


def test_a_refused_statement_is_an_error_of_sqlalchemy(tmp_path: Path) -> None:
    """And what the driver said is within it."""
    engine = writer_engine(tmp_path / "a.db")
    with pytest.raises(sqlalchemy.exc.DBAPIError) as caught, engine.begin() as connection:
        connection.exec_driver_sql("SELECT x")
    assert isinstance(caught.value.orig, apsw.Error)
    engine.dispose()


def test_readers_cannot_write(tmp_path: Path) -> None:
    """Neither the file nor anything that is attached to it."""
    with closing(connect(tmp_path / "a.db", "rwc")) as connection:
        connection.execute("CREATE TABLE t (a)")
    engine = reader_engine(tmp_path / "a.db")
    with closing(engine.raw_connection()) as held, pytest.raises(apsw.Error, match="readonly"):
        bare(held).execute("INSERT INTO t VALUES (1)")
    engine.dispose()


def test_a_text_that_is_none_is_damage(tmp_path: Path) -> None:
    """It may come out of any column of a damaged file."""
    with closing(connect(tmp_path / "a.db", "rwc")) as connection, pytest.raises(UnicodeDecodeError) as caught:
        connection.execute("SELECT CAST(x'ff' AS TEXT)").fetchall()
    error = storage_error(caught.value)
    assert "audit verify" in error.hint


def test_an_error_is_told_by_its_name_and_whether_it_is_fatal(tmp_path: Path) -> None:
    """The name is the one under which it is found in SQLite's documents."""
    (tmp_path / "a.db").write_bytes(b"no database at all, and long enough" * 100)
    with closing(connect(tmp_path / "a.db", "rw")) as connection, pytest.raises(apsw.Error) as caught:
        connection.execute("SELECT * FROM sqlite_schema").fetchall()
    assert is_fatal(caught.value)
    assert "(SQLITE_NOTADB)" in storage_error(caught.value).message
