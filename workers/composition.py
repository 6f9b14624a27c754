"""The composition root: settings → adapters → workers. The only place that names concrete classes."""

import platform
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.control.console import Console
from adapters.control.listener import ControlSocket
from adapters.files.logs import LogFiles
from adapters.gateway.driver import GatewayProcess
from adapters.images.building import BuildFiles
from adapters.images.store import LocalImageStore, host_platform
from adapters.kernel import init_program
from adapters.kernel.runtime import KernelRuntime
from adapters.kernel.volumes import VolumeDirectories
from adapters.nats.access import ExternalServer
from adapters.nats.bus import NatsBus
from adapters.nats.rights import User
from adapters.nats.server import EmbeddedServer
from adapters.net.driver import NetworkProcess, lingers
from adapters.registry.registries import RemoteRegistries
from adapters.sqlite.driver import SQLITE
from adapters.sqlite.event_store import SqliteEventStore
from adapters.system import binaries, facts
from adapters.system.clock import SystemClock
from domain import subjects
from domain.catalogue import projections
from domain.container import LIVE, Container
from domain.errors import Unavailable
from domain.limits import check, weighs
from domain.messages import Actor
from domain.network.asked import NetworkingWish
from domain.redact import redacted
from domain.resources import Resources
from workers.accesses import Accesses, Unrecorded
from workers.blueprint import Joined
from workers.build.builder import Builder, Site
from workers.build.runner import Runner
from workers.calls import answering
from workers.commands import Programs
from workers.core import Core, Outside, announced
from workers.door import Door
from workers.engine import Engine, Parts
from workers.filedesk import FileDesk
from workers.folders import CONTAINERS, LOGS, STATE, STORE, TEMPORARY, VOLUMES
from workers.gatewaydesk import GatewayDesk
from workers.imagedesk import ImageDesk, empty_spool
from workers.images import Images
from workers.info import Info
from workers.mover import Origin
from workers.programs import gateway_command, net_command
from workers.relay import Relay
from workers.sampler import Sampler
from workers.settings import Settings
from workers.streams import Streams
from workers.transfers import Transfers
from workers.version import VERSION
from workers.volumedesk import VolumeDesk
from workers.volumes import Volumes

SMALL = ("warden.", "keeper.", "zygote.", "scribe.", "host.", "child.")
"""Failpoints with these beginnings lie in the small processes."""


@dataclass(slots=True)
class Plant:
    """What lives outside the core and has to be opened and closed, in this order."""

    store: SqliteEventStore
    server: EmbeddedServer | ExternalServer
    bus: NatsBus
    runtime: KernelRuntime
    contents: LocalImageStore
    volumes: VolumeDirectories
    network: Door
    registries: RemoteRegistries
    control: ControlSocket
    gateway: GatewayProcess


@dataclass(slots=True)
class Whole:
    """Everything a daemon consists of."""

    plant: Plant
    core: Core
    engine: Engine
    programs: Programs
    console: Console
    info: Info
    relay: Relay


def prepare(settings: Settings) -> None:
    """Take away what a crash has left, and install what containers are started with; only for who has the lock."""
    empty_spool(settings.data_root / TEMPORARY)
    init_program.install(str(settings.data_root / STATE / "lading-init"), platform.machine())


def open_plant(settings: Settings, *, anew: bool = False) -> Plant:
    """The adapters, still closed."""
    root, run = settings.data_root, settings.run_dir
    server, contents = _server(settings), LocalImageStore(root / STORE)
    program = str(root / STATE / "lading-init")
    control = ControlSocket(settings.socket, settings.host, server.locate, redacted)
    return Plant(
        store=SqliteEventStore(root, projections(), anew=anew),
        server=server,
        bus=NatsBus(server.locate),
        runtime=KernelRuntime(
            run, root, contents.layer_root(), init_program=program, failpoints=_small(settings.failpoints),
            ids=settings.id_range,
        ),
        contents=contents,
        volumes=VolumeDirectories(root / VOLUMES),
        network=Door(NetworkProcess(net_command(), run, root, settings.firewall)),
        registries=RemoteRegistries(settings.registries),
        control=control,
        gateway=_gateway(settings, control),
    )


def _gateway(settings: Settings, control: ControlSocket) -> GatewayProcess:
    wanted = {
        "engine": str(settings.socket),
        "group": settings.gateway_group,
        "listen": settings.gateway_listen,
        "certificate": settings.gateway_certificate,
        "key": settings.gateway_key,
        "authority": settings.gateway_authority,
    }
    return GatewayProcess(gateway_command(), wanted, control.trust, settings.data_root / STATE / "gateway.log")


def _server(settings: Settings) -> EmbeddedServer | ExternalServer:
    if settings.nats_url:
        credentials = Path(settings.nats_credentials) if settings.nats_credentials else None
        return ExternalServer(settings.nats_url, credentials)
    users = [User(user.name, user.password, user.role) for user in settings.nats_users]
    return EmbeddedServer(settings.run_dir / "nats", settings.host, users)


def assemble(settings: Settings, plant: Plant, head: int) -> Whole:
    """Connect what is open; `head` is the position of the log's last event."""
    origin = Origin(boot=facts.boot_id(), version=VERSION)
    relay = Relay(plant.bus, settings.host, head)
    store, clock = announced(plant.store, relay), SystemClock()
    images = Images(store, plant.store.views, plant.contents, clock, settings.registries)
    volumes = Volumes(store, plant.store.views, plant.volumes, clock)
    core = Core(
        Outside(
            host=settings.host,
            origin=origin,
            store=store,
            views=plant.store.views,
            bus=plant.bus,
            runtime=plant.runtime,
            images=images,
            volumes=volumes,
            contents=plant.volumes,
            clock=clock,
            relay=relay,
            layers=plant.contents.layer_paths,
            upper=lambda id: settings.data_root / CONTAINERS / id / "upper",
            network=plant.network.reach,
            lingers=lambda: lingers(settings.run_dir),
            default_network=settings.default_network,
            publish_address=settings.publish_address,
            ids=(settings.id_range.first, settings.id_range.count),
        )
    )
    async def layers(container: Container) -> Sequence[str]:
        return plant.contents.layer_paths(await images.image(container.settled.image_id))

    async def changed(container: Container) -> AsyncIterator[tuple[str, str]]:
        image = await images.image(container.settled.image_id)
        async for change in plant.contents.changed(settings.data_root / CONTAINERS / container.id / "upper", image):
            yield change

    async def live() -> Sequence[str]:
        where = {"active": 1, "state": sorted(state.value for state in LIVE)}
        rows = await plant.store.views.select("containers", where=where)
        return [str(row["id"]) for row in rows]

    plant.network.on_lost(core.networks.settle)

    async def advice(limits: Resources) -> Sequence[str]:
        return check(limits, await plant.runtime.control(disks=weighs(limits)))

    async def itself(id: str) -> str:
        return id

    async def join(asked: NetworkingWish) -> Joined:
        return await core.leases.look_up(asked, itself, named=False)

    logs = LogFiles(settings.data_root / LOGS)
    streams = Streams(core.mover, plant.runtime, logs)
    build_files = BuildFiles(plant.contents, settings.data_root / TEMPORARY, settings.run_dir)
    builder = Builder(
        Site(
            store=store,
            views=plant.store.views,
            images=images,
            contents=plant.contents,
            files=build_files,
            mover=core.mover,
            runner=Runner(core.mover, streams, plant.runtime, clock, advice, join, settings.userns),
            clock=clock,
            platform=host_platform(),
            rules=binaries.rules,
            caches=settings.data_root / STORE / "build" / "cache",
            budget=build_files.budget,
            upper=lambda id: settings.data_root / CONTAINERS / id / "upper",
        )
    )
    info = Info(settings, plant.store.views)
    engine = Engine(
        Parts(
            host=settings.host,
            version=VERSION,
            mover=core.mover,
            store=store,
            views=plant.store.views,
            images=ImageDesk(
                images, Transfers(images, plant.contents, plant.registries), core.mover, settings.data_root / TEMPORARY
            ),
            volumes=VolumeDesk(volumes, core.mover),
            prepare=core.mounting.prepare,
            networks=core.networks,
            leases=core.leases,
            clock=clock,
            runtime=plant.runtime,
            relay=relay,
            logs=logs,
            files=FileDesk(core.mover, plant.runtime.files, Sampler(plant.runtime.meter, clock, live), layers, changed,
                           core.mounting.using),
            streams=streams,
            health=core.health.verdict,
            facts=info.facts,
            check=plant.store.verify,
            accesses=Accesses(store, settings.host, origin) if settings.access_log == "on" else Unrecorded(),
            builder=builder,
            gateway=GatewayDesk(plant.gateway, settings),
            userns=settings.userns,
            apparmor=facts.apparmor(),
        )
    )
    identify = _identify(settings, plant.control)
    console = Console(settings.host, answering(engine), plant.control)
    return Whole(plant, core, engine, Programs(plant.bus, settings.host, engine, identify), console, info, relay)


def _identify(settings: Settings, control: ControlSocket) -> Callable[[str], Actor]:
    def identify(who: str) -> Actor:
        if subjects.is_local(who):
            return control.identity(who)
        if not who:
            raise Unavailable("nobody asks")
        return Actor(via="nats", user=who, host=settings.host)

    return identify


def _small(failpoints: str) -> str:
    """The part of the failpoints that the small processes arm."""
    return ";".join(part for part in failpoints.split(";") if part.strip().startswith(SMALL))


def versions() -> Mapping[str, str]:
    """Of everything whose version changes what may be relied on."""
    return {"engine": VERSION, "kernel": facts.kernel(), "sqlite": SQLITE}
