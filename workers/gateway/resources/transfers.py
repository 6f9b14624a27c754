"""Images on their way: pulled and imported, pushed, loaded and saved; and what a registry has of one."""

from collections.abc import AsyncIterator, Sequence

from adapters.images.remote import is_address
from domain.errors import InvalidValue
from domain.images.credentials import Credentials
from domain.images.manifest import Platform, parse_platform
from domain.images.progress import Progress
from domain.images.reference import Reference
from workers.console.engine import Engine
from workers.console.images import meant
from workers.gateway import credentials
from workers.gateway.call import Answer, Call, Reply, Stream
from workers.gateway.lines import Say, told
from workers.gateway.progress import watched
from workers.gateway.routes import Route
from workers.mover import Caller
from workers.transfers import Keys

_TAR = "application/x-tar"


# Pull ----------------------------------------------------------------------------------------------------------------


async def _create(call: Call) -> Answer:
    if call.text("fromSrc"):
        return await _import(call)
    name = call.text("fromImage")
    if not name:
        raise InvalidValue("nothing to create: neither fromImage nor fromSrc was given")
    client = credentials.one(call.headers.get(credentials.AUTH, ""))
    platform = parse_platform(call.text("platform")) if call.text("platform") else None
    reference = _reference(call.engine, name.removesuffix(":"), call.text("tag"))

    async def work(say: Say) -> None:
        for one in await _meant(call.engine, reference, client):
            await pull(call.engine, one, call.who, keys_for(call.engine, one, client), say, platform)

    return await told(work)


def _reference(engine: Engine, name: str, tag: str) -> Reference:
    """The name and the tag or digest beside it; without either all tags are meant. Raises: InvalidValue."""
    joined = "@" if ":" in tag else ":"
    return engine.images.expand(f"{name}{joined}{tag}" if tag else name, default_tag=False)


async def _meant(engine: Engine, reference: Reference, client: Credentials) -> Sequence[Reference]:
    if reference.tag or reference.digest:
        return [reference]
    tags = await engine.images.remote_tags(reference, keys_for(engine, reference, client))
    return [engine.images.expand(f"{reference.host}/{reference.path}:{tag}") for tag in sorted(tags)]


def keys_for(engine: Engine, reference: Reference, client: Credentials) -> Keys:
    """The client is known to the registry itself; others that stand in for it do not hear of him."""
    hosts = engine.images.hosts(reference)
    return {hosts[-1]: client} if hosts else {}


async def pull(
    engine: Engine, reference: Reference, who: Caller, keys: Keys, say: Say, platform: Platform | None = None
) -> None:
    """Bring it, and tell how far it is. Raises: NotFound, Refused, Unavailable, StorageError."""
    progress = Progress()
    arrived = await watched(
        engine.images.pull(reference, who, keys, progress, platform),
        progress,
        say,
        {"status": f"Pulling from {reference.path}", "id": reference.tag or reference.digest},
    )
    await say({"status": f"Digest: {arrived.digest}"})
    status = "Downloaded newer image for" if arrived.is_news else "Image is up to date for"
    await say({"status": f"Status: {status} {reference}"})


# Import --------------------------------------------------------------------------------------------------------------


async def _import(call: Call) -> Answer:
    source, repository, tag = call.text("fromSrc"), call.text("repo"), call.text("tag")
    platform = parse_platform(call.text("platform")) if call.text("platform") else None
    name = f"{repository}:{tag}" if repository and tag else repository
    if source != "-" and not is_address(source):
        raise InvalidValue(f"invalid fromSrc: {source[:100]}: it must be - or an address")
    message = call.text("message") or f"Imported from {source}"

    async def take(content: AsyncIterator[bytes]) -> str:
        return await call.engine.images.import_stream(
            content, name, call.who, message=message, changes=call.many("changes"), platform=platform
        )

    async def work(say: Say) -> None:
        if source == "-":
            id = await take(call.body())
        else:
            await say({"status": f"Downloading from {source}"})
            async with call.engine.builder.address(source) as content:
                id = await take(content)
        await say({"status": id})

    return await told(work)


# Push ----------------------------------------------------------------------------------------------------------------


async def _push(call: Call) -> Answer:
    if call.text("platform"):
        raise InvalidValue("platform is not supported by Lading: an image is kept for one platform only")
    images = call.engine.images
    client = credentials.one(call.headers.get(credentials.AUTH, ""))
    reference = _reference(call.engine, call.path["name"], call.text("tag"))
    if reference.digest:
        raise InvalidValue("cannot push a digest reference")

    async def work(say: Say) -> None:
        tags = [reference.tag] if reference.tag else sorted(await images.local_tags(reference.repository))
        for tag in tags or ["latest"]:
            await _push_one(call, images.expand(f"{reference.host}/{reference.path}:{tag}"), client, say)

    return await told(work)


async def _push_one(call: Call, reference: Reference, client: Credentials, say: Say) -> None:
    progress = Progress()
    sent = await watched(
        call.engine.images.push(reference, call.who, client, progress),
        progress,
        say,
        {"status": f"The push refers to repository [{reference.host}/{reference.path}]"},
        pushing=True,
    )
    await say({"status": f"{reference.tag}: digest: {sent.digest} size: {sent.size}"})
    await say({"progressDetail": {}, "aux": {"Tag": reference.tag, "Digest": sent.digest, "Size": sent.size}})


# Archives ------------------------------------------------------------------------------------------------------------


async def _load(call: Call) -> Answer:
    if call.text("platform"):
        raise InvalidValue("platform is not supported by Lading: an image is kept for one platform only")

    async def work(say: Say) -> None:
        for line in await call.engine.images.load_stream(call.body(), call.who):
            await say({"stream": f"{line}\n"})

    return await told(work, mildly=True)


async def _save(call: Call) -> Answer:
    return await _archive(call, [call.path["name"]])


async def _save_several(call: Call) -> Answer:
    names = [name for given in call.many("names") for name in given.split(",") if name]
    if not names:
        raise InvalidValue("no image was named")
    return await _archive(call, names)


async def _archive(call: Call, names: Sequence[str]) -> Answer:
    if call.text("platform"):
        raise InvalidValue("platform is not supported by Lading: an image is kept for one platform only")
    for id in await meant(call.engine.images, names):
        call.reading.about("image", id)
    pieces = call.engine.images.save(names)
    return Stream(_whole(await anext(pieces, b""), pieces), kind=_TAR)


async def _whole(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


# In a registry -------------------------------------------------------------------------------------------------------


async def _distribution(call: Call) -> Answer:
    reference = call.engine.images.expand(call.path["name"])
    client = credentials.one(call.headers.get(credentials.AUTH, ""))
    found = await call.engine.images.described(reference, keys_for(call.engine, reference, client))
    platforms = [
        {key: value for key, value in (("architecture", one.architecture), ("os", one.os), ("variant", one.variant))
         if value}
        for one in found.platforms
    ]
    descriptor = {"mediaType": found.media_type, "digest": found.digest, "size": found.size}
    return Reply(document={"Descriptor": descriptor, "Platforms": platforms})


ROUTES = (
    Route("POST", "/images/create", _create),
    Route("POST", "/images/load", _load),
    Route("GET", "/images/get", _save_several, reads="save"),
    Route("GET", "/images/{name...}/get", _save, reads="save"),
    Route("POST", "/images/{name...}/push", _push),
    Route("GET", "/distribution/{name...}/json", _distribution, since=(1, 30), reads="manifest inspect"),
)
