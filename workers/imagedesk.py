"""Images as the console asks for them: content arrives as a stream from the client, answers are lines and names."""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from adapters.threads import whole
from domain.errors import StorageError
from domain.images.credentials import Credentials
from domain.images.manifest import Platform
from domain.images.model import Image, Registered
from domain.images.progress import Progress
from domain.images.reference import Reference
from domain.images.search import Hit
from domain.messages import Meta
from domain.ports.images import Sent
from workers.images import Images
from workers.mover import Caller, Mover
from workers.transfers import Arrived, Described, Keys, Transfers

Content = AsyncIterator[bytes] | int
"""Pieces, or the descriptor of a file that somebody lends, which is closed in the end."""
_PORTION = 1 << 19
_MOST_PIECES = 512
"""At most 1024 (IOV_MAX) go into one call."""


@dataclass(frozen=True, slots=True)
class ImageDesk:
    """`spool` is where streams lie until they are understood."""

    images: Images
    transfers: Transfers
    mover: Mover
    spool: Path

    async def find(self, name: str) -> Registered:
        """By reference, id or prefix of an id, with all its references. Raises: NotFound, Ambiguous."""
        image = await self.images.resolve(name)
        return next(found for found in await self.all() if found.image.id == image.id)

    async def all(self) -> Sequence[Registered]:
        """Every image with its references."""
        references: dict[str, list[str]] = {}
        parents: dict[str, str] = {}
        for row in await self.images.list():
            references.setdefault(row.image_id, []).extend([row.reference] if row.reference else [])
            parents[row.image_id] = row.parent
        return [
            Registered(image=await self.images.image(id), references=tuple(references[id]), parent=parent)
            for id, parent in parents.items()
        ]

    async def require(self, name: str, platform: Platform) -> None:
        """Returns when the image is here, and for this platform. Raises: NotFound, Ambiguous."""
        await self.images.suiting(name, platform)

    async def tag(self, source: str, target: str, who: Caller) -> None:
        """Give an image another name. Raises: Refused, NotFound."""
        await self.images.tag(source, target, meta=self._meta(who))

    async def remove(self, name: str, who: Caller, *, force: bool, prune: bool) -> Sequence[str]:
        """What was done, as lines. Raises: Refused, NotFound."""
        return (await self.images.remove(name, force=force, prune=prune, meta=self._meta(who))).lines()

    async def would_remove(self, name: str, *, force: bool, prune: bool) -> Sequence[str]:
        """What `remove` would do, as lines. Raises what it would."""
        return (await self.images.would_remove(name, force=force, prune=prune)).lines()

    async def unused(
        self, test: Callable[[Image], bool], *, everything: bool, gone: Collection[str] = ()
    ) -> Sequence[str]:
        """Ids of images that no container uses, except those in `gone`, in the order in which they can go; without
        `everything` only those without a tag."""
        return await self.images.unused(test, everything=everything, gone=gone)

    async def prune(self, image_ids: Sequence[str], who: Caller) -> tuple[Sequence[str], Sequence[str], int]:
        """References that were dropped, ids of images and chain ids of layers that were deleted, and bytes freed."""
        removed, freed = await self.images.prune(image_ids, self._meta(who))
        return removed.untagged, removed.deleted, freed

    async def would_free(self, image_ids: Sequence[str]) -> int:
        """The bytes that `prune` of these would free."""
        return await self.images.would_free(image_ids)

    async def inventory(self) -> Mapping[str, int]:
        """Bytes in the store by kind, and as `unknown` what nobody can account for."""
        return await self.images.inventory()

    async def check(self) -> Sequence[str]:
        """What is missing or damaged in the store, one sentence each."""
        return await self.images.check()

    async def import_stream(
        self,
        content: Content,
        reference: str,
        who: Caller,
        *,
        message: str,
        changes: Sequence[str],
        platform: Platform | None = None,
    ) -> str:
        """An image of one layer; its id. Raises: Refused."""
        async with self._file(content) as (archive, spent):
            meta = self._meta(who)
            return (
                await self.images.import_(
                    archive,
                    reference=reference,
                    message=message,
                    changes=changes,
                    platform=platform,
                    spent=spent,
                    meta=meta,
                )
            ).id

    async def load_stream(
        self, content: Content, who: Caller, platform: Platform | None = None
    ) -> Sequence[str]:
        """All images of an archive, or those for one platform; what `load` prints. Raises: Refused."""
        async with self._file(content) as (archive, spent):
            return (await self.images.load(archive, platform=platform, spent=spent, meta=self._meta(who))).lines()

    def expand(self, name: str, *, default_tag: bool = True) -> Reference:
        """The reference that somebody means. Raises: InvalidValue."""
        return self.transfers.configuration.expand(name, default_tag=default_tag)

    def hosts(self, reference: Reference) -> Sequence[str]:
        """Whose credentials a pull may need, the registry itself last."""
        return [endpoint.host for endpoint in self.transfers.configuration.endpoints(reference.host)]

    async def pull(
        self, reference: Reference, who: Caller, keys: Keys, progress: Progress, platform: Platform | None
    ) -> Arrived:
        """Bring what the reference means. Raises: NotFound, Refused, Unavailable, StorageError."""
        return await self.transfers.pull(reference, keys, progress, self._meta(who), platform=platform)

    async def push(self, reference: Reference, who: Caller, credentials: Credentials, progress: Progress) -> Sent:
        """Bring it to its registry. Raises: NotFound, Refused, Unavailable, StorageError."""
        return await self.transfers.push(reference, credentials, progress, self._meta(who))

    async def digest_for(self, reference: Reference, keys: Keys, platform: Platform) -> str:
        """The digest of what the reference means for a platform. Raises: NotFound, Refused, Unavailable."""
        return await self.transfers.digest_for(reference, keys, platform)

    async def remote_tags(self, reference: Reference, keys: Keys) -> Sequence[str]:
        """All tags in the registry. Raises: NotFound, Refused, Unavailable."""
        return await self.transfers.tags(reference, keys)

    async def described(self, reference: Reference, keys: Keys) -> Described:
        """What the reference means in its registry. Raises: NotFound, Refused, Unavailable."""
        return await self.transfers.described(reference, keys)

    async def local_tags(self, repository: str) -> Sequence[str]:
        """All tags here."""
        return await self.transfers.local_tags(repository)

    async def login(self, host: str, credentials: Credentials) -> None:
        """Returns when the registry accepts them. Raises: Refused, Unavailable."""
        await self.transfers.login(host, credentials)

    async def search(self, host: str, term: str, limit: int, credentials: Credentials) -> Sequence[Hit]:
        """What the registry finds. Raises: NotFound, Refused, Unavailable."""
        return await self.transfers.search(host, term, limit, credentials)

    def save(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        """An archive of these images. Raises: NotFound, StorageError."""
        return self.transfers.save(names)

    def _meta(self, who: Caller) -> Meta:
        return self.mover.meta(who)

    @asynccontextmanager
    async def _file(self, content: Content) -> AsyncIterator[tuple[Path, bool]]:
        """The archive as a file, and whether that is ours."""
        if not isinstance(content, int):
            async with self._spooled(content) as spool:
                yield spool, True
            return
        try:
            yield Path(f"/proc/self/fd/{content}"), False
        finally:
            os.close(content)

    @asynccontextmanager
    async def _spooled(self, content: AsyncIterator[bytes]) -> AsyncIterator[Path]:
        """The stream as a file that exists only meanwhile; what a crash leaves is swept at the next start."""
        fd, name = tempfile.mkstemp(prefix="spool-", dir=self.spool)
        try:
            try:
                async for portion in _portions(content):
                    await whole(partial(_write, fd, portion))
            finally:
                os.close(fd)
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)


async def _portions(content: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Many pieces at once: a change of threads costs more than writing one."""
    portion: list[bytes] = []
    size = 0
    async for piece in content:
        portion.append(piece)
        size += len(piece)
        if size >= _PORTION:
            yield portion
            portion, size = [], 0
    yield portion


def _write(fd: int, pieces: Sequence[bytes]) -> None:
    try:
        for start in range(0, len(pieces), _MOST_PIECES):
            some = pieces[start : start + _MOST_PIECES]
            written = os.writev(fd, some)
            if written < sum(map(len, some)):
                rest = memoryview(b"".join(some))[written:]
                while rest:
                    rest = rest[os.write(fd, rest) :]
    except OSError as error:
        raise StorageError(f"the archive cannot be kept: {error.strerror}") from error


def empty_spool(spool: Path) -> None:
    """Delete what a crash has left there."""
    for left in spool.glob("spool-*"):
        left.unlink(missing_ok=True)
