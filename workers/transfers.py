"""Pulls and pushes: what is asked for is written down first, then the bytes move, then the outcome is written down.

    ref/app:v1    pull-requested → (the bytes come) → pulled, and what the reference names from now on, in one append
                                                    → pull-failed: it names what it named; what has come waits

Who asked is known by the request, how it ended by the outcome; credentials are in neither.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from domain.errors import LadingError, NotFound, Refused
from domain.images.config import parse_config
from domain.images.credentials import ANONYMOUS, Credentials
from domain.images.events import Pulled, PullFailed, PullRequested, Pushed, PushFailed, PushRequested
from domain.images.layer import digest_of, is_digest
from domain.images.manifest import LARGEST_CONFIG, OCI_INDEX, Index, Platform, choose, parse_document
from domain.images.model import Image
from domain.images.progress import Progress
from domain.images.reference import Reference, parse, split_key
from domain.images.registries import Registries
from domain.images.search import Hit
from domain.messages import Meta, Recorded
from domain.ports.images import Remotes, Sent, Source
from workers.images import Contents, Images

log = logging.getLogger(__name__)
_DEEPEST_INDEX = 4
Keys = Mapping[str, Credentials]
"""Credentials by host, as the client has them."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """What a pull has brought: `previous` is the id of what the reference named before (empty: nothing), `digest` what
    it means in the registry."""

    reference: Reference
    image_id: str
    digest: str
    previous: str

    @property
    def is_news(self) -> bool:
        """Whether the reference names something else now."""
        return self.previous != self.image_id


@dataclass(frozen=True, slots=True)
class Described:
    """What a reference means in its registry: a manifest or an index of `size` bytes, and what it is for."""

    media_type: str
    digest: str
    size: int
    platforms: tuple[Platform, ...]


class _Memory:
    """A blob that is small enough to be held."""

    def __init__(self) -> None:
        self.data = bytearray()

    @property
    def offset(self) -> int:
        """Bytes that are here."""
        return len(self.data)

    def take(self, data: bytes) -> None:
        """The next ones."""
        self.data += data


class Transfers:
    """Between this host's images and the registries of the world."""

    def __init__(self, images: Images, contents: Contents, remotes: Remotes) -> None:
        self._images, self._contents, self._remotes = images, contents, remotes

    @property
    def configuration(self) -> Registries:
        """Where names lead."""
        return self._remotes.configuration

    async def pull(
        self, reference: Reference, keys: Keys, progress: Progress, meta: Meta, *, platform: Platform | None = None
    ) -> Arrived:
        """Bring what the reference means, and let it name that here.

        Raises: NotFound, Refused, Unavailable, StorageError; then nothing has changed.
        """
        meta = await self._asked(reference.key, PullRequested(platform=str(platform or "")), PullFailed, meta)
        try:
            found = await self._contents.pull(
                lambda stop: self._remotes.source(reference, _of(keys), stop, progress.say),
                reference.digest or reference.tag,
                name=str(reference),
                platform=platform,
                progress=progress,
            )
            event = Pulled(image_id=found.image.id, digest=found.digest, received=progress.received)
            previous = await self._images.record_pulled(
                found.image, reference.key, event, meta, source=reference.full
            )
        except BaseException as error:
            await self._failed(reference.key, PullFailed(reason=_reason(error)), meta)
            raise
        self._contents.settle(str(reference))
        return Arrived(reference, found.image.id, found.digest, previous)

    async def push(self, reference: Reference, credentials: Credentials, progress: Progress, meta: Meta) -> Sent:
        """Bring what the reference names here to its registry. Raises: NotFound, Refused, Unavailable, StorageError."""
        image = await self._named(reference)
        meta = await self._asked(reference.key, PushRequested(image_id=image.id), PushFailed, meta)
        references = await self._images.known_as(image.id)
        try:
            sent = await self._contents.push(
                lambda stop: self._remotes.target(
                    reference, credentials, stop, progress.say, mounts=_mounts(reference, references)
                ),
                image,
                reference.tag,
                digests=_digests(reference, references),
                progress=progress,
            )
            event = Pushed(image_id=image.id, digest=sent.digest, sent=progress.moved)
            await self._images.record_pushed(reference.key, event, image.id, sent.digest, meta)
        except BaseException as error:
            await self._failed(reference.key, PushFailed(reason=_reason(error)), meta)
            raise
        return sent

    async def described(self, reference: Reference, keys: Keys) -> Described:
        """What the reference means in its registry; nothing is pulled. Raises: NotFound, Refused, Unavailable."""
        stop = threading.Event()
        try:
            return await asyncio.to_thread(_described, self._remotes.source(reference, _of(keys), stop), reference)
        finally:
            stop.set()

    async def digest_for(self, reference: Reference, keys: Keys, platform: Platform) -> str:
        """The digest of the manifest that the reference means for a platform, in its registry; nothing is brought.

        Raises: NotFound, Refused, Unavailable.
        """
        stop = threading.Event()
        try:
            return await asyncio.to_thread(
                _digest_for, self._remotes.source(reference, _of(keys), stop), reference, platform
            )
        finally:
            stop.set()

    async def tags(self, reference: Reference, keys: Keys) -> Sequence[str]:
        """All tags of the repository, in its registry. Raises: NotFound, Refused, Unavailable."""
        stop = threading.Event()
        try:
            return await asyncio.to_thread(self._remotes.source(reference, _of(keys), stop).tags)
        finally:
            stop.set()

    async def local_tags(self, repository: str) -> Sequence[str]:
        """All tags of the repository here."""
        keys = [row.reference for row in await self._images.list()]
        return [tag for key in keys for name, tag, _ in [split_key(key)] if name == repository and tag]

    async def login(self, host: str, credentials: Credentials) -> None:
        """Returns when the registry accepts them. Raises: Refused, Unavailable."""
        await asyncio.to_thread(self._remotes.login, host, credentials)

    async def search(self, host: str, term: str, limit: int, credentials: Credentials) -> Sequence[Hit]:
        """What the registry finds. Raises: NotFound (it has no search), Refused, Unavailable."""
        return await asyncio.to_thread(self._remotes.search, host, term, limit, credentials)

    async def save(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        """An archive of these images; a repository without a tag stands for all its tags.

        Raises: NotFound before the first byte, StorageError.
        """
        chosen: dict[str, list[str]] = {}
        for name in names:
            for image_id, key in await self._meant(name):
                keys = chosen.setdefault(image_id, [])
                keys += [key] if key and key not in keys else []
        wanted = []
        for image_id, keys in chosen.items():
            references = await self._images.known_as(image_id)
            digests = [digest for key in references if (digest := split_key(key)[2])]
            wanted.append((await self._images.image(image_id), keys, digests))
        async for piece in self._contents.save(wanted):
            yield piece

    async def _meant(self, name: str) -> Sequence[tuple[str, str]]:
        """Ids and references (empty: none was named) of what `name` stands for."""
        tags = await self.local_tags(name)
        if tags:
            return [(await self._images.named(f"{name}:{tag}"), f"{name}:{tag}") for tag in tags]
        image, key = await self._images.found(name)
        return [(image.id, key if split_key(key)[1] else "")]

    async def _named(self, reference: Reference) -> Image:
        image_id = await self._images.named(reference.key)
        if not image_id:
            raise NotFound(f"An image does not exist locally with the tag: {reference.repository}")
        return await self._images.image(image_id)

    async def _asked(
        self, key: str, event: PullRequested | PushRequested, failure: type[PullFailed] | type[PushFailed], meta: Meta
    ) -> Meta:
        """What everything that follows from the request says of itself. Who goes away while it is written down has
        asked all the same: it has an outcome."""
        asking = asyncio.ensure_future(self._images.note(key, event, meta))
        try:
            return _caused(meta, await asyncio.shield(asking))
        except asyncio.CancelledError as error:
            await asyncio.shield(self._called_off(asking, key, failure(reason=_reason(error)), meta))
            raise

    async def _called_off(
        self, asking: "asyncio.Future[Recorded]", key: str, event: PullFailed | PushFailed, meta: Meta
    ) -> None:
        await asyncio.wait((asking,))
        if asking.exception() is None:
            await self._failed(key, event, _caused(meta, asking.result()))

    async def _failed(self, key: str, event: PullFailed | PushFailed, meta: Meta) -> None:
        """Also for who was cancelled: it must be in the log before he is let go. Nothing for who was cancelled while
        the good end of it was written down. What cannot be written now is at the next start."""
        try:
            await asyncio.shield(self._images.broken_off(key, event, meta))
        except LadingError as error:
            log.error("that %s failed is not written down: %s", key, error)


def _caused(meta: Meta, request: Recorded) -> Meta:
    return replace(meta, cause=request.position, command_id="")


def _digest_for(source: Source, reference: Reference, platform: Platform) -> str:
    which = reference.digest or reference.tag
    for _ in range(_DEEPEST_INDEX):
        data = source.manifest(which)
        document = parse_document(data, f"the manifest of {reference}")
        if not isinstance(document, Index):
            return digest_of(data)
        which = choose(document.manifests, platform, str(reference)).digest
    raise Refused(f"the indexes of {reference} are nested too deeply")


def _described(source: Source, reference: Reference) -> Described:
    data = source.manifest(reference.digest or reference.tag)
    document = parse_document(data, f"the manifest of {reference}")
    if isinstance(document, Index):
        platforms = tuple(one.platform for one in document.manifests if one.platform and one.platform.os != "unknown")
        return Described(document.media_type or OCI_INDEX, digest_of(data), len(data), platforms)
    if document.config.size > LARGEST_CONFIG:
        raise Refused(f"the config of {reference} is too large: {document.config.size} bytes")
    config = _Memory()
    source.download(document.config, config)
    if digest_of(bytes(config.data)) != document.config.digest:
        raise Refused(f"the config of {reference} is not what its digest says")
    platform = parse_config(bytes(config.data), f"the config of {reference}").platform
    return Described(document.kind, digest_of(data), len(data), (platform,))


def _of(keys: Keys) -> Callable[[str], Credentials]:
    """Credentials for a host, or nobody's."""
    return lambda host: keys.get(host, ANONYMOUS)


def _mounts(reference: Reference, references: Sequence[str]) -> tuple[str, ...]:
    """Paths of repositories in the same registry by whose digests the image is known: they have its blobs."""
    known = (parse(key) for key in references if is_digest(split_key(key)[2]))
    return tuple(dict.fromkeys(one.path for one in known if one.host == reference.host and one.path != reference.path))


def _digests(reference: Reference, references: Sequence[str]) -> tuple[str, ...]:
    """Of its manifests, those of the repository itself first."""
    known = [split_key(key) for key in references]
    own = [digest for name, _, digest in known if digest and name == reference.repository]
    return tuple(dict.fromkeys([*own, *(digest for _, _, digest in known if digest)]))


def _reason(error: BaseException) -> str:
    if isinstance(error, LadingError):
        return error.message
    return "cancelled" if isinstance(error, asyncio.CancelledError) else f"{type(error).__name__}: {error}"
