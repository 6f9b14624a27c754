"""The thin client imports next to nothing: the interpreter's own start is most of its time already."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT
from workers.launcher.scripts import client_script

# Compiled into the interpreter or one small extension each; nothing of it reads a file of the standard library.
ALLOWED = {"sys", "posix", "time", "marshal", "errno", "_socket", "_signal", "signal", "select", "termios", "fcntl"}
OURS = ("adapters", "adapters.cli", "domain")
HOT_VERBS = (["ps"], ["run", "-d", "busybox", "true"], ["logs", "x"], ["stop", "x"], ["rm", "x"], ["inspect", "x"])


def _imported(code: str, *arguments: str, run: Path) -> set[str]:
    """Names of all modules that the interpreter imported while it ran `code` as the installed launcher does."""
    environment = {"LADING_AUTOSTART": "0", "LADING_RUN_DIR": str(run), "PATH": os.defpath}
    done = subprocess.run([sys.executable, "-I", "-S", "-X", "importtime", "-c", code, *arguments],
                          env=environment, cwd=run, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines} - {"imported package"}


@pytest.mark.slow
@pytest.mark.parametrize("arguments", HOT_VERBS, ids=lambda arguments: arguments[0])
def test_a_hot_verb_stays_within_its_import_budget(arguments: list[str], tmp_path: Path) -> None:
    """Every module here is paid for by every command a person types."""
    extra = _imported(client_script(), *arguments, run=tmp_path) - _imported("pass", run=tmp_path)
    assert {name for name in extra if name not in ALLOWED and not name.startswith(OURS)} == set()


def test_the_client_s_modules_are_few() -> None:
    """Each file costs a directory look-up, an open and a read; together they must stay far below the interpreter's."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "adapters" / "cli").rglob("*.py")]
    assert sources
    assert sum(len(source) for source in sources) < 62_000
