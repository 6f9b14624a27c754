"""Where volumes are kept."""

from collections.abc import Sequence
from typing import Protocol

from domain.volumes.driver import LocalMount


class VolumeStore(Protocol):
    """Contents of volumes. It appends nothing."""

    def mountpoint(self, name: str) -> str:
        """Where the contents lie on this host. Raises: InvalidValue for what is no name."""

    async def make(self, name: str) -> None:
        """An empty place, unless there is one. Raises: KernelError."""

    async def delete(self, name: str) -> None:
        """Delete the contents; no error when there are none. Raises: KernelError, naming what stays."""

    async def size(self, name: str) -> int:
        """Bytes of the contents."""

    async def mount(self, name: str, what: LocalMount) -> None:
        """Mount the contents where they lie, unless something is mounted there. Raises: KernelError."""

    async def unmount(self, name: str) -> None:
        """Take that away again; no error when nothing is. Raises: KernelError while somebody uses it."""

    async def mounted(self) -> Sequence[str]:
        """Names of the volumes on whose place something is mounted."""
