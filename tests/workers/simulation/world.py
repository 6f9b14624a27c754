"""What survives the death of a daemon (log, processes, image contents), and the daemons that live in it in turn."""

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from adapters.memory.bus import MemoryBus
from adapters.memory.event_store import MemoryEventStore
from adapters.memory.images import MemoryImageStore
from adapters.memory.network import MemoryNetwork
from adapters.memory.runtime import Behaviour, MemoryRuntime
from adapters.memory.volumes import MemoryVolumes
from domain.catalogue import projections
from domain.messages import Actor, Append, Meta, Recorded
from domain.network.ports import Binding, Publication
from domain.network.setup import Bridge, Place, Sandbox
from domain.network.zones import Zone
from domain.ports.network import NetworkDriver
from domain.ports.runtime import NO_FILES, ExitReport, StartedProcess
from domain.spec import ContainerSpec, ExecSpec
from workers.accesses import Unrecorded
from workers.core import Core, Outside, announced
from workers.engine import Engine, Parts
from workers.imagedesk import ImageDesk
from workers.images import Images
from workers.mover import Caller, Origin
from workers.relay import Relay
from workers.volumedesk import VolumeDesk
from workers.volumes import Volumes

T = TypeVar("T")
WHO = Caller(Actor(via="socket", user="ann", uid=1000, command="lading"))
HOST = "sim"


class SteppedStore(MemoryEventStore):
    """A step before and after every commit: a crash can come between the two, and after."""

    async def append(self, batch: Sequence[Append], meta: Meta, *, reply: str | None = None) -> Sequence[Recorded]:
        """See the port."""
        await asyncio.sleep(0)
        records = await super().append(batch, meta, reply=reply)
        await asyncio.sleep(0)
        return records


class SteppedRuntime(MemoryRuntime):
    """A step before and after every effect on the kernel."""

    async def start(
        self, id: str, attempt: int, spec: ContainerSpec, env: Sequence[str], layers: Sequence[str],
        *, size: tuple[int, int] = (0, 0), place: Place | None = None, files: Mapping[str, str] = NO_FILES
    ) -> StartedProcess:
        """See the port."""
        effect = partial(super().start, size=size, place=place, files=files)
        return await _stepped(effect, id, attempt, spec, env, layers)

    async def exec(
        self, id: str, attempt: int, exec_id: str, exec: ExecSpec, spec: ContainerSpec, env: Sequence[str],
        *, size: tuple[int, int] = (0, 0)
    ) -> StartedProcess:
        """See the port."""
        return await _stepped(partial(super().exec, size=size), id, attempt, exec_id, exec, spec, env)

    async def exec_signal(self, id: str, exec_id: str, signal: int) -> None:
        """See the port."""
        await _stepped(super().exec_signal, id, exec_id, signal)

    async def signal(self, id: str, signal: int) -> None:
        """See the port."""
        await _stepped(super().signal, id, signal)

    async def freeze(self, id: str) -> None:
        """See the port."""
        await _stepped(super().freeze, id)

    async def thaw(self, id: str) -> None:
        """See the port."""
        await _stepped(super().thaw, id)

    async def remove(self, id: str) -> None:
        """See the port."""
        await _stepped(super().remove, id)

    async def acknowledge(self, report: ExitReport) -> None:
        """See the port."""
        await _stepped(super().acknowledge, report)

    def plays(self, command: str, behaviour: Behaviour) -> None:
        """What a command does from now on."""
        self._behaviours[command] = behaviour

    def daemon_died(self) -> None:
        """Nobody listens any more; short commands that were under way have ended meanwhile."""
        self._listener = None
        self._telling.clear()
        self.watches.clear()
        for key, run in self._runs.items():
            if run.alive and not run.behaviour.lasts:
                self._end(key, run.behaviour.code, 0)
        for exec_key, run in self._execs.items():
            if run.alive and not run.behaviour.lasts:
                self._end_exec(exec_key, run.behaviour.code, 0)

    def rebooted(self) -> None:
        """The kernel has begun anew."""
        self._runs.clear()
        self._execs.clear()
        self._exits.clear()

    @property
    def living(self) -> dict[str, int]:
        """Container id → pid of what really runs."""
        return {id: run.process.pid for (id, _), run in self._runs.items() if run.alive}

    @property
    def living_execs(self) -> dict[tuple[str, str], int]:
        """(container id, exec id) → pid of what really runs besides first processes."""
        return {(id, exec_id): run.process.pid for (id, _, exec_id), run in self._execs.items() if run.alive}

    @property
    def frozen(self) -> set[str]:
        """Containers that are frozen."""
        return {id for (id, _), run in self._runs.items() if run.alive and run.frozen}


async def _stepped(effect: Callable[..., Awaitable[T]], *arguments: object) -> T:
    await asyncio.sleep(0)
    try:
        return await effect(*arguments)
    finally:
        await asyncio.sleep(0)


class SteppedNetwork(MemoryNetwork):
    """A step before and after every effect on the kernel."""

    async def reserve(self, id: str, attempt: int, wanted: Sequence[Publication],
                      preferred: Mapping[Publication, int]) -> Sequence[Binding]:
        """See the port."""
        return await _stepped(super().reserve, id, attempt, wanted, preferred)

    async def open(self, sandbox: Sandbox) -> Place:
        """See the port."""
        return await _stepped(super().open, sandbox)

    async def change(self, sandbox: Sandbox, pid: int) -> None:
        """See the port."""
        await _stepped(super().change, sandbox, pid)

    async def close(self, id: str, attempt: int) -> None:
        """See the port."""
        await _stepped(super().close, id, attempt)

    async def names(self, zones: Mapping[str, Zone]) -> None:
        """See the port."""
        await _stepped(super().names, zones)

    async def add_bridge(self, bridge: Bridge) -> None:
        """See the port."""
        await _stepped(super().add_bridge, bridge)


class Numbers:
    """Clock and chance that always give the same; time is the loop's."""

    def __init__(self) -> None:
        self._count = 0

    def now(self) -> int:
        """Nanoseconds of the simulated clock."""
        return int(asyncio.get_running_loop().time() * 1e9) + 1

    async def sleep(self, seconds: float) -> None:
        """Simulated."""
        await asyncio.sleep(seconds)

    def new_id(self) -> str:
        """Count upwards."""
        self._count += 1
        return f"{self._count:064x}"

    def choice(self, bound: int) -> int:
        """Count upwards."""
        self._count += 1
        return self._count % bound


class World:
    """One host. `told` is what callers were told, in order: it must be true for ever."""

    def __init__(self, directory: Path) -> None:
        self.now = 1
        self.store = SteppedStore(projections(), now=self._tick)
        self.runtime = SteppedRuntime(
            {"serve": Behaviour(lasts=True, handles=frozenset({15})), "crash": Behaviour(code=3)}
        )
        self.contents = MemoryImageStore(now=lambda: 1)
        self.kept = MemoryVolumes()
        self.network = SteppedNetwork()
        self.numbers = Numbers()
        self.directory = directory
        self.told: list[tuple[str, str]] = []
        self.boot = "first boot"

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[Engine]:
        """A daemon that has begun: log and kernel agree."""
        bus = MemoryBus()
        relay = Relay(bus, HOST, await self.store.head())
        store = announced(self.store, relay)
        images = Images(store, self.store.views, self.contents, self.numbers)
        volumes = Volumes(store, self.store.views, self.kept, self.numbers)
        core = Core(
            Outside(
                host=HOST,
                origin=Origin(boot=self.boot, version="0"),
                store=store,
                views=self.store.views,
                bus=bus,
                runtime=self.runtime,
                images=images,
                volumes=volumes,
                contents=self.kept,
                clock=self.numbers,
                relay=relay,
                layers=self.contents.layer_paths,
                upper=lambda id: self.directory / id,
                network=self._reach,
                lingers=lambda: True,
            )
        )
        await core.begin()
        yield self._engine(core, relay, images, volumes)
        await core.end()
        await bus.close()

    async def _reach(self) -> NetworkDriver:
        return self.network

    def crash(self) -> None:
        """The daemon is gone; everything else is where it was."""
        self.runtime.daemon_died()

    def reboot(self) -> None:
        """Every process is gone, and no supervisor knows of any."""
        self.crash()
        self.runtime.rebooted()
        self.boot = "second boot"

    def tell(self, what: str, id: str) -> None:
        """A caller was told that its wish is fulfilled."""
        self.told.append((what, id))

    def _engine(self, core: Core, relay: Relay, images: Images, volumes: Volumes) -> Engine:
        nothing = cast(Any, None)
        return Engine(
            Parts(
                host=HOST,
                version="0",
                mover=core.mover,
                store=self.store,
                views=self.store.views,
                images=ImageDesk(images, nothing, core.mover, self.directory),
                volumes=VolumeDesk(volumes, core.mover),
                prepare=core.mounting.prepare,
                networks=core.networks,
                leases=core.leases,
                files=nothing,
                clock=self.numbers,
                runtime=self.runtime,
                relay=relay,
                logs=nothing,
                streams=nothing,
                health=core.health.verdict,
                facts=nothing,
                check=nothing,
                accesses=Unrecorded(),
            )
        )

    def _tick(self) -> int:
        self.now += 1
        return self.now


def root_file_system(path: Path) -> Path:
    """A tar with one file."""
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("bin/true")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    return path


Story = Callable[[World, Engine], Awaitable[None]]
