"""Builds."""

import time
from contextlib import AsyncExitStack

from domain.build.stages import Plan
from domain.errors import InvalidValue, LadingError
from domain.images.credentials import AuthFile
from domain.images.manifest import parse_platform
from domain.images.reference import Reference, parse_target
from domain.text.safe import safe
from workers.build.request import BuildRequest, Built
from workers.console.bases import Bases
from workers.console.buildlog import Quiet
from workers.console.contexts import Arrivals, Sources
from workers.gateway import credentials
from workers.gateway.building import Screen, json_value, refuse_unsupported, request
from workers.gateway.call import Answer, Call, Reply
from workers.gateway.lines import Say, told
from workers.gateway.moments import moment
from workers.gateway.resources.transfers import pull
from workers.gateway.routes import Route
from workers.transfers import Keys


async def _build(call: Call) -> Answer:
    refuse_unsupported(call)
    for name in call.many("t"):
        if name:
            parse_target(name)
    known = credentials.several(call.headers.get(credentials.CONFIG, ""))
    network, fresh = await _network(call), await _without_cache(call)
    quiet, cached = call.flag("q"), not fresh and not call.flag("nocache")

    async def work(say: Say) -> None:
        async def write(data: bytes) -> None:
            await say({"stream": data.decode("utf-8", "replace")})

        builder, screen = call.engine.builder, Quiet(write) if quiet else Screen(say, cached=cached)
        async with AsyncExitStack() as stack:
            sources = await _sources(call, Arrivals(builder, stack, _unheard))
            wanted = request(call, sources, network, fresh=fresh)
            wanted = await _with_images(call, wanted, builder.plan(wanted), known, _silent if quiet else say)
            async with screen.shown():
                built = await builder.build(wanted, sources.bring, call.who, screen)
        await _tell(built, say, quiet=quiet)

    return await told(work)


async def _network(call: Call) -> str:
    """As a container takes it; empty for what every one has."""
    mode = call.text("networkmode")
    if mode.startswith("container:"):
        return f"container:{await call.engine.resolve(mode.removeprefix('container:'))}"
    return "" if mode in ("", "default", "bridge") else mode


async def _without_cache(call: Call) -> bool:
    """Images that the cache may be taken from are named, and none of them is here."""
    names = json_value(call, "cachefrom", [])
    return bool(names) and not any([await _is_here(call, str(name)) for name in names])


async def _sources(call: Call, arrivals: Arrivals) -> Sources:
    """The body, or what `remote` leads to."""
    remote, file = call.text("remote"), call.text("dockerfile")
    if not remote or remote == "client-session":
        return await arrivals.sent(call.body(), file)
    found = await arrivals.fetched(remote, file)
    if found is None:
        raise InvalidValue(f"invalid remote: {safe(remote[:200])}: neither an address nor a repository")
    return found


async def _with_images(
    call: Call, wanted: BuildRequest, plan: Plan, known: AuthFile, say: Say
) -> BuildRequest:
    """The same, with what is used here for what it needs: images that are not here are pulled first, or (`pull`) all of
    them. Raises: NotFound, Refused, Unavailable."""

    async def get(reference: Reference, platform: str) -> None:
        await say({"stream": f"Pulling {safe(str(reference))}, which is not here\n"})
        keys = _keys(call, reference, known)
        await pull(call.engine, reference, call.who, keys, say, parse_platform(platform) if platform else None)

    async def keys(reference: Reference) -> Keys:
        return _keys(call, reference, known)

    bases = Bases(call.engine, wanted.platform, call.flag("pull"), get, keys)
    lent = [name for name in wanted.cache_from if await _is_here(call, name)]
    return wanted.model_copy(update={"bases": await bases.bring(plan), "cache_from": tuple(lent)})


async def _is_here(call: Call, name: str) -> bool:
    try:
        return await call.engine.builder.knows(name) is not None
    except LadingError:
        return False


def _keys(call: Call, reference: Reference, known: AuthFile) -> Keys:
    found = {host: known.find(host, reference.path) for host in call.engine.images.hosts(reference)}
    return {host: entry for host, entry in found.items() if entry is not None}


async def _tell(built: Built, say: Say, *, quiet: bool) -> None:
    if quiet:
        await say({"stream": f"{built.image_id}\n"})
        return
    await say({"aux": {"ID": built.image_id}})
    await say({"stream": f"Successfully built {built.image_id.removeprefix('sha256:')[:12]}\n"})
    for reference in built.references:
        await say({"stream": f"Successfully tagged {reference}\n"})


async def _unheard(size: int) -> None:
    """The client knows what it has sent."""


async def _silent(document: object) -> None:
    """Nothing is told."""


async def _prune(call: Call) -> Answer:
    given = call.filters(("id", "inuse", "parent", "private", "shared", "type", "description", "unused-for", "until"))
    refused = next((name for name in given if name not in ("until", "unused-for")), None)
    if refused is not None:
        raise InvalidValue(f"the filter {refused} is not supported by Lading")
    for name in ("keep-storage", "reserved-space", "max-used-space", "min-free-space"):
        if call.number(name):
            raise InvalidValue(f"{name} is not supported by Lading")
    now = time.time_ns()
    untils = [moment(text, now) for texts in given.values() for text in texts]
    pruned = await call.engine.builder.prune(call.who, all=call.flag("all"), until=min(untils, default=None))
    return Reply(document={"CachesDeleted": list(pruned.keys) or None, "SpaceReclaimed": pruned.freed})


ROUTES = (
    Route("POST", "/build", _build),
    Route("POST", "/build/prune", _prune, since=(1, 31)),
)
