"""A daemon for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.adapters.control.engine import Engine, engine


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Engine]:
    """Bus, control socket and console."""
    async with engine(tmp_path / "run") as running:
        yield running
