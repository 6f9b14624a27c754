"""A host of its own for each test of the network."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters.net.lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """See `Lab`; afterwards nothing of it is there, and nothing of ours was outside."""
    lab = Lab(tmp_path)
    try:
        yield lab
    finally:
        lab.close()
