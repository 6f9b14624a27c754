"""What outlives its container for a while goes in the end, whatever was wrong in between."""

import asyncio
from pathlib import Path

import pytest

from adapters.memory.event_store import MemoryEventStore
from domain.catalogue import projections
from domain.errors import StorageError
from workers import retention
from workers.retention import Retention
from workers.settings import Settings


async def test_an_error_does_not_end_it_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full now has room in an hour; logs that are not there yet are no reason to stop, either."""
    monkeypatch.setattr(retention, "EVERY", 0.0)
    swept = asyncio.Event()
    errors = [StorageError("the disk is full")]

    async def sweep() -> int:
        if errors:
            raise errors.pop()
        swept.set()
        return 0

    settings = Settings(data_root=tmp_path, run_dir=tmp_path / "run")
    looking = asyncio.create_task(Retention(settings, MemoryEventStore(projections()).views, sweep).run())
    try:
        await asyncio.sleep(0)
        (tmp_path / "logs").mkdir(exist_ok=True)
        async with asyncio.timeout(10):
            await swept.wait()
    finally:
        looking.cancel()
