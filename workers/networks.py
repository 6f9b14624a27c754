"""What the engine does with networks: lay them out, find them, remove them. It appends; the kernel is the driver's.

`guard` is held while it is decided what a name means, which subnets are free and what is recorded about it, so that two
networks never get one subnet. A network is made in the kernel first and recorded then: what a crash leaves in between
is in no log, and `settle` takes it away. A removal is recorded first, because others must see it coming.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_network

from domain.errors import Ambiguous, Conflict, LadingError, NameTaken, NotFound
from domain.failpoints import failpoint
from domain.messages import Event, Meta, StreamId
from domain.names import is_id, is_id_prefix
from domain.network import design
from domain.network.design import Site
from domain.network.events import NetworkRemoved, NetworkRemoveFailed, NetworkRemoveRequested
from domain.network.model import BUILT_IN, Network
from domain.network.setup import Bridge, Sandbox
from domain.network.streams import NetworkStream, create, fold_network, request_removal
from domain.network.wishes import DEFAULT, Attachment, Interface
from domain.network.zones import Zone
from domain.ports.bus import Clock
from domain.ports.events import EventStore, Views
from domain.ports.network import NetworkDriver
from domain.projections.fold import Row
from workers.mover import Caller, Mover
from workers.requests import NetworkRequest

log = logging.getLogger(__name__)
_MOST_TOLD = 20
"""Names in a hint."""
Reach = Callable[[], Awaitable[NetworkDriver]]
"""Gives the driver, and begins with it if nobody has needed it before."""


@dataclass(frozen=True, slots=True)
class Known:
    """A network of this host; `state` is present, removing or stuck, `created_at` in ns."""

    id: str
    network: Network
    created_at: int
    state: str

    @property
    def name(self) -> str:
        """What people call it."""
        return self.network.name


class Networks:
    """The networks of this host. `default_options` are those of the default one."""

    def __init__(self, store: EventStore, views: Views, reach: Reach, clock: Clock, mover: Mover, *,
                 default_options: Mapping[str, str] = design.NO_OPTIONS) -> None:
        self._store, self._views, self._reach, self._default_options = store, views, reach, default_options
        self._clock, self._mover = clock, mover
        self.guard = asyncio.Lock()
        self._agreed = False
        self._agreeing = asyncio.Lock()
        self._made: set[str] = set()
        self._read: dict[str, Network] = {}
        self._has_built_in = False
        self.runs: Callable[[], Awaitable[Mapping[int, Sandbox]]] = _nobody
        """What of containers belongs into the kernel, by the pids of their first processes."""
        self.names: Callable[[], Awaitable[Mapping[str, Zone]]] = _nameless
        """Who is called what on which network."""

    # Questions

    async def all(self) -> Sequence[Known]:
        """Every network, by name."""
        await self._prepare()
        return await self._all()

    async def find(self, name: str) -> Known:
        """By id, name, or the unambiguous beginning of an id. Raises: NotFound naming those that exist, Ambiguous."""
        await self._prepare()
        return await self._find(name)

    async def _all(self) -> Sequence[Known]:
        return [self._known(row) for row in await self._views.select("networks", order="name")]

    async def _find(self, name: str) -> Known:
        row = await self._views.get("networks", name) if is_id(name) else None
        found = [row] if row is not None else list(await self._views.select("networks", where={"name": name}))
        if not found and is_id_prefix(name):
            found = list(await self._views.select("networks", prefix=("id", name), limit=2))
        if len(found) > 1:
            raise Ambiguous(f"multiple networks found with provided prefix: {name}")
        if not found:
            names = sorted({*BUILT_IN, *(known.name for known in await self._all())})
            raise NotFound(f"network {name} not found", hint=f"existing: {_told(names)}")
        return self._known(found[0])

    async def members(self, network: Known) -> Mapping[str, tuple[str, Interface | None]]:
        """The same, with what each has there."""
        found: dict[str, tuple[str, Interface | None]] = {}
        for id, name in (await self.users(network)).items():
            lease = (await self._mover.container(id)).lease
            found[id] = name, lease.on(network.id) if lease is not None else None
        return found

    async def known(self, name: str) -> Known | None:
        """The same; None for one that every host has and nobody has needed yet: nothing is made for the question."""
        try:
            return await self._find(name)
        except Ambiguous:
            raise
        except NotFound:
            if name not in BUILT_IN:
                raise
            return None

    async def meant(self, wish: Attachment) -> Known:
        """The network that a container is to be on: the one that was meant when this was said, else that of this name.
        `guard` is held. Raises: NotFound."""
        row = await self._views.get("networks", wish.id) if wish.id else None
        if row is None and wish.network in BUILT_IN:
            await self._make_built_in()
        return self._known(row) if row is not None else await self._find(wish.network)

    async def layouts(self, ids: Collection[str]) -> Mapping[str, Network]:
        """How these networks (ids) are laid out, those that are there."""
        if not self._read.keys() >= set(ids):
            await self._all()
        return {id: self._read[id] for id in ids if id in self._read}

    async def everything(self) -> Sequence[Known]:
        """Every network that is there already, by name."""
        return await self._all()

    async def users(self, network: Known) -> Mapping[str, str]:
        """The containers that live on it: id → name, in the order in which they were made."""
        held = await self._views.select("addresses", where={"network": network.id, "live": 1})
        ids = sorted({str(row["container"]) for row in held})
        rows = await self._views.select("containers", where={"id": ids}, order="created_at") if ids else ()
        return {str(row["id"]): str(row["name"]) for row in rows}

    # Wishes

    async def create(self, request: NetworkRequest, who: Caller) -> str:
        """A new network, ready for containers; its id.

        Raises: InvalidValue, NameTaken, Refused (it overlaps, or no subnet is left), KernelError; then nothing is made.
        """
        meta = self._mover.meta(who)
        if meta.command_id and (done := await self._store.replied(meta.command_id)) is not None:
            return done.body
        await self._prepare()
        return await asyncio.shield(self._create(request, meta))

    async def _create(self, request: NetworkRequest, meta: Meta) -> str:
        """Who asked may go away: what was begun is in kernel and log, or in neither."""
        async with self.guard:
            await self._check_name(request.name)
            id = self._clock.new_id()
            network = design.design(request.asked, id, await self._site())
            await self._make(id, network, meta)
            return id

    async def remove(self, name: str, who: Caller) -> str:
        """Take a network away; its name. Raises: NotFound, Ambiguous, Refused, InUse, KernelError with what stays."""
        meta = self._mover.meta(who)
        if meta.command_id and (done := await self._store.replied(meta.command_id)) is not None:
            return done.body
        await self._prepare()
        return await asyncio.shield(self._remove_named(name, who))

    async def _remove_named(self, name: str, who: Caller) -> str:
        """Who asked may go away: what was begun is ended all the same."""
        async with self.guard:
            known = await self._find(name)
            await self._remove(known, who)
            await self._rest()
            return known.name

    async def check_removal(self, name: str) -> str:
        """Whether it could be taken away now; its name. Raises: NotFound, Ambiguous, Refused, InUse."""
        known = await self._find(name)
        request_removal(await self._stream(known.id), tuple((await self.users(known)).values()))
        return known.name

    async def prune(self, chosen: Sequence[str], who: Caller) -> Sequence[str]:
        """Take away those of `chosen` (ids) that nobody uses, live or at rest; the names of those that went."""
        return await asyncio.shield(self._prune(chosen, who))

    async def _prune(self, chosen: Sequence[str], who: Caller) -> Sequence[str]:
        gone: list[str] = []
        for place, id in enumerate(chosen):
            async with self.guard:
                with suppress(LadingError):
                    known = await self._find(id)
                    if not known.network.built_in and not await self.wanted(known):
                        await self._remove(known, _part(who, place))
                        gone.append(known.name)
        async with self.guard:
            await self._rest()
        return gone

    async def wanted(self, network: Known, gone: Collection[str] = ()) -> bool:
        """Whether any container, also one at rest, is to be on it; those in `gone` (ids) are on nothing."""
        wish = [network.name, network.id]
        rows = [row for row in await self._views.select("containers") if row["id"] not in gone]
        return any(pair == wish or pair == [network.name, ""] for row in rows for pair in _pairs(row["networks"]))

    # The engine's own

    async def begin(self, *, lingers: bool = False) -> None:
        """At start: end removals that were interrupted, and let the kernel agree, if there are networks of users, or
        containers on any, or something of an earlier daemon `lingers`. A kernel that does not leaves containers without
        a network of their own unharmed."""
        try:
            for intent in await self._store.open_intents():
                if intent.kind == NetworkRemoveRequested.stored_as:
                    async with self.guard:
                        await self._carry_out_removal(await self._stream(intent.stream.key), Meta(), intent.position)
            if lingers or any(_in_kernel(known) for known in await self._all()) or await self._live():
                await self.kernel()
        except LadingError as error:
            log.error("networks are not as they should be: %s", error)

    async def settle(self) -> None:
        """Let the kernel have exactly what is in the log. Raises: KernelError, Unavailable."""
        driver = await self._reach()
        async with self._agreeing:
            await self._settle(driver)

    async def _settle(self, driver: NetworkDriver) -> None:
        runs = await self.runs()
        used = {endpoint.network for sandbox in runs.values() for endpoint in sandbox.endpoints}
        bridges = [known.network.bridge(known.id) for known in await self._all()
                   if known.state != "removing" and (_in_kernel(known) or known.id in used | self._made)]
        self._made = {bridge.id for bridge in bridges if bridge is not None}
        await driver.settle([bridge for bridge in bridges if bridge is not None], runs)
        await driver.names(await self.names())
        self._agreed = True

    async def ensure(self, id: str, network: Network) -> None:
        """The network is in the kernel. Raises: KernelError, Refused."""
        bridge = network.bridge(id)
        driver = await self.kernel()
        async with self._agreeing:
            if bridge is not None and id not in self._made:
                await driver.add_bridge(bridge)
                self._made.add(id)

    async def _live(self) -> bool:
        return bool(await self._views.select("addresses", where={"live": 1}, limit=1))

    # Steps

    async def kernel(self) -> NetworkDriver:
        """The driver, once it has been told everything: what an earlier daemon left half made is gone then."""
        driver = await self._reach()
        async with self._agreeing:
            if not self._agreed:
                await self._settle(driver)
        return driver

    async def _prepare(self) -> None:
        """The networks that every host has, made when somebody first asks for any: a host that never does so is spared
        the process that looks after networks."""
        if not self._has_built_in:
            async with self.guard:
                await self._make_built_in()

    async def _make_built_in(self) -> None:
        have = {known.name for known in await self._all()}
        for name in BUILT_IN:
            if name not in have:
                id = self._clock.new_id()
                network = design.built_in(name, await self._site(), self._default_options)
                await self._store.append((create(NetworkStream(id), network),), self._mover.meta(Caller()))
        self._has_built_in = True

    async def _make(self, id: str, network: Network, meta: Meta) -> None:
        """In the kernel, then in the log; what cannot be recorded is taken away again."""
        bridge = network.bridge(id)
        assert bridge is not None
        await (await self.kernel()).add_bridge(bridge)
        self._made.add(id)
        try:
            failpoint("networks.before-record")
            await self._store.append((create(NetworkStream(id), network),), meta, reply=id)
        except LadingError:
            await self._take_back(bridge)
            raise

    async def _take_back(self, bridge: Bridge) -> None:
        try:
            await (await self.kernel()).remove_bridge(bridge.id)
        except LadingError as error:
            log.error("%s stays until the next start: %s", bridge.link, error)

    async def _check_name(self, name: str) -> None:
        rows = await self._views.select("networks", where={"name": name})
        if rows and name not in BUILT_IN:
            raise NameTaken(
                f"network with name {name} already exists",
                holder=str(rows[0]["id"]),
                hint=f"lading network inspect {name}",
            )

    async def _site(self) -> Site:
        """What has addresses on this host. The link of one of our own networks is a route of the host as well."""
        around = await (await self.kernel()).surroundings()
        known = await self._all()
        ours = {subnet for each in known for subnet in each.network.subnets}
        host = [net for net in map(ip_network, around.subnets) if net not in ours and net.prefixlen]
        seed = next((each.id for each in known if each.name == "bridge"), None) or self._clock.new_id()
        networks = {each.name: each.network.subnets for each in known if each.network.addresses}
        return Site(networks, host, around.mtu, design.local_range(seed), around.default_link,
                    ip_network(around.default_subnet), {each.network.link: each.name for each in known})

    async def _remove(self, known: Known, who: Caller) -> None:
        meta = self._mover.meta(who)
        users = tuple((await self.users(known)).values())
        stream = await self._stream(known.id)
        if stream.state == "removing":  # `guard` is held: nobody is at it, an error has stopped it
            await self._carry_out_removal(stream, meta, stream.request, loud=True)
            return
        (record,) = await self._store.append((request_removal(stream, users),), meta, reply=known.name)
        failpoint("networks.before-removal")
        await self._carry_out_removal(await self._stream(known.id), meta, record.position, loud=True)

    async def _rest(self) -> None:
        """When no network of a user is left, and no container is on any, no rule, link or process for networks is
        needed any more."""
        if any(_in_kernel(known) for known in await self._all()) or await self._live():
            return
        self._agreed = False
        self._made.clear()
        try:
            await (await self._reach()).clean()
        except LadingError as error:
            log.warning("what networks have left is taken away later: %s", error)

    async def _carry_out_removal(self, stream: NetworkStream, meta: Meta, intent: int, *, loud: bool = False) -> None:
        """Take it out of the kernel and append the outcome; `loud` raises what went wrong as well."""
        failed: LadingError | None = None
        try:
            if stream.network is not None and stream.network.link:
                await (await self.kernel()).remove_bridge(stream.id)
                self._made.discard(stream.id)
        except LadingError as error:
            failed = error
        outcome: Event = _removed(stream) if failed is None else NetworkRemoveFailed(residue=failed.message)
        with suppress(Conflict):
            await self._store.append((stream.append(outcome),), replace(meta, cause=intent, command_id=""))
            if failed is None:
                self._read.pop(stream.id, None)
        if failed is not None and loud:
            raise failed

    async def _stream(self, id: str) -> NetworkStream:
        return fold_network(id, await self._store.load(StreamId("network", id)))

    def _known(self, row: Row) -> Known:
        """How a network is laid out never changes: it is read once. The default one has its options from the
        configuration, which may have changed since it was made."""
        id = str(row["id"])
        if id not in self._read:
            stored = row["network"]
            network = Network.model_validate(json.loads(stored) if isinstance(stored, str) else stored)
            own = network.name == DEFAULT
            self._read[id] = design.as_configured(network, self._default_options) if own else network
        return Known(id, self._read[id], int(str(row["created_at"])), str(row["state"]))


async def _nobody() -> Mapping[int, Sandbox]:
    return {}


async def _nameless() -> Mapping[str, Zone]:
    return {}


def _told(names: Sequence[str]) -> str:
    more = len(names) - _MOST_TOLD
    return ", ".join(names[:_MOST_TOLD]) + (f" and {more} more" if more > 0 else "")


def _pairs(value: object) -> Sequence[Sequence[str]]:
    return value if isinstance(value, list) else ()


def _removed(stream: NetworkStream) -> NetworkRemoved:
    network = stream.network
    return NetworkRemoved() if network is None else NetworkRemoved(name=network.name, driver=network.driver)


def _part(who: Caller, place: int) -> Caller:
    """One of several appends of one request."""
    return Caller(who.actor, f"{who.command_id}/{place}") if who.command_id else who


def _in_kernel(known: Known) -> bool:
    """The default bridge is made with its first container: a host whose engine runs only others never sees it."""
    return known.state != "removing" and not known.network.built_in
