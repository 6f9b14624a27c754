"""What containers have of networks: given at a start, taken back at the end of a run, connected in between.

What a run gets is in the log before anything is made in the kernel (`network-granted`), so that no two containers ever
get one address and everything is known after a crash; the kernel's work is the driver's. `guard` of the networks is
held while it is decided who gets what.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_address

from domain.container import LIVE, TRANSIENT, Container, State
from domain.errors import Ambiguous, InvalidValue, LadingError, NotFound, Refused, Unavailable
from domain.failpoints import failpoint
from domain.lifecycle.network import Connect, Disconnect, Grant, NetworkReleased, Unlink
from domain.lifecycle.rename import Renamed
from domain.messages import Recorded
from domain.network.asked import NetworkingWish, NetworkWish, Wished, alone, attachment, wished
from domain.network.events import NetworkCreated, NetworkRemoved
from domain.network.files import LOOPBACK, hosts_file, own_lines
from domain.network.leases import Joining, check_inside, endpoints, next_way_out
from domain.network.links import link_variables
from domain.network.options import interface_name, interface_sysctls
from domain.network.ports import Binding, Publication
from domain.network.roster import Roster, on
from domain.network.setup import Endpoint, Place, Resolver, Sandbox
from domain.network.subnets import Address
from domain.network.wishes import DEFAULT, JOINED, Attachment, Interface, Lease
from domain.network.zones import Zone
from domain.ports.bus import Clock
from domain.ports.events import Views
from domain.ports.runtime import Runtime
from domain.spec import ContainerSpec
from domain.userns import REMAP
from workers.blueprint import Joined
from workers.mover import Caller, Moved, Mover
from workers.networks import Known, Networks

log = logging.getLogger(__name__)
Resolve = Callable[[str], Awaitable[str]]
"""Gives the id of the container that a name, id or prefix means. Raises: NotFound, Ambiguous."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the first process of a run needs for its network: `files` are those of /etc that depend on it, `env` are
    variables before its own. `spec` says whose resolv.conf it is."""

    spec: ContainerSpec
    place: Place | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    env: tuple[str, ...] = ()


class Leases:
    """Leases of this host's containers. `publish_address` is the host's address for ports that name none, on networks
    that name none either; empty for every one. `ids` are those of remapped containers: the first, and how many."""

    def __init__(self, networks: Networks, views: Views, mover: Mover, runtime: Runtime, clock: Clock, *,
                 publish_address: str = "", ids: tuple[int, int] | None = None) -> None:
        self._networks, self._views, self._mover = networks, views, mover
        self._runtime, self._clock, self._publish_address = runtime, clock, publish_address
        self._ids = ids
        self._last: dict[str, Address | None] = {}
        self._closing: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._naming = asyncio.Lock()
        self.roster = Roster()
        networks.runs, networks.names = self.sandboxes, self._zones

    # Wishes

    async def look_up(self, asked: NetworkingWish, resolve: Resolve, *, named: bool) -> Joined:
        """What a container asks for, with everything it names looked up, before anything is made. Raises: InvalidValue,
        Refused, NotFound for a container and for a network, naming those that exist."""
        wish = wished(asked, named=named)
        if wish.mode.startswith(JOINED):
            return await self._share(wish, await resolve(wish.networking.container))
        found = [await self._meant(each) for each in wish.networking.attachments]
        if found and wish.links:
            found[0] = await self.linked(found[0], wish.links, resolve)
        networking = wish.networking.model_copy(update={"attachments": tuple(found)})
        return Joined(Wished(wish.mode if alone(wish.mode) else found[0].network, networking))

    async def linked(self, asked: Attachment, links: Sequence[tuple[str, str]], resolve: Resolve) -> Attachment:
        """With these (container, name), as far as each container is there. On a network of the user's one may come
        later; on the default one, where links are all there is to find others by, it must be there. Raises:
        InvalidValue (not NotFound, by which clients find out that there is no such image), Ambiguous."""
        found: dict[str, str] = {}
        called: dict[str, str] = {}
        for container, name in links:
            try:
                found[name] = await resolve(container)
            except NotFound as error:
                if asked.network == DEFAULT or isinstance(error, Ambiguous):
                    raise InvalidValue(f"could not get container for {container}: {error.message}") from error
            called[name] = await self._name(found[name]) if name in found else container
        return asked.model_copy(update={"links": tuple(found.items()), "linked": tuple(called.items())})

    async def _share(self, wish: Wished, id: str) -> Joined:
        """The network of another container; one that has the host's has nothing else to share."""
        spec = (await self._mover.container(id)).settled
        if spec.network == "host":
            networking = wish.networking.model_copy(update={"container": ""})
            return Joined(Wished("host", networking), spec.hostname)
        networking = wish.networking.model_copy(update={"container": id})
        return Joined(Wished(f"{JOINED}{id}", networking), spec.hostname)

    async def _meant(self, wish: Attachment) -> Attachment:
        known = await self._networks.known(wish.network)
        if known is None:  # of those that every host has: they are made when somebody needs them
            return wish
        if known.network.driver != "bridge":
            raise Refused(f"network {known.name} cannot be combined with others")
        for text in (wish.ip, wish.ip6):
            if text:
                check_inside(text, known.network)
        return wish.model_copy(update={"network": known.name, "id": known.id})

    async def connect(self, name: str, id: str, wish: NetworkWish, links: Sequence[tuple[str, str]], resolve: Resolve,
                      who: Caller) -> Moved:
        """A container on one network more; `links` are (container, name). Raises: Refused, NotFound."""
        known = await self._networks.find(name)
        if known.network.driver != "bridge":
            raise Refused(f"container cannot be connected to {known.name} network", hint="use a network of bridge kind")
        asked = attachment(wish.model_copy(update={"name": known.name})).model_copy(update={"id": known.id})
        if links:
            asked = await self.linked(asked, links, resolve)
        while True:
            await self._mover.until(id, lambda c: c.state not in TRANSIENT)
            async with self._networks.guard:
                known = await self._networks.meant(asked)  # it may be another one by now, or gone
                asked = asked.model_copy(update={"id": known.id})
                container = await self._mover.container(id)
                interface = await self._one_more(container, known, asked) if container.state in LIVE else None
                moved = await self._mover.accept_now(id, (Connect(attachment=asked, interface=interface),), who)
            if moved is not None:
                return moved

    async def _one_more(self, container: Container, known: Known, asked: Attachment) -> Interface | None:
        if container.lease is None or not container.leased or container.lease.on(known.id) is not None:
            return None
        taken = {each.name for each in container.lease.interfaces}
        joining = await self._joining(container, known, asked)
        (endpoint,) = endpoints([joining], [self._new_link()], taken)
        leads = not any(each.gateways for each in container.lease.interfaces)
        return _interface(endpoint if leads else replace(endpoint, gateways=()), known, asked)

    async def disconnect(self, name: str, id: str, who: Caller, *, force: bool) -> Moved:
        """A container on one network less. Raises: Refused, NotFound."""
        known = await self._networks.find(name)
        while True:
            await self._mover.until(id, lambda c: c.state not in TRANSIENT)
            async with self._networks.guard:
                leading = await self._next_way_out(await self._mover.container(id), known.id)
                wish = Disconnect(network=known.id, name=known.name, force=force, leading=leading)
                moved = await self._mover.accept_now(id, (wish,), who)
            if moved is not None:
                return moved

    async def _next_way_out(self, container: Container, network: str) -> Interface | None:
        """What leads out when the container has left that network; None if nothing changes, or nothing does."""
        lease = container.lease if container.leased else None
        leaving = lease.on(network) if lease is not None else None
        if lease is None or leaving is None or not leaving.gateways:
            return None
        others = lease.without(network).interfaces
        networks = await self._networks.layouts([each.network for each in others])
        return next_way_out(others, container.attachments, networks)

    async def unlink(self, id: str, name: str, who: Caller) -> None:
        """Let a container forget a name that only it knows, at once if it runs. Raises: NotFound, Refused."""
        await self._mover.accept(id, (Unlink(name=name),), who)
        container = await self._mover.container(id)
        if container.state in LIVE:
            await self.change(container, container.lease, container.lease)

    # A start

    async def enter(self, container: Container, attempt: int, intent: int) -> Entry:
        """Everything that the run `attempt`, whose start is the open intent, needs; done twice it is the same.

        Raises: Refused, NotFound for what cannot be had; then nothing is held. KernelError, Unavailable.
        """
        spec = container.settled
        if spec.net.container:
            return await self._joined(container)
        if not spec.net.attachments:
            return Entry(spec)
        lease = container.lease
        if lease is None or not container.leased:
            container = await self._granted(container, attempt, intent)
            lease = container.lease
        assert lease is not None
        failpoint("leases.before-open")
        self.roster.enter(container)
        env = await self._link_variables(container)
        driver = await self._networks.kernel()
        await self._tell_names()
        place = await driver.open(await self._sandbox(container, lease))
        failpoint("leases.after-open")
        return Entry(spec, place, {"/etc/hosts": await self._hosts(container)}, env)

    async def _granted(self, container: Container, attempt: int, intent: int) -> Container:
        """With a lease that is in the log."""
        id = container.id
        await self._closed(id)
        async with self._networks.guard:
            known = [await self._networks.meant(each) for each in container.attachments]
            for each in known:
                await self._networks.ensure(each.id, each.network)
            interfaces = await self._interfaces(container, known)
            bindings = await self._bindings(container, attempt, self._wanted(container, interfaces, known))
            lease = Lease(attempt=attempt, interfaces=interfaces, bindings=bindings)
            try:
                failpoint("leases.before-grant")
                container = await self._mover.note(id, intent, Grant(lease=lease))
            finally:
                if not container.leased and bindings:
                    await (await self._networks.kernel()).close(id, attempt)
        if not container.leased:
            raise Unavailable(f"the start of {container.name} was called off")
        return container

    async def _interfaces(self, container: Container, known: Sequence[Known]) -> tuple[Interface, ...]:
        joining = [await self._joining(container, each, wish)
                   for each, wish in zip(known, container.attachments, strict=True)]
        found = endpoints(joining, [self._new_link() for _ in joining])
        for each, one in zip(found, joining, strict=True):
            address = each.addresses[0].partition("/")[0]
            if address not in (one.preferred, one.ip):  # those are no turn of anybody's
                self._last[each.network] = ip_address(address)
        return tuple(_interface(endpoint, each, wish)
                     for endpoint, each, wish in zip(found, known, container.attachments, strict=True))

    async def _joining(self, container: Container, known: Known, wish: Attachment) -> Joining:
        rows = await self._views.select("addresses", where={"network": known.id})
        holders = {ip_address(str(row["address"])): str(row["container"]) for row in rows
                   if row["container"] != container.id}
        if wish.ip or wish.ip6:
            names = {id: await self._name(id) for id in set(holders.values())}
            holders = {address: names[id] for address, id in holders.items()}
        for text in wish.link_local:
            await self._check_link_local(container, known, text)
        before = container.lease.on(known.id) if container.lease is not None else None
        return Joining(
            id=known.id, network=known.network, holders=holders, last=await self._last_given(known.id),
            preferred=before.hosts[0] if before is not None else "", ip=wish.ip, ip6=wish.ip6, mac=wish.mac,
            priority=wish.priority, name=interface_name(dict(wish.driver_options)),
        )

    async def _check_link_local(self, container: Container, known: Known, text: str) -> None:
        """Nobody else who runs on that network has it. Raises: Refused, naming who has."""
        await self._networks.kernel()  # then the roster is complete
        for member in on(self.roster, known.id).values():
            interface = member.lease.on(known.id)
            if member.id != container.id and interface is not None and text in interface.link_local:
                address = text.partition("/")[0]
                raise Refused(f"address {address} belongs to container {member.name}", hint="choose another one")

    async def _last_given(self, network: str) -> Address | None:
        """The address of version 4 that was given there last, also by an earlier daemon: the next one follows."""
        if network not in self._last:
            rows = await self._views.select(
                "tenures", where={"network": network}, order="since", descending=True, limit=2)
            found = [ip_address(str(row["address"])) for row in rows]
            self._last[network] = next((address for address in found if address.version == 4), None)
        return self._last[network]

    async def _name(self, id: str) -> str:
        row = await self._views.get("containers", id)
        return str(row["name"]) if row is not None else id[:12]

    def _wanted(self, container: Container, interfaces: Sequence[Interface], known: Sequence[Known]
                ) -> tuple[Publication, ...]:
        """Ports that the host is to have, where the network says that leads out, or the configuration."""
        leading = next((each.network for each in interfaces if each.gateways), "")
        own = next((each.network.publish_on for each in known if each.id == leading), "")
        address = own or self._publish_address
        return tuple(each if each.host_ip else replace(each, host_ip=address)
                     for each in container.settled.net.published)

    async def _bindings(self, container: Container, attempt: int, wanted: Sequence[Publication]
                        ) -> tuple[Binding, ...]:
        """Ports of the host. Raises: Refused, naming who has one."""
        if not wanted:
            return ()
        await asyncio.gather(*self._closing.values(), return_exceptions=True)
        await self._check_holders(container, wanted)
        before = container.lease.bindings if container.lease is not None else ()
        preferred = {each: port for each in wanted if not each.host_port and (port := _before(each, before))}
        driver = await self._networks.kernel()
        return tuple(await driver.reserve(container.id, attempt, wanted, preferred))

    async def _check_holders(self, container: Container, wanted: Sequence[Publication]) -> None:
        """What the kernel would say as well, but it does not know containers by name."""
        fixed = [Binding(each.port, each.protocol, each.host_ip or "0.0.0.0", each.host_port) for each in wanted
                 if each.host_port and not each.highest]
        found = self.roster.holder(fixed, container.id)
        if found is None:
            return
        member, binding = found
        state = (await self._mover.container(member.id)).state
        where = f"host port {binding.host_port}/{binding.protocol} on {binding.host_ip}"
        first = f"lading unpause {member.name} && " if state is State.PAUSED else ""
        raise Refused(
            f"{where} is already published by container {member.name}, which is {state.value}: port is already "
            f"allocated; free it with: {first}lading stop {member.name}"
        )

    def _new_link(self) -> str:
        return f"lv{self._clock.new_id()[-8:]}"

    # What it is made of

    async def _sandbox(self, container: Container, lease: Lease) -> Sandbox:
        """The way out comes first: ports of the host lead there."""
        order = sorted(lease.interfaces, key=lambda interface: not interface.gateways)
        ids = tuple(interface.network for interface in lease.interfaces)
        networks = await self._networks.layouts(ids)
        return Sandbox(
            id=container.id,
            attempt=lease.attempt,
            endpoints=tuple(interface.endpoint for interface in order),
            bindings=lease.bindings,
            ids=self._ids if container.settled.confinement.userns == REMAP else None,
            resolver=Resolver(
                networks=ids,
                links={name: others for each in container.attachments for name, others in _links(each)},
                servers=container.settled.net.dns,
                outside=not all(id in networks and networks[id].internal for id in ids),
            ),
        )

    async def _hosts(self, container: Container) -> str:
        spec, lease = container.settled, container.lease
        interfaces = lease.interfaces if lease is not None else ()
        return hosts_file(_own_lines(spec, lease), spec.net.hosts, await self._gateway(interfaces))

    async def _gateway(self, interfaces: Sequence[Interface]) -> str:
        """The address under which a container reaches the host."""
        if not interfaces:
            return LOOPBACK[0].partition("\t")[0]
        leading = next((each for each in interfaces if each.gateways), interfaces[0])
        known = await self._networks.find(leading.network)
        return known.network.addresses[0].gateway

    async def _link_variables(self, container: Container) -> tuple[str, ...]:
        """Of the default network alone, as the industry has it. Raises: Refused for one that does not run."""
        found: list[str] = []
        for each in container.attachments:
            for name, id in each.links if each.network == DEFAULT else ():
                other = await self._mover.container(id)
                lease = other.lease if other.leased and other.lease is not None else None
                if other.state not in LIVE or lease is None:
                    raise Refused(f"Cannot link to a non running container: {other.name or id[:12]} AS "
                                  f"{container.name}/{name}")
                address = next((i.hosts[0] for i in lease.interfaces if i.network == each.id or not each.id), "")
                found += link_variables(container.name, name, address, other.settled.net, other.env)
        return tuple(found)

    async def _joined(self, container: Container) -> Entry:
        """The network of another container that runs."""
        other = await self._mover.container(container.settled.net.container)
        if other.state not in LIVE:
            name = other.name or other.short
            raise Refused(f"cannot join network of a non running container: {name}", hint=f"lading start {name}")
        place = await self._runtime.place(other.id)
        spec = container.settled.model_copy(update={"networking": other.settled.networking})
        files = {"/etc/hosts": await self._hosts(other)} if other.leased else {}
        return Entry(spec, place, files)

    # While it runs

    async def change(self, container: Container, before: Lease | None, lease: Lease | None) -> None:
        """Let a run have this from now on, instead of what it had before. Raises: Refused, KernelError."""
        if lease is None or not container.leased:
            return
        driver = await self._networks.kernel()
        layouts = await self._networks.layouts([interface.network for interface in lease.interfaces])
        for id, network in layouts.items():
            await self._networks.ensure(id, network)
        sandbox = await self._sandbox(container, lease)
        self.roster.update(replace(container, lease=lease))
        refusal, _, _ = await asyncio.gather(  # in the order in which they take long
            _caught(partial(driver.change, sandbox, container.pid)), self._names_changed(),
            self._rewrite_hosts(container, before, lease))
        if refusal is not None:
            self.roster.update(replace(container, lease=before))
            await asyncio.gather(self._names_changed(), self._rewrite_hosts(container, lease, before))
            raise refusal

    async def _rewrite_hosts(self, container: Container, before: Lease | None, lease: Lease | None) -> None:
        """Its own names, which nothing else depends on: a file that cannot be written keeps nobody from a network."""
        old, new = _own_lines(container.settled, before), _own_lines(container.settled, lease)
        gone, more = frozenset(old).difference(new), tuple(line for line in new if line not in old)
        if not gone and not more:
            return
        try:
            await self._runtime.rewrite_hosts(container.id, gone, more)
        except LadingError as error:
            log.warning("the names of %s in its /etc/hosts stay as they were: %s", container.name, error)

    async def kept(self, id: str) -> tuple[str, ...]:
        """Addresses that are still kept for a container: `network/address`."""
        rows = await self._views.select("addresses", where={"container": id})
        return tuple(str(row["held"]) for row in rows)

    # The end of a run

    def notice(self, record: Recorded) -> None:
        """What was appended: ends of runs, new networks, other names."""
        match record.event:
            case NetworkReleased(attempt=attempt):
                self.roster.leave(record.stream.key, attempt)
                self._close_soon(record.stream.key, attempt)
            case NetworkRemoved():
                self._last.pop(record.stream.key, None)
            case NetworkCreated():
                self._last.setdefault(record.stream.key, None)  # nobody has ever had an address there
            case Renamed(name=name):
                self.roster.rename(record.stream.key, name)
                self._spawn(("", 0), self._names_changed())
            case _:
                return

    def _close_soon(self, id: str, attempt: int) -> None:
        self._spawn((id, attempt), self._close(id, attempt))

    def _spawn(self, run: tuple[str, int], work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._closing[run] = task
        task.add_done_callback(lambda _: self._closing.pop(run, None) if self._closing.get(run) is task else None)

    async def _close(self, id: str, attempt: int) -> None:
        """What is not closed now goes when log and kernel are compared the next time."""
        try:
            driver = await self._networks.kernel()
            await driver.close(id, attempt)
            await self._tell_names()
        except LadingError as error:
            log.warning("the network of %s is not taken away yet: %s", id[:12], error)

    async def _names_changed(self) -> None:
        """Whoever has an interface keeps it, whether others know its name or not: the next change tells all of them."""
        try:
            if self.roster.members:
                await self._tell_names()
        except LadingError as error:
            log.warning("names on networks are not up to date: %s", error)

    async def _closed(self, id: str) -> None:
        """Earlier runs of it have let go."""
        await asyncio.gather(*(task for run, task in self._closing.items() if run[0] == id), return_exceptions=True)

    async def _tell_names(self) -> None:
        async with self._naming:  # in order: what is told last is what holds
            driver = await self._networks.kernel()
            await driver.names(await self._zones())

    async def _zones(self) -> Mapping[str, Zone]:
        """Who is called what on which network."""
        layouts = await self._networks.layouts(self.roster.networks)
        return self.roster.zones({id for id, network in layouts.items() if not network.names})

    async def end(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._closing.values(), return_exceptions=True)

    # A start of the daemon, or of the network process

    async def sandboxes(self) -> Mapping[int, Sandbox]:
        """What the kernel is to have: every run that has a lease, by the pid of its first process, or a number below 0
        for one that is about to start."""
        running = await self._runtime.running()
        rows = await self._views.select("addresses", where={"live": 1})
        found: dict[int, Sandbox] = {}
        for id in sorted({*(str(row["container"]) for row in rows), *self.roster.members}):
            attempt, process = running.get(id, (0, None))
            container = await self._mover.container(id)
            lease = container.lease if container.leased else None
            if lease is None or (container.state is not State.STARTING and lease.attempt != attempt):
                continue
            self.roster.enter(container)
            pid = process.pid if process is not None and lease.attempt == attempt else -len(found) - 1
            found[pid] = await self._sandbox(container, lease)
        return found


async def _caught(work: Callable[[], Awaitable[None]]) -> LadingError | None:
    """What was refused: whatever goes on beside it is waited for."""
    try:
        await work()
    except LadingError as error:
        return error
    return None


def _interface(endpoint: Endpoint, known: Known, wish: Attachment) -> Interface:
    return Interface(
        network=known.id, network_name=known.name, link=endpoint.link, name=endpoint.name, mac=endpoint.mac,
        addresses=endpoint.addresses, gateways=endpoint.gateways,
        fixed=tuple(address for address in (wish.ip, wish.ip6) if address), link_local=wish.link_local,
        sysctls=tuple(interface_sysctls(dict(wish.driver_options), endpoint.name).items()),
    )


def _links(attachment: Attachment) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Names that one container has for others, and what they are looked for by: whom was meant, or, on a network of the
    user's, who is called so now."""
    ids = dict(attachment.links)
    for name, called in attachment.called.items():
        by_id = (ids[name][:12],) if name in ids else ()
        yield name, by_id if attachment.network == DEFAULT else (*by_id, called)


def _own_lines(spec: ContainerSpec, lease: Lease | None) -> tuple[str, ...]:
    names = [f"{spec.hostname}.{spec.domainname}", spec.hostname] if spec.domainname else [spec.hostname]
    return own_lines([address for each in (lease.interfaces if lease is not None else ()) for address in each.hosts],
                     names)


def _before(wanted: Publication, bindings: Sequence[Binding]) -> int:
    """The port of the host that it had in the last run; 0 for none."""
    anywhere = ("0.0.0.0", "::")
    return next((each.host_port for each in bindings
                 if (each.port, each.protocol) == (wanted.port, wanted.protocol)
                 and (each.host_ip == wanted.host_ip or (not wanted.host_ip and each.host_ip in anywhere))), 0)


