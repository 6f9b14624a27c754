"""The gateway as the engine knows it: wanted or not, and where."""

from pathlib import Path

from adapters.gateway.driver import GatewayProcess
from domain.errors import InvalidValue
from workers.settings import Settings

DEFAULT_NAME = "docker.sock"
"""Of the socket in the run directory, where nothing else is said."""


class GatewayDesk:
    """Starts and stops it."""

    def __init__(self, process: GatewayProcess, settings: Settings) -> None:
        self._process, self._settings = process, settings

    @property
    def path(self) -> str:
        """Where it listens; empty while it is not wanted."""
        return self._process.path

    @property
    def pid(self) -> int:
        """Its process; 0 while there is none."""
        return self._process.pid

    async def start(self, path: str) -> str:
        """Serve at a path, or where the configuration says; returns where. Raises: Refused, Unavailable."""
        wanted = Path(path or self._settings.gateway or self._settings.run_dir / DEFAULT_NAME)
        if not wanted.is_absolute():
            raise InvalidValue(f"the gateway needs an absolute path, not {path!r}")
        await self._process.start(wanted)
        return str(wanted)

    async def stop(self) -> None:
        """Serve no more; requests that are being answered break off."""
        await self._process.stop()
