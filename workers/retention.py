"""What outlives its container for a while: its output, and an image that was removed while the container held it.

What happened stays in the log.
"""

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable

from domain.errors import LadingError
from domain.names import is_id
from domain.ports.events import Views
from workers.settings import Settings

log = logging.getLogger(__name__)
EVERY = 3600.0


class Retention:
    """Deletes the output of containers that were removed longer ago than the settings say."""

    def __init__(self, settings: Settings, views: Views, sweep_images: Callable[[], Awaitable[int]]) -> None:
        self._sweep_images = sweep_images
        self._logs = settings.data_root / "logs"
        self._keep = int(settings.log_retention_hours * 3600 * 1e9)
        self._views = views

    async def run(self) -> None:
        """Look once an hour, for ever: what cannot be done now, on a full disk, is done in an hour."""
        while True:
            try:
                await self.sweep(time.time_ns())
                await self._sweep_images()
            except (LadingError, OSError) as error:
                log.error("what has outlived its container stays for another hour: %s", error)
            await asyncio.sleep(EVERY)

    async def sweep(self, now: int) -> int:
        """Delete what is too old at `now` (ns); returns how many directories."""
        swept = 0
        for directory in await asyncio.to_thread(lambda: [*self._logs.iterdir()]):
            if is_id(directory.name) and await self._is_over(directory.name, now):
                await asyncio.to_thread(shutil.rmtree, directory, True)
                swept += 1
        return swept

    async def _is_over(self, id: str, now: int) -> bool:
        past = await self._views.get("past", id)
        if past is None:
            return True
        removed = int(str(past["removed_at"]))
        return bool(removed) and now - removed >= self._keep
