"""The machine-checked half of how we write: ruff, mypy, import contracts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT

BIN = Path(sys.executable).parent


def _run(*command: str) -> None:
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_has_no_complaint() -> None:
    """Style is not discussed in reviews; an exception stands with its reason in pyproject.toml or beside the line."""
    _run(str(BIN / "ruff"), "check", "--quiet", ".")


@pytest.mark.slow
def test_mypy_has_no_complaint() -> None:
    """Strict types find a forgotten step, port method or event before any test runs."""
    _run(str(BIN / "mypy"))


@pytest.mark.slow
def test_the_rooms_import_only_what_they_may() -> None:
    """The domain stays pure and adapters stay exchangeable only while nobody takes the short way."""
    _run(str(BIN / "lint-imports"), "--no-cache", "--no-logo")
