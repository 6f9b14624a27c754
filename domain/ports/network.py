"""The host's networks."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from domain.network.ports import Binding, Publication
from domain.network.setup import DEFAULT_LINK, Bridge, Place, Sandbox
from domain.network.subnets import DEFAULT_BRIDGE
from domain.network.zones import Zone


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a new network must respect: `subnets` of the host's routes, addresses and resolvers (`10.0.0.0/8`), and the
    MTU of its way out. `default_link` and `default_subnet` are for the default network: engines side by side on one
    host have different ones."""

    subnets: tuple[str, ...]
    mtu: int
    default_link: str = DEFAULT_LINK
    default_subnet: str = str(DEFAULT_BRIDGE)


class NetworkDriver(Protocol):
    """Links, addresses, rules, ports and names in the kernel of this host. Everything twice is fine.

    It goes on by itself for containers that run while nobody tells it anything, and finds again what an earlier driver
    has made.
    """

    async def surroundings(self) -> Surroundings:
        """What is there besides us. Raises: KernelError."""

    async def add_bridge(self, bridge: Bridge) -> None:
        """Make a network, or make it as it should be. Raises: Refused for what this kernel lacks, KernelError."""

    async def remove_bridge(self, id: str) -> None:
        """Take a network away with everything that belongs to it alone. Raises: KernelError."""

    async def reserve(self, id: str, attempt: int, wanted: Sequence[Publication],
                      preferred: Mapping[Publication, int]) -> Sequence[Binding]:
        """Ports of the host for a run that is about to start, held against every other program from now on until
        `close`; of any free one those in `preferred` come first.

        Raises: Refused, naming who has the port (pid and command, where visible), or that this host has no such
        address; then none is held.
        """

    async def open(self, sandbox: Sandbox) -> Place:
        """A network namespace with everything in it, for the process that is about to start. Raises: Refused (the
        network is full), KernelError; then nothing of it is left."""

    async def change(self, sandbox: Sandbox, pid: int) -> None:
        """A run that goes on, whose first process is `pid`, is to have this from now on: interfaces more or fewer,
        another way out, which is where its ports lead, other names.

        Raises: NotFound for a run or network that is not there, Refused (a network is full), KernelError; then no
        interface was added.
        """

    async def close(self, id: str, attempt: int) -> None:
        """Let go of everything of a run: ports, interfaces, rules, sockets."""

    async def names(self, zones: Mapping[str, Zone]) -> None:
        """From now on these are the names on each network (id → zone)."""

    async def settle(self, bridges: Sequence[Bridge], sandboxes: Mapping[int, Sandbox]) -> None:
        """Make the kernel agree: exactly these networks, and these runs by the pids of their first processes; all else
        of ours goes away. Below 0 it is no pid: that run is about to start, and what there is for it already stays.

        Raises: KernelError, naming what stays.
        """

    def on_lost(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call `callback` when what does the work was gone and is there again, knowing nothing: `settle` is due."""

    async def clean(self) -> None:
        """Take away every rule, link and address, and end what runs for it."""
