"""Volumes as the console and programs ask for them: by name, with their users and what they take on the disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.errors import NotFound, Refused
from domain.projections.fold import Row
from domain.volumes.driver import checked_driver
from workers.mover import Caller, Mover
from workers.requests import VolumeRequest
from workers.volumes import Volumes


@dataclass(frozen=True, slots=True)
class Known:
    """A volume as lists show it: `created` in ns, `users` the ids of the containers that use it."""

    name: str
    driver: str
    mountpoint: str
    options: Mapping[str, str]
    labels: Mapping[str, str]
    anonymous: bool
    created: int
    state: str
    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VolumeDesk:
    """The volumes of this host."""

    volumes: Volumes
    mover: Mover

    async def all(self) -> Sequence[Known]:
        """Every volume, by name."""
        return [self._known(row) for row in await self.volumes.list()]

    async def find(self, name: str) -> Known:
        """By its name. Raises: NotFound."""
        row = await self.volumes.row(name)
        if row is None:
            raise NotFound(f"get {name}: no such volume")
        return self._known(row)

    async def size(self, name: str) -> int:
        """Bytes of its contents."""
        return await self.volumes.size(name)

    async def create(self, request: VolumeRequest, who: Caller) -> str:
        """A volume, unless it is there already; its name. Raises: Refused, KernelError."""
        checked_driver(request.driver)
        meta = self.mover.meta(who)
        return await self.volumes.create(request.name, meta, options=request.options, labels=request.labels)

    async def remove(self, name: str, who: Caller) -> None:
        """Take it away with its contents. Raises: NotFound, InUse, Refused, KernelError."""
        await self.volumes.remove(name, self.mover.meta(who))

    async def check_removal(self, name: str) -> None:
        """Whether it could be removed now. Raises: NotFound, InUse, Refused."""
        await self.volumes.check_removal(name)

    async def prune(self, chosen: Sequence[str], who: Caller) -> Sequence[str]:
        """Take away those of `chosen` that nobody uses, or takes away already; the names of those that went.

        Raises: KernelError.
        """
        gone = []
        for name in chosen:
            try:
                await self.remove(name, who)
            except (NotFound, Refused):
                continue
            gone.append(name)
        return gone

    async def left_by(self, id: str) -> Sequence[Known]:
        """The volumes that this container uses and no other one does."""
        return [known for known in await self.all() if known.users == (id,)]

    def _known(self, row: Row) -> Known:
        users = row["users"]
        name = str(row["name"])
        return Known(
            name, str(row["driver"]), self.volumes.mountpoint(name), _pairs(row["options"]), _pairs(row["labels"]),
            bool(row["anonymous"]), int(str(row["created"])), str(row["state"]),
            tuple(map(str, users)) if isinstance(users, list | tuple) else (),
        )


def _pairs(value: object) -> dict[str, str]:
    return {str(key): str(item) for key, item in value.items()} if isinstance(value, Mapping) else {}
