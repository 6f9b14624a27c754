"""A NetworkDriver without a kernel: the same wishes, the same answers, and everything can be looked at.

    driver = MemoryNetwork(taken={("tcp", 80): "4711 (nginx)"})

Places are numbers that count upwards; random host ports are those of the kernel's range, in order.
"""

import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence

from domain.errors import NotFound
from domain.network.ports import Binding, Publication, assign, clash
from domain.network.setup import Bridge, Endpoint, Place, Sandbox
from domain.network.zones import Zone
from domain.ports.network import Surroundings

EPHEMERAL = 32768, 60999
_RUN = tuple[str, int]


class MemoryNetwork:
    """See `domain.ports.NetworkDriver`. It outlives daemons as the real one does: give it to the next one.

    `subnets` are the host's, `taken` are ports of other programs: (protocol, port) → who has it.
    """

    def __init__(self, *, subnets: Sequence[str] = (), taken: Mapping[tuple[str, int], str] | None = None,
                 ipv6: bool = True, mtu: int = 1500) -> None:
        self._surroundings = Surroundings(tuple(subnets), mtu)
        self._taken = dict(taken or {})
        self._ipv6 = ipv6
        self._last = 0
        self._inodes = itertools.count(4026532000)
        self._lost: Callable[[], Awaitable[None]] | None = None
        self.bridges: dict[str, Bridge] = {}
        """Network id → what is there."""
        self.held: dict[_RUN, tuple[Binding, ...]] = {}
        """Run → its ports of the host."""
        self.sandboxes: dict[_RUN, Sandbox] = {}
        """Run → its network."""
        self.attached: dict[_RUN, dict[str, Endpoint]] = {}
        """Run → network id → interface, also of those that came later."""
        self.zones: dict[str, Zone] = {}
        """Network id → names."""
        self._places: dict[_RUN, Place] = {}

    async def surroundings(self) -> Surroundings:
        """See the port."""
        return self._surroundings

    async def add_bridge(self, bridge: Bridge) -> None:
        """See the port."""
        self.bridges[bridge.id] = bridge

    async def remove_bridge(self, id: str) -> None:
        """See the port."""
        self.bridges.pop(id, None)

    async def reserve(self, id: str, attempt: int, wanted: Sequence[Publication],
                      preferred: Mapping[Publication, int]) -> Sequence[Binding]:
        """See the port."""
        if (id, attempt) in self.held:
            return self.held[id, attempt]
        mine: list[Binding] = []
        bindings = assign(wanted, preferred, EPHEMERAL, self._last, ipv6=self._ipv6,
                          take=lambda bindings: self._take(bindings, mine))
        if any(publication.host_port == 0 for publication in wanted):
            self._last = bindings[-1].host_port
        self.held[id, attempt] = bindings
        return bindings

    def _take(self, bindings: Sequence[Binding], mine: list[Binding]) -> str:
        for binding in bindings:
            where = f"host port {binding.host_port}/{binding.protocol} on {binding.host_ip}"
            program = self._taken.get((binding.protocol, binding.host_port))
            if program is not None:
                return f"{where} is in use by another program ({program})"
            others = {run[0]: held for run, held in self.held.items()} | {"this one": tuple(mine)}
            for holder, held in others.items():
                if clash(binding, held) is not None:
                    return f"{where} is already published by container {holder[:12]}"
        mine.extend(bindings)
        return ""

    async def open(self, sandbox: Sandbox) -> Place:
        """See the port."""
        run = sandbox.id, sandbox.attempt
        if run in self._places:
            return self._places[run]
        for endpoint in sandbox.endpoints:
            self._check_network(endpoint.network)
        inode = next(self._inodes)
        self.sandboxes[run] = sandbox
        self.attached[run] = {endpoint.network: endpoint for endpoint in sandbox.endpoints}
        self._places[run] = Place(f"/proc/1/fd/{inode}", inode)
        return self._places[run]

    async def change(self, sandbox: Sandbox, pid: int) -> None:
        """See the port."""
        run = sandbox.id, sandbox.attempt
        for endpoint in sandbox.endpoints:
            self._check_network(endpoint.network)
        if run not in self.attached:
            raise NotFound(f"container {sandbox.id[:12]} has no network of its own")
        self.sandboxes[run] = sandbox
        self.attached[run] = {endpoint.network: endpoint for endpoint in sandbox.endpoints}

    def _check_network(self, id: str) -> None:
        if id not in self.bridges:
            raise NotFound(f"there is no network {id[:12]} in the kernel")

    async def close(self, id: str, attempt: int) -> None:
        """See the port."""
        for each in (self.held, self.sandboxes, self.attached, self._places):
            each.pop((id, attempt), None)

    async def names(self, zones: Mapping[str, Zone]) -> None:
        """See the port."""
        self.zones = dict(zones)

    async def settle(self, bridges: Sequence[Bridge], sandboxes: Mapping[int, Sandbox]) -> None:
        """See the port."""
        self.bridges = {bridge.id: bridge for bridge in bridges}
        wanted = {(sandbox.id, sandbox.attempt): sandbox for sandbox in sandboxes.values()}
        for run in (self.held.keys() | self.sandboxes.keys()) - wanted.keys():
            await self.close(*run)
        waiting = {(sandbox.id, sandbox.attempt) for pid, sandbox in sandboxes.items() if pid < 0}
        for run, sandbox in wanted.items():
            self.held[run] = sandbox.bindings
            if run in waiting - self.sandboxes.keys():
                continue
            await self.open(sandbox)
            self.sandboxes[run] = sandbox
            self.attached[run] = {endpoint.network: endpoint for endpoint in sandbox.endpoints}

    def on_lost(self, callback: Callable[[], Awaitable[None]]) -> None:
        """See the port."""
        self._lost = callback

    async def lose(self) -> None:
        """As if what does the work had died and were there again."""
        if self._lost is not None:
            await self._lost()

    async def clean(self) -> None:
        """See the port."""
        await self.settle((), {})
        self.zones = {}
