"""Connections: what the driver is asked for beside the statements."""

import sqlite3
from pathlib import Path

from adapters.sqlite.engine import connect


def test_values_go_in_as_they_are_and_no_adapter_is_searched_for(tmp_path: Path) -> None:
    """A search that finds nothing takes longer than an insert; those of ours change nothing."""
    connection = connect(tmp_path / "a.db", "rwc")
    found = connection.execute("SELECT ?, ?, ?, typeof(?)", (b"\0x", None, b"", b"x")).fetchone()
    connection.close()
    assert found == (b"\0x", None, b"", "blob")
    adapters = sqlite3.adapters  # (type, protocol) to what adapts it
    assert {bytes, type(None)} <= {kind for kind, _ in adapters}
