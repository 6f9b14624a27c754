"""Volumes without a disk: names and sizes; what `stubborn` names cannot be deleted."""

from collections.abc import Sequence

from domain.errors import KernelError
from domain.volumes.driver import LocalMount
from domain.volumes.names import volume_name


class MemoryVolumes:
    """See `domain.ports.VolumeStore`."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.stubborn: set[str] = set()
        self.mounts: dict[str, LocalMount] = {}

    def mountpoint(self, name: str) -> str:
        """See the port."""
        return f"/volumes/{volume_name(name)}/_data"

    async def make(self, name: str) -> None:
        """See the port."""
        self.sizes.setdefault(volume_name(name), 0)

    async def delete(self, name: str) -> None:
        """See the port."""
        if name in self.stubborn:
            raise KernelError(f"volume {name} cannot be deleted: Device or resource busy", stage="remove", path=name)
        self.mounts.pop(name, None)
        self.sizes.pop(volume_name(name), None)

    async def mount(self, name: str, what: LocalMount) -> None:
        """See the port."""
        self.mounts.setdefault(volume_name(name), what)

    async def unmount(self, name: str) -> None:
        """See the port."""
        self.mounts.pop(name, None)

    async def mounted(self) -> Sequence[str]:
        """See the port."""
        return sorted(self.mounts)

    async def size(self, name: str) -> int:
        """See the port."""
        return self.sizes.get(name, 0)
