"""Paths are resolved below a root while the machine goes on working."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.kernel import syscalls

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

_IN_ROOT = 0x10  # RESOLVE_IN_ROOT of openat2(2)
_RENAMES = """
import os, sys
one, other = sys.argv[1:]
print(flush=True)
while True:
    os.rename(one, other)
    os.rename(other, one)
"""


def test_somebody_elses_renames_do_not_end_a_lookup(tmp_path: Path) -> None:
    """The kernel gives up on every `..` that it cannot be sure of, and leaves it to us to look again."""
    (tmp_path / "here" / "below").mkdir(parents=True)
    (tmp_path / "elsewhere").write_text("")
    paths = [str(tmp_path / "elsewhere"), str(tmp_path / "moved")]
    renaming = subprocess.Popen([sys.executable, "-c", _RENAMES, *paths], stdout=subprocess.PIPE)
    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        assert renaming.stdout is not None
        renaming.stdout.readline()
        for _ in range(20_000):
            os.close(syscalls.openat2(root, "here/below/../../here/below/..", os.O_PATH, _IN_ROOT))
    finally:
        os.close(root)
        renaming.kill()
        renaming.communicate()
