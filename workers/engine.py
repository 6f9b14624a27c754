"""The engine as the console, programs and the gateway see it: wishes in, facts out.

It turns what people type (names, prefixes, references) into what the domain knows (ids, images), and waits for
outcomes. It decides nothing about containers: `workers.mover` and the domain do.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from os import uname
from typing import Protocol

from domain.container import LIVE, Container, State
from domain.errors import Ambiguous, CommandFailed, KernelError, LadingError, NameTaken, NotFound, Refused, Unavailable
from domain.health import Verdict
from domain.images.manifest import parse_platform
from domain.images.model import Image
from domain.isolation import LENT, lends_ipc
from domain.lifecycle.attach import Attach
from domain.lifecycle.commit import Commit, CommitFailed, Committed
from domain.lifecycle.create import Create
from domain.lifecycle.exec import Exec, ExecExited, ExecFailed
from domain.lifecycle.exit import Exited
from domain.lifecycle.kill import SignalFailed
from domain.lifecycle.network import ConnectFailed, DisconnectFailed
from domain.lifecycle.pause import PauseFailed
from domain.lifecycle.remove import RemoveFailed
from domain.lifecycle.start import Start, StartFailed
from domain.lifecycle.stop import Restart, Stop, StopFailed
from domain.lifecycle.unpause import UnpauseFailed
from domain.lifecycle.update import LimitsFailed, Update
from domain.limits import changed, check, weighs
from domain.messages import Command, Event, Recorded, StreamId
from domain.mounts import Mount
from domain.names import container_name, is_id, is_id_prefix, made_up
from domain.network.asked import NetworkWish, parse_link
from domain.ports.bus import Clock
from domain.ports.events import EventStore, Views
from domain.ports.logs import LogFrame, LogReader
from domain.ports.runtime import Input, Runtime
from domain.resources import NO_LIMITS, Resources
from domain.runtime.request import CONTAINER, lender
from domain.text.times import local
from domain.volumes.wanted import inherited, volumes_from
from workers.accesses import Register
from workers.blueprint import blueprint, exec_spec
from workers.build.builder import Builder
from workers.console.board import Board
from workers.filedesk import FileDesk
from workers.gatewaydesk import GatewayDesk
from workers.imagedesk import ImageDesk
from workers.leases import Leases
from workers.mover import KEPT, Caller, Moved, Mover
from workers.networks import Networks
from workers.relay import Relay
from workers.requests import CreateRequest, ExecRequest
from workers.streams import Begin, Streams, Window
from workers.tidings import Tidings
from workers.volumedesk import VolumeDesk

NAME_TRIES = 20
_ON_ITS_WAY = frozenset({State.STARTING, State.RESTARTING})


class Report(Protocol):
    """The result of a check of the log."""

    @property
    def checked(self) -> int:
        """Events that were read."""

    @property
    def findings(self) -> Sequence[object]:
        """What is wrong, one line each as text; empty when all is well."""

    @property
    def only_tables(self) -> bool:
        """Whether the log is in order, and only what is made from it is not."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What an engine is put together from."""

    host: str
    version: str
    mover: Mover
    store: EventStore
    views: Views
    images: ImageDesk
    volumes: VolumeDesk
    networks: Networks
    leases: Leases
    files: FileDesk
    clock: Clock
    runtime: Runtime
    relay: Relay
    logs: LogReader
    streams: Streams
    health: Callable[[str], Verdict | None]
    prepare: Callable[[Container], Awaitable[None]]
    facts: Callable[[], Awaitable[Mapping[str, object]]]
    check: Callable[[], Awaitable[Report]]
    accesses: Register
    userns: str = "host"
    apparmor: bool = False
    builder: Builder | None = None
    gateway: GatewayDesk | None = None


class Engine:
    """One host's engine."""

    def __init__(self, parts: Parts) -> None:
        self.host, self.version = parts.host, parts.version
        self.store, self.views, self.images, self.logs = parts.store, parts.views, parts.images, parts.logs
        self.files, self.networks, self._leases = parts.files, parts.networks, parts.leases
        self.volumes, self._builder, self._gateway = parts.volumes, parts.builder, parts.gateway
        self._mover, self._clock, self._runtime = parts.mover, parts.clock, parts.runtime
        self._streams, self._facts, self._check = parts.streams, parts.facts, parts.check
        self._health, self._userns, self._prepare = parts.health, parts.userns, parts.prepare
        self._apparmor = parts.apparmor
        self._execs: OrderedDict[str, int] = OrderedDict()
        self._readings: set[asyncio.Task[None]] = set()
        self.accesses = parts.accesses
        self.board = Board(parts.store, parts.views)
        parts.relay.listen(self.board.hear)
        self.tidings = Tidings(parts.store)
        parts.relay.listen(self.tidings.hear)

    @property
    def builder(self) -> Builder:
        """Builds. Raises: Unavailable for an engine that was put together without."""
        if self._builder is None:
            raise Unavailable("this engine builds nothing")
        return self._builder

    @property
    def gateway(self) -> GatewayDesk:
        """The gateway of the Docker Engine API. Raises: Unavailable for an engine that was put together without."""
        if self._gateway is None:
            raise Unavailable("this engine has no gateway")
        return self._gateway

    async def create(self, request: CreateRequest, who: Caller) -> str:
        """Write the container down; returns its id. Raises: Refused, NotFound."""
        id, _ = await self._create(self._clock.new_id(), request, (), who)
        await self._prepare(await self._mover.container(id))
        return id

    async def advice(self, limits: Resources) -> Sequence[str]:
        """What of these limits this host cannot do, and goes without. Raises: InvalidValue, Refused for the others."""
        if limits == NO_LIMITS:
            return ()  # as of most containers: the kernel need not be asked
        return check(limits, await self._runtime.control(disks=weighs(limits)))

    async def advice_on(self, id: str, wish: Update) -> Sequence[str]:
        """The same of what the limits of a container become by an update."""
        if not wish.limits:
            return ()
        return await self.advice(changed((await self._mover.container(id)).settled.limits, wish.limits))

    async def run(
        self, request: CreateRequest, who: Caller, *, attach: Attach | None = None, size: tuple[int, int] = (0, 0)
    ) -> str:
        """Create and start in one append; returns the id when the first process was executed.

        `attach` says which of its streams the caller is going to take part in, `size` how large his terminal is.

        Raises: CommandFailed and KernelError when it could not be started (the container stays, unless it removes
        itself; then it is gone), Refused, NotFound.
        """
        watched = () if attach is None else (attach.model_copy(update={"starting": True}),)
        id = self._clock.new_id()
        async with self._expecting(id, attach):
            id, moved = await self._create(id, request, (*watched, Start(size=size)), who)
            if moved is not None:
                try:
                    await self._done(id, moved.intents)
                except LadingError:
                    if request.auto_remove:
                        await self.wait_removed(id)
                    raise
        return id

    async def execute(
        self, id: str, command: Command, who: Caller, *, wait: bool = True, attach: Attach | None = None
    ) -> Container:
        """Carry out a wish about one container and wait for its outcome; with `attach` it is recorded in the same
        append that the caller takes part in the run which a start begins.

        Raises: Refused, NotFound, NameTaken, CommandFailed, KernelError.
        """
        if isinstance(command, Update):
            await self.advice_on(id, command)
        watched = () if attach is None else (attach.model_copy(update={"starting": True}),)
        async with self._expecting(id, attach):
            moved = await self._accept(id, (*watched, command), who)
            after = await self._outcome(id, command, moved) if wait else moved.after
        await self._volumes_gone(after)
        if attach is not None and after.attempt == moved.before.attempt:
            self._streams.forget(id)
        return after

    async def _outcome(self, id: str, command: Command, moved: Moved) -> Container:
        if isinstance(command, Stop) and moved.after.state is State.STOPPING:
            await self._mover.until(id, lambda c: c.state is not State.STOPPING)
        await self._done(id, moved.intents)
        if isinstance(command, Restart):
            await self._restarted(id, moved.before.attempt + 1)
        return await self._mover.container(id)

    async def connect(self, network: str, id: str, wish: NetworkWish, links: Sequence[str], who: Caller) -> None:
        """Connect a container to one network more, at once if it runs; `links` are `CONTAINER[:NAME]`.

        Raises: Refused, NotFound, KernelError.
        """
        pairs = [parse_link(text) for text in links]
        moved = await self._leases.connect(network, id, wish, pairs, self.resolve, who)
        await self._done(id, moved.intents)

    async def unlink(self, id: str, name: str, who: Caller) -> None:
        """Let it forget the name that it alone has for another container, at once if it runs. Raises: NotFound."""
        await self._leases.unlink(id, name, who)

    async def disconnect(self, network: str, id: str, who: Caller, *, force: bool) -> None:
        """Disconnect it from a network, from its last one with `force`. Raises: Refused, NotFound, KernelError."""
        moved = await self._leases.disconnect(network, id, who, force=force)
        await self._done(id, moved.intents)

    async def commit(self, id: str, command: Commit, who: Caller) -> str:
        """Make an image of the container; returns its id. Raises: Refused with what failed."""
        moved = await self._mover.accept(id, (command,), who)
        for event in await self._done(id, moved.intents):
            if isinstance(event, Committed):
                return event.image_id
        raise Refused(f"container {id[:12]} was removed before the commit was done")

    async def exec(
        self,
        id: str,
        request: ExecRequest,
        who: Caller,
        *,
        size: tuple[int, int] = (0, 0),
        watched: bool = True,
        exec_id: str = "",
    ) -> str:
        """Execute one more command in a running container; returns its exec id (`exec_id`, if it has one already) when
        it was executed. If it is not `watched` nobody will ask for what it writes, and it never waits for a reader.

        Raises: Refused, NotFound, CommandFailed (126, 127), KernelError.
        """
        spec, exec_id = exec_spec(request), exec_id or self._clock.new_id()
        moved = await self._accept(id, (Exec(exec_id=exec_id, exec=spec, env=request.env, size=size),), who)
        self._remember(exec_id, moved.after.execs[exec_id].requested)
        if not await self._done(id, moved.intents):
            raise NotFound(f"container {id} is not running")
        if not watched:
            reading = asyncio.create_task(self._read_away(id, exec_id))
            self._readings.add(reading)
            reading.add_done_callback(self._readings.discard)
        return exec_id

    async def _read_away(self, id: str, exec_id: str) -> None:
        with suppress(LadingError):
            async for _ in self._runtime.exec_output(id, exec_id):
                pass

    def exec_output(self, id: str, exec_id: str) -> AsyncIterator[LogFrame]:
        """What that process writes, until its end. Raises: NotFound."""
        return self._runtime.exec_output(id, exec_id)

    async def exec_exit(self, id: str, exec_id: str) -> int:
        """Its exit status, once its end is in the log. Raises: NotFound for what was never executed."""
        container = await self._mover.until(id, lambda c: exec_id not in c.execs)
        assert container is not None
        requested = self._execs.get(exec_id)
        caused = None if requested is None else self._mover.outcomes(frozenset({requested}))
        events = caused or [record.event for record in await self.history(id)]
        ends = [event.code for event in events if isinstance(event, ExecExited) and event.exec_id == exec_id]
        if not ends:
            raise NotFound(f"container {id[:12]} has executed nothing as {exec_id[:12]}")
        return ends[0]

    async def input(self, id: str, exec_id: str = "") -> Input:
        """The input and the terminal of the first process, or of an exec. Raises: NotFound when it does not run,
        Refused when it was started without both."""
        return await self._runtime.input(id, exec_id)

    def health(self, id: str) -> Verdict | None:
        """What the probes of a container have found since this daemon looks; None without a check."""
        return self._health(id)

    async def container(self, id: str) -> Container:
        """The fold of one container."""
        return await self._mover.container(id)

    async def wait(self, id: str) -> int:
        """The exit status, as soon as the container does not run (also one that is removed)."""
        container = await self._mover.until(
            id, lambda c: c.state not in LIVE and c.state not in _ON_ITS_WAY and not c.pid
        )
        assert container is not None
        return container.exit_code

    async def wait_exit(self, id: str, attempt: int) -> int:
        """The exit status of one run, whatever comes after it."""
        container = await self._mover.until(
            id, lambda c: c.attempt > attempt or (c.state is not State.STARTING and not c.pid)
        )
        assert container is not None
        for record in await self.history(id) if container.attempt > attempt else ():
            match record.event:
                case Exited(attempt=run, code=code) | StartFailed(attempt=run, exit_code=code) if run == attempt:
                    return code
        return container.exit_code

    async def until_run(self, id: str, attempt: int) -> Container:
        """The container as soon as it runs for that time, has done so, or is gone."""
        container = await self._mover.until(
            id, lambda c: c.attempt > attempt or (c.attempt == attempt and c.state is not State.STARTING)
            or c.state in {State.REMOVED, State.DEAD}
        )
        assert container is not None
        return container

    async def wait_removed(self, id: str) -> None:
        """Returns when the container is gone, or could not be removed."""
        container = await self._mover.until(id, lambda c: c.state in {State.REMOVED, State.DEAD})
        assert container is not None
        await self._volumes_gone(container)

    async def _volumes_gone(self, container: Container) -> None:
        """Those that went with it are deleted."""
        if container.state is State.REMOVED and container.takes_volumes and container.settled.mounts:
            await self.volumes.volumes.carry_on()

    async def resolve(self, name: str) -> str:
        """Full id, else exact name, else unambiguous prefix of an id. Raises: NotFound, Ambiguous."""
        wanted = name.removeprefix("/")
        if is_id(wanted) and await self.views.get("containers", wanted) is not None:
            return wanted
        rows = await self.views.select("containers", where={"name": wanted}, limit=1)
        if not rows and is_id_prefix(wanted):
            rows = await self.views.select("containers", prefix=("id", wanted), limit=2)
        return _only(rows, "id", name)

    async def resolve_past(self, name: str) -> str:
        """Like `resolve`, and then what was removed or had that name once. Raises: NotFound, Ambiguous (with dates)."""
        try:
            return await self.resolve(name)
        except Ambiguous:
            raise
        except NotFound:
            rows = await self.views.select("names", where={"name": name.removeprefix("/")}, order="since")
            ids = list(dict.fromkeys(str(row["id"]) for row in rows))
            if not ids and is_id_prefix(name):
                ids = [str(row["id"]) for row in await self.views.select("past", prefix=("id", name), limit=8)]
            if len(ids) > 1:
                raise Ambiguous(f"{name} has named {len(ids)} containers", hint=await self._candidates(ids)) from None
            if not ids:
                raise
            return ids[0]

    def output(
        self, id: str, *, from_start: bool, hold: float | None = None, begun: Callable[[], None] = lambda: None
    ) -> AsyncIterator[LogFrame]:
        """What the container writes until its present run ends: all of the one that was started for the caller, or only
        what comes once `begun` was called."""
        window = Window(begin=Begin.EXPECTED if from_start else Begin.NOW)
        return self._streams.follow(id, window, hold=hold, begun=begun)

    def upcoming(
        self, id: str, *, run: int, hold: float, begun: Callable[[], None] = lambda: None
    ) -> AsyncIterator[LogFrame]:
        """What the container writes in a run that somebody else is going to start, or just has started."""
        return self._streams.upcoming(id, run=run, hold=hold, begun=begun)

    def stored(
        self, id: str, *, since: int | None = None, until: int | None = None, tail: int | None = None
    ) -> AsyncIterator[LogFrame]:
        """`logs`: what was written up to now."""
        return self._streams.stored(id, Window(since, until, tail))

    def follow(
        self, id: str, *, since: int | None = None, until: int | None = None, tail: int | None = None,
        restarts: bool = False, hold: float | None = None,
    ) -> AsyncIterator[LogFrame]:
        """`logs -f`: what was written, then what is being written until the run ends, or no other follows."""
        return self._streams.follow(id, Window(since, until, tail), restarts=restarts, hold=hold)

    async def processes(self, id: str) -> Sequence[int]:
        """Host pids of all processes of the container."""
        return await self._runtime.processes(id)

    async def writable_size(self, id: str) -> int:
        """Bytes that the container has written over its image."""
        return await self._runtime.writable_size(id)

    async def info(self) -> Mapping[str, object]:
        """Facts about the engine and its host."""
        return await self._facts()

    async def verify(self) -> Report:
        """Read the whole log again and check its chain, its head and its projections."""
        return await self._check()

    async def _candidates(self, ids: Sequence[str]) -> str:
        """The newest of them with their dates, for a person to pick one."""
        rows = [row for id in ids[-5:] if (row := await self.views.get("past", id)) is not None]
        return "say which one by its id: " + ", ".join(
            f"{str(row['id'])[:12]} (created {local(int(str(row['created_at'])))})" for row in reversed(rows)
        )

    async def history(self, id: str) -> Sequence[Recorded]:
        """All events of one container, oldest first."""
        return await self.store.load(_stream(id))

    async def _accept(self, id: str, commands: Sequence[Command], who: Caller) -> Moved:
        try:
            return await self._mover.accept(id, commands, who)
        except NameTaken as error:
            raise _conflict(getattr(commands[-1], "name", ""), error) from error

    def _expecting(self, id: str, attach: Attach | None) -> AbstractAsyncContextManager[None]:
        """Whoever attaches to the output of a run sees it from its first byte on."""
        if attach is None or not {"stdout", "stderr"}.intersection(attach.streams):
            return nullcontext()
        return self._streams.expecting(id)

    async def _create(
        self, id: str, request: CreateRequest, then: tuple[Command, ...], who: Caller
    ) -> tuple[str, Moved | None]:
        if who.command_id and (done := await self.store.replied(who.command_id)) is not None:
            return done.body, None
        request = await self._with_lenders(request)
        networks = await self._leases.look_up(request.asked_networking, self.resolve, named=bool(request.hostname))
        async with self.images.images.guard:
            image = await self._image_for(request)
            spec, env = blueprint(request, image, id, networks=networks, machine=uname().nodename,
                                  apparmor=self._apparmor, userns=self._userns, others=await self._shared(request),
                                  new_name=self._clock.new_id)
            await self.advice(spec.limits)
            await self._runtime.check(spec)
            for attempt in range(NAME_TRIES):
                name = container_name(request.name) if request.name else self._made_up(attempt)
                try:
                    commands = (Create(name=name, spec=spec, env=env), *then)
                    claims = partial(self.volumes.volumes.claims, id, name, spec.mounts)
                    return id, await self._mover.accept(id, commands, who, reply=id, more=claims)
                except NameTaken as error:
                    if request.name or attempt == NAME_TRIES - 1:
                        raise _conflict(name, error) from error
        raise AssertionError("the last try returns or raises")

    async def _image_for(self, request: CreateRequest) -> Image:
        """Raises: NotFound, also for one of another platform than was asked for."""
        images = self.images.images
        if not request.platform:
            return await images.resolve(request.image)
        return await images.suiting(request.image, parse_platform(request.platform))

    async def _with_lenders(self, request: CreateRequest) -> CreateRequest:
        """Containers whose namespaces are to be shared by their ids. Raises: Refused for one that is not there, or that
        keeps its namespace for itself."""
        modes: dict[str, str] = {}
        for kind in LENT if request.isolation else ():
            name = lender(getattr(request.isolation, kind))
            if not name:
                continue
            try:
                id = await self.resolve(name)
            except (NotFound, Ambiguous) as error:  # "not found" alone would be about the image
                raise Refused(error.message, hint=error.hint) from error
            if kind == "ipc" and not lends_ipc((await self._mover.container(id)).settled.confinement):
                raise Refused(f"cannot join IPC of container {name}: non-shareable IPC",
                              hint="it can be shared if that container was made with --ipc shareable")
            modes[kind] = f"{CONTAINER}{id}"
        if request.isolation is None or not modes:
            return request
        return request.model_copy(update={"isolation": request.isolation.model_copy(update=modes)})
    async def _shared(self, request: CreateRequest) -> list[Mount]:
        """What other containers have that this one is to see. Raises: NotFound, Ambiguous, InvalidValue."""
        found: list[Mount] = []
        for text in request.volumes_from:
            name, read_only = volumes_from(text)
            other = await self._mover.container(await self.resolve(name))
            found += inherited(other.settled.mounts, read_only=read_only)
        return found

    def _remember(self, exec_id: str, requested: int) -> None:
        """Where an exec was asked for: its end is found there without reading the whole story of its container."""
        self._execs[exec_id] = requested
        while len(self._execs) > KEPT:
            self._execs.popitem(last=False)

    def _made_up(self, attempt: int) -> str:
        return made_up(self._clock.choice(1 << 20), self._clock.choice(1 << 20), attempt)

    async def _restarted(self, id: str, attempt: int) -> None:
        """The start that a restart goes on with has an outcome, or a stop or rm has called it off."""
        container = await self._mover.until(
            id, lambda c: c.state is not State.STARTING and (c.attempt >= attempt or c.state is not State.STOPPING)
        )
        assert container is not None
        if container.attempt < attempt:
            raise Refused(f"the restart of container {container.name} was called off")
        if container.attempt == attempt and container.error:
            raise _start_error(container.error, container.exit_code)

    async def _done(self, id: str, intents: frozenset[int]) -> Sequence[Event]:
        """Wait until all this work has an outcome; returns the outcomes. Raises what the first failure means."""
        if not intents:
            return ()
        await self._mover.until(id, lambda c: not intents & set(c.open))
        outcomes = self._mover.outcomes(intents)
        if outcomes is None:
            outcomes = [r.event for r in await self.store.load(_stream(id)) if r.meta.cause in intents]
        for event in outcomes:
            _raise_failure(event)
        return outcomes


def _raise_failure(event: Event) -> None:
    match event:
        case StartFailed():
            raise _start_error(event.reason, event.exit_code, event.hint)
        case StopFailed() | PauseFailed() | UnpauseFailed() | SignalFailed() | CommitFailed():
            raise KernelError(event.reason)
        case ConnectFailed(reason=reason) | DisconnectFailed(reason=reason):
            raise KernelError(reason)
        case LimitsFailed():
            raise KernelError(f"the limits stay as they were: {event.reason}")
        case ExecFailed():
            raise _start_error(event.reason, event.exit_code)
        case RemoveFailed():
            raise KernelError(
                f"cannot remove all of the container: {event.residue}",
                hint="it is tried again at the next start of the engine, or by rm",
            )


def _start_error(reason: str, exit_code: int, hint: str = "") -> CommandFailed | KernelError:
    if exit_code in {126, 127}:
        return CommandFailed(reason, exit_code=exit_code, hint=hint)
    return KernelError(reason, hint=hint)


def _stream(id: str) -> StreamId:
    return StreamId("container", id)


def _only(rows: Sequence[Mapping[str, object]], column: str, name: str) -> str:
    ids = sorted({str(row[column]) for row in rows})
    if not ids:
        raise NotFound(f"No such container: {name}")
    if len(ids) > 1:
        raise Ambiguous(f"multiple IDs found with provided prefix: {name}", hint=", ".join(id[:12] for id in ids[:8]))
    return ids[0]


def _conflict(name: str, error: NameTaken) -> NameTaken:
    return NameTaken(
        f'Conflict. The container name "/{name}" is already in use by container "{error.holder}". You have to remove '
        f"(or rename) that container to be able to reuse that name.",
        holder=error.holder,
        hint=f"lading rm {error.holder[:12]}",
    )
