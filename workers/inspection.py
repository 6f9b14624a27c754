"""Inspect documents of what the engine knows: what `inspect` prints, and what the Docker Engine API answers."""

from domain.documents import Document, container_document, image_document, volume_document
from domain.errors import LadingError
from domain.messages import StreamKind
from domain.network.document import network_document
from workers.console.engine import Engine


def key(kind: StreamKind, document: Document) -> str:
    """Of which stream of that kind a document is."""
    return str(document["Name" if kind == "volume" else "Id"])


async def container(engine: Engine, name: str, *, size: bool = False) -> Document:
    """A container; with `size` also how much it has written. Raises: NotFound, Ambiguous."""
    found = await engine.container(await engine.resolve(name))
    sizes = None
    if size:
        written = await engine.writable_size(found.id)
        sizes = (written, written + await image_size(engine, found.settled.image_id))
    places = {mount.source: (await engine.volumes.find(mount.source)).mountpoint
              for mount in found.settled.mounts if mount.type == "volume"}
    path = engine.logs.path(found.id, found.settled.log.driver)
    return container_document(found, log_path=path, size=sizes, health=engine.health(found.id), places=places)


async def image_size(engine: Engine, id: str) -> int:
    """Bytes of an image; 0 for one that was removed."""
    try:
        return (await engine.images.find(id)).image.size
    except LadingError:
        return 0


async def image(engine: Engine, name: str) -> Document:
    """An image. Raises: NotFound, Ambiguous."""
    entry = await engine.images.find(name)
    return image_document(entry.image, entry.references, entry.parent)


async def volume(engine: Engine, name: str) -> Document:
    """A volume. Raises: NotFound."""
    known = await engine.volumes.find(name)
    return volume_document(known.name, known.mountpoint, known.created, options=known.options, labels=known.labels)


async def network(engine: Engine, name: str) -> Document:
    """A network with who is on it. Raises: NotFound, Ambiguous."""
    known = await engine.networks.find(name)
    return network_document(known.id, known.network, known.created_at, await engine.networks.members(known))
