"""The core of the daemon: everything between the ports, put together once for the daemon and for the simulator.

Order of a start: listen for exits and outcomes, compare log and kernel, hand out what is open, then take wishes.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from domain.container import Container
from domain.errors import Conflict, KernelError, StorageError
from domain.host import HostStarted, HostStopped, Recovered
from domain.images.model import Image
from domain.lifecycle.commit import CommitRequested
from domain.messages import Append, Event, Recorded, StreamId
from domain.ports.bus import Bus, Clock
from domain.ports.events import EventStore, Views
from domain.ports.runtime import Runtime
from domain.ports.volumes import VolumeStore
from workers.announce import Announcing
from workers.health import Health
from workers.images import Images
from workers.leases import Leases
from workers.lifecycle import ACTS
from workers.lifecycle.hands import Hands
from workers.lifecycle.worker import Worker
from workers.monitor import Monitor
from workers.mounting import Mounting
from workers.mover import Caller, Mover, Origin
from workers.networks import Networks, Reach
from workers.reconcile import Reconciler, unknown_end
from workers.relay import Relay
from workers.settle import Settler
from workers.timers import Timers
from workers.volumes import Volumes
from workers.wire import Work

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outside:
    """The ports a core works with. `store` must already be wrapped in `Announcing` with the relay's `publish`.

    `contents` are those of volumes. `layers(image)` gives the short names of an image's layer directories, `upper(id)`
    the writable layer of a container. `network()` is the driver of networks, and begins with it if nobody has needed it
    before; `lingers()` says whether something of an earlier one may be there. `default_network` are options of the
    network that containers are on if nothing is said, `publish_address` is where ports are published likewise, `ids`
    are the first id and the number of those of remapped containers.
    """

    host: str
    origin: Origin
    store: EventStore
    views: Views
    bus: Bus
    runtime: Runtime
    images: Images
    volumes: Volumes
    contents: VolumeStore
    clock: Clock
    relay: Relay
    layers: Callable[[Image], Sequence[str]]
    upper: Callable[[str], Path]
    network: Reach
    lingers: Callable[[], bool]
    default_network: Mapping[str, str] = field(default_factory=dict)
    publish_address: str = ""
    ids: tuple[int, int] | None = None


def announced(store: EventStore, relay: Relay) -> EventStore:
    """The store as the core and the images must use it."""
    return Announcing(store, relay.publish, lambda: relay.head)


class Core:
    """Workers, their wiring, and the order in which they begin and end."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self.mover = Mover(outside.store, outside.clock, outside.origin)
        self.networks = Networks(outside.store, outside.views, outside.network, outside.clock, self.mover,
                                 default_options=outside.default_network)
        self.leases = Leases(self.networks, outside.views, self.mover, outside.runtime, outside.clock,
                             publish_address=outside.publish_address, ids=outside.ids)
        self.timers = Timers(self.mover, outside.clock)
        self.mounting = Mounting(self.mover, outside.views, outside.contents)
        self._settler = Settler(self.mover, outside.images, outside.volumes, self._volumes_released)
        self.health = Health(self.mover, outside.runtime, outside.clock)
        self._monitor = Monitor(self.mover, outside.runtime, self.health.ended)
        self._worker = Worker(outside.bus, outside.host, self._hands(), self._find)
        self._reconciler = Reconciler(
            outside.store, outside.views, self.mover, outside.runtime, outside.clock, outside.origin.boot
        )
        self._tasks: set[asyncio.Task[Any]] = set()
        self.broken = asyncio.Event()
        """Set when a part has ended that should never end: without it wishes would wait for ever."""

    async def begin(self, versions: dict[str, str] | None = None) -> dict[str, int]:
        """Returns when log and kernel agree; what that took is returned and stands in the host's stream."""
        relay = self._outside.relay
        relay.listen(self.timers.notice)
        relay.listen(self.health.notice)
        relay.listen(self.mounting.notice)
        relay.listen(self.leases.notice)
        await relay.begin(frozenset(ACTS), self._settler.settle)
        await self._worker.begin()
        rebooted = await self._note(HostStarted(boot=self._outside.origin.boot, versions=versions or {}))
        self._spawn(relay.run())
        found = await self._reconciler.compare()
        await self.networks.begin(lingers=self._outside.lingers())
        self._monitor.begin()
        self._spawn(relay.insist())
        found.count("unfinished", await self._hand_out())
        await self._reconciler.retry_dead()
        await self._recover_images()
        await self._recover_volumes()
        if rebooted:
            rows = await self._outside.views.select("containers", where={"state": "exited"}, order="created_at")
            await self._reconciler.start_again([str(row["id"]) for row in rows])
        await self._note(Recovered(counts={what: number for what, number in sorted(found.counts.items()) if number}))
        return found.counts

    async def _recover_images(self) -> None:
        try:
            await self._outside.images.recover()
        except StorageError as error:
            log.error("removals of images were not carried on: %s", error)

    async def _recover_volumes(self) -> None:
        try:
            await self._outside.volumes.recover()
            await self.mounting.begin()
        except (StorageError, KernelError) as error:
            log.error("removals of volumes were not carried on: %s", error)

    def _volumes_released(self) -> None:
        self._spawn(self._remove_released())

    async def _remove_released(self) -> None:
        try:
            await self._outside.volumes.carry_on()
        except StorageError as error:
            log.error("volumes that were given back are removed at the next start: %s", error)

    async def compare_again(self) -> None:
        """The supervisor was lost and built anew while we ran: end what it no longer holds and say so."""
        found = await self._reconciler.compare()
        await self._note(Recovered(counts={what: number for what, number in sorted(found.counts.items()) if number}))
        await self._outside.relay.tell_again()

    async def end(self, reason: str = "") -> None:
        """Stop working; containers go on."""
        with contextlib.suppress(Exception):
            await self._note(HostStopped(reason=reason))
        self.timers.stop()
        await self.health.stop()
        await self.mounting.stop()
        await self.leases.end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._outside.relay.end()

    def _hands(self) -> Hands:
        return Hands(
            runtime=self._outside.runtime,
            leases=self.leases,
            clock=self._outside.clock,
            boot=self._outside.origin.boot,
            ended=self._ended,
            execs_ended=self._execs_ended,
            volumes=self.mounting.prepare,
            layers=self._layers,
            image_of=self._image_of,
        )

    async def _ended(self, id: str, seconds: float | None) -> bool:
        return await self.mover.until(id, lambda c: not c.pid, seconds) is not None

    async def _execs_ended(self, id: str, seconds: float) -> None:
        if await self.mover.until(id, lambda c: not c.execs, seconds) is not None:
            return
        container = await self.mover.container(id)
        for exec_id, execution in container.execs.items():
            if execution.pid:
                await self.mover.report(id, unknown_end(exec_id, execution, self._outside.clock.now()))

    async def _layers(self, container: Container) -> tuple[str, ...]:
        image = await self._outside.images.image(container.settled.image_id)
        return tuple(self._outside.layers(image))

    async def _image_of(self, container: Container, intent: Recorded) -> Image:
        assert isinstance(intent.event, CommitRequested)
        wish, upper = intent.event, self._outside.upper(container.id)
        return await self._outside.images.commit(
            upper,
            container.settled,
            container.env,
            author=wish.author,
            message=wish.message,
            changes=wish.changes,
        )

    async def _find(self, work: Work) -> tuple[Container, Recorded] | None:
        """The container and the intent of some work; None when it has an outcome already.

        The work may be told before the mover has folded it: it waits for the fold.
        """
        stream = StreamId("container", work.id)
        intent = self._outside.relay.intent(work.position)
        if intent is None:
            (intent,) = await self._outside.store.read(work.position - 1, 1, streams=(stream,))
        container = await self.mover.until(work.id, lambda c: c.version >= intent.version)
        if container is None or work.position not in container.open:
            return None
        return container, intent

    async def _hand_out(self) -> int:
        """All open work, and the timers that a crash has stopped."""
        intents = await self._reconciler.unfinished()
        for intent in intents:
            if intent.kind in ACTS:
                await self._outside.relay.hand_out(intent)
                continue
            try:
                records = await self._outside.store.read(intent.position - 1, 1, streams=(intent.stream,))
            except StorageError as error:
                log.error("event %d cannot be read: %s", intent.position, error)
                continue
            for record in records:
                self.timers.notice(record)
        return len(intents)

    async def _note(self, event: Event) -> bool:
        """Append to the host's stream; says whether nobody has recovered yet since the host was rebooted.

        A host whose own story cannot be read still has containers to care for: it goes on without a note.
        """
        stream = StreamId("host", self._outside.host)
        while True:
            try:
                records = await self._outside.store.load(stream)
            except StorageError as error:
                log.error("the story of this host cannot be read: %s", error)
                return False
            version = records[-1].version if records else 0
            try:
                meta = self.mover.meta(Caller())
                await self._outside.store.append((Append(stream, version, (event,)),), meta)
            except Conflict:
                continue
            return _rebooted(records, self._outside.origin.boot)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._report)

    def _report(self, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("a part of the daemon has ended: %s", error, exc_info=error)
            self.broken.set()


def _rebooted(records: Sequence[Recorded], boot: str) -> bool:
    """Whether the last daemon that has recovered, or else the first one, was under another boot id. One that dies
    before it has recovered from a reboot leaves that to the next."""
    boots: list[str] = []
    recovered = ""
    for record in records:
        if isinstance(record.event, HostStarted):
            boots.append(record.event.boot)
        elif isinstance(record.event, Recovered) and boots:
            recovered = boots[-1]
    return bool(boots) and (recovered or boots[0]) != boot
