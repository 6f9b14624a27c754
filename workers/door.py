"""The way to the network process: it is started when somebody first needs it, and let go of at the end."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from domain.ports.network import NetworkDriver


class Door:
    """`network` gives the driver; while it is entered it is connected."""

    def __init__(self, network: AbstractAsyncContextManager[NetworkDriver]) -> None:
        self._network = network
        self._stack = AsyncExitStack()
        self._driver: NetworkDriver | None = None
        self._opening = asyncio.Lock()
        self._lost: Callable[[], Awaitable[None]] | None = None

    async def reach(self) -> NetworkDriver:
        """The driver. Raises: Unavailable."""
        async with self._opening:
            if self._driver is None:
                driver = await self._stack.enter_async_context(self._network)
                if self._lost is not None:
                    driver.on_lost(self._lost)
                self._driver = driver
            return self._driver

    def on_lost(self, callback: Callable[[], Awaitable[None]]) -> None:
        """See `domain.ports.NetworkDriver`."""
        self._lost = callback

    async def close(self) -> None:
        """Let go; what it does for containers goes on."""
        await self._stack.aclose()
