"""Networks, and who is on them."""

from collections.abc import Iterator

from pydantic import Field

from domain.errors import InvalidValue, NotFound
from domain.filters import pairs
from domain.network.document import network_document
from domain.network.model import BUILT_IN
from workers import inspection
from workers.console.commands.network.words import filters
from workers.gateway.call import EMPTY, Answer, Call, Reply
from workers.gateway.choosing import BY_AGE_AND_LABELS, prunable
from workers.gateway.creating import network_wish
from workers.gateway.documents import Document
from workers.gateway.errors import Denied
from workers.gateway.routes import Route
from workers.gateway.wishes import Endpoint
from workers.requests import NetworkRequest

_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
_IPAM_DRIVERS = ("", "default")
_WITHOUT_USERS = (1, 28)


class _Pool(Document):
    """Addresses of one family."""

    Subnet: str = ""
    IPRange: str = ""
    Gateway: str = ""
    AuxiliaryAddresses: dict[str, str] = Field(default_factory=dict)


class _Ipam(Document):
    """Who gives addresses, and which."""

    Driver: str = ""
    pools: list[_Pool] = Field(default_factory=list, alias="Config")
    Options: dict[str, str] = Field(default_factory=dict)


class _ConfigFrom(Document):
    """Another network whose configuration is taken over."""

    Network: str = ""


class Create(Document):
    """The body of a creation; `CheckDuplicate` is always done."""

    Name: str = ""
    Driver: str = ""
    Scope: str = ""
    Internal: bool = False
    Attachable: bool = False
    Ingress: bool = False
    ConfigOnly: bool = False
    ConfigFrom: _ConfigFrom = _ConfigFrom()
    IPAM: _Ipam = _Ipam()
    EnableIPv4: bool = True
    EnableIPv6: bool = False
    Options: dict[str, str] = Field(default_factory=dict)
    Labels: dict[str, str] = Field(default_factory=dict)


class _Connect(Document):
    """The body of a connection."""

    Container: str = ""
    EndpointConfig: Endpoint = Endpoint()


class _Disconnect(Document):
    """The body of its end."""

    Container: str = ""
    Force: bool = False


def request(wish: Create) -> NetworkRequest:
    """What the engine is asked for. Raises: InvalidValue for what it cannot do."""
    refused = next(_unsupported(wish), None)
    if refused is not None:
        raise InvalidValue(f"{refused} is not supported by Lading")
    pools = wish.IPAM.pools
    return NetworkRequest(
        name=wish.Name or " ",
        driver=wish.Driver or "bridge",
        subnets=tuple(pool.Subnet for pool in pools if pool.Subnet),
        gateways=tuple(pool.Gateway for pool in pools if pool.Gateway),
        ranges=tuple(pool.IPRange for pool in pools if pool.IPRange),
        reserved={name: address for pool in pools for name, address in pool.AuxiliaryAddresses.items()},
        internal=wish.Internal,
        attachable=wish.Attachable,
        ipv6=wish.EnableIPv6,
        options=wish.Options,
        labels=wish.Labels,
    )


def _unsupported(wish: Create) -> Iterator[str]:
    if wish.Ingress:
        yield "Ingress"
    if wish.ConfigOnly:
        yield "ConfigOnly"
    if wish.ConfigFrom.Network:
        yield "ConfigFrom"
    if wish.Scope not in ("", "local"):
        yield f'Scope "{wish.Scope[:50]}"'
    if not wish.EnableIPv4:
        yield "EnableIPv4 false"
    if wish.IPAM.Driver not in _IPAM_DRIVERS:
        yield f'IPAM.Driver "{wish.IPAM.Driver[:50]}"'
    if wish.IPAM.Options:
        yield "IPAM.Options"


async def _list(call: Call) -> Answer:
    networks, test = call.engine.networks, filters(pairs(call.filters(_FILTERS)))
    rows = [known for known in await networks.all() if test(known, await networks.wanted(known))]
    # Clients of later versions ask for each one to see who is on it.
    users = [await networks.members(row) if call.version < _WITHOUT_USERS else {} for row in rows]
    return Reply(document=[network_document(row.id, row.network, row.created_at, on)
                           for row, on in zip(rows, users, strict=True)])


async def _inspect(call: Call) -> Answer:
    if call.text("scope") not in ("", "local"):
        raise NotFound(f"network {call.path['name']} not found")
    document = await inspection.network(call.engine, call.path["name"])
    call.reading.about("network", inspection.key("network", document))
    return Reply(document=document)


async def _create(call: Call) -> Answer:
    wish = request(await call.model(Create, needed=True))
    if wish.name in BUILT_IN:
        raise Denied(403, f"operation is not permitted on predefined {wish.name} network")
    id = await call.engine.networks.create(wish, call.who)
    return Reply(status=201, document={"Id": id, "Warning": ""})


async def _connect(call: Call) -> Answer:
    engine, wish, network = call.engine, await call.model(_Connect, needed=True), call.path["name"]
    id = await engine.resolve(wish.Container)
    endpoint = wish.EndpointConfig
    await engine.connect(network, id, network_wish(network, endpoint), endpoint.Links, call.who)
    return Reply()


async def _disconnect(call: Call) -> Answer:
    engine, wish = call.engine, await call.model(_Disconnect, needed=True)
    # Clients may leave a container without any network, as the industry's engine does; the command line asks twice.
    await engine.disconnect(call.path["name"], await engine.resolve(wish.Container), call.who, force=True)
    return Reply()


async def _remove(call: Call) -> Answer:
    name = call.path["name"]
    if (known := await call.engine.networks.find(name)).network.built_in:
        raise Denied(403, f"{known.name} is a pre-defined network and cannot be removed")
    await call.engine.networks.remove(name, call.who)
    return EMPTY


async def _prune(call: Call) -> Answer:
    networks, test = call.engine.networks, prunable(call.filters(BY_AGE_AND_LABELS))
    chosen = [
        known.id
        for known in await networks.all()
        if not known.network.built_in and not await networks.wanted(known)
        and test(known.created_at, known.network.labels)
    ]
    return Reply(document={"NetworksDeleted": list(await networks.prune(chosen, call.who)) or None})


ROUTES = (
    Route("GET", "/networks", _list, reads="network ls"),
    Route("POST", "/networks/create", _create),
    Route("POST", "/networks/prune", _prune, since=(1, 25)),
    Route("GET", "/networks/{name...}", _inspect, reads="inspect"),
    Route("DELETE", "/networks/{name...}", _remove),
    Route("POST", "/networks/{name...}/connect", _connect),
    Route("POST", "/networks/{name...}/disconnect", _disconnect),
)
