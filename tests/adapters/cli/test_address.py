"""Where the thin client looks for the daemon."""

import os
import posix
from pathlib import Path

import pytest

from adapters.cli.main import address


@pytest.fixture(autouse=True)
def _nothing_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`posix.environ` is what the process was started with; the client reads that one."""
    for name in (b"LADING_RUN_DIR", b"LADING_CONFIG"):
        monkeypatch.delitem(posix.environ, name, raising=False)
    monkeypatch.setitem(posix.environ, b"LADING_CONFIG", os.fsencode(tmp_path / "config.toml"))


@pytest.mark.parametrize(
    "line",
    [
        'run_dir = "/a b"',
        "run_dir='/a b'",
        '  run_dir   =  "/a b"  # here',
        'data_root = "/x"\nrun_dir = "/a b"\n[t]\n',
    ],
)
def test_client_and_daemon_read_the_same_file(tmp_path: Path, line: str) -> None:
    """A daemon that listens elsewhere than its clients look is not there for them."""
    (tmp_path / "config.toml").write_text(line)
    assert address(["ps"]) == ("/a b/lading.sock", ["ps"])


@pytest.mark.parametrize("content", ["", "# run_dir = '/a'", '[nats_users.run_dir]\nrun_dir = "/a"', "\xff\xfe"])
def test_without_a_line_of_its_own_the_default_holds(tmp_path: Path, content: str) -> None:
    """A comment or the key of a table is no setting."""
    (tmp_path / "config.toml").write_text(content, encoding="latin-1")
    assert address([])[0] == "/run/lading/lading.sock"


def test_the_environment_wins_and_an_option_wins_over_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the widest to the closest."""
    (tmp_path / "config.toml").write_text('run_dir = "/a"')
    monkeypatch.setitem(posix.environ, b"LADING_RUN_DIR", b"/b")
    assert address(["ps"])[0] == "/b/lading.sock"
    assert address(["-H", "unix:///c.sock", "ps"]) == ("/c.sock", ["ps"])
