"""The files of builds: contexts as they arrive, trees of images, and the layers that are made of both."""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from adapters.images import placed, unpacked
from adapters.images.compression import inflated, sniff
from adapters.images.context import Context
from adapters.images.merged import Merged
from adapters.images.placed import Readable
from adapters.images.store import LocalImageStore
from domain.build.keys import File
from domain.build.placing import Mode, Node, Owner, Placed
from domain.errors import Refused, StorageError
from domain.images.model import Image, Layer

_PIECE = 1 << 20
_RESERVE = 256 << 20


class BuildFiles:
    """`spool` is where contexts lie while they are used; their files have no names there."""

    def __init__(self, store: LocalImageStore, spool: Path) -> None:
        self._store, self._spool = store, spool

    @asynccontextmanager
    async def context(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[Context]:
        """A context from a tar, packed or not, for as long as the block lasts. Raises: Refused, StorageError."""
        fd = self._unnamed()
        try:
            try:
                async for piece in pieces:
                    await asyncio.to_thread(_write, fd, piece) if len(piece) > _PIECE else _write(fd, piece)
                fd = await asyncio.to_thread(self._plain, fd)
            except OSError as error:
                raise StorageError(f"the build context cannot be kept: {error.strerror}") from error
            yield await asyncio.to_thread(Context, fd)
        finally:
            os.close(fd)

    @contextmanager
    def tree(self, layers: Sequence[Layer]) -> Iterator[Merged]:
        """The files of an image. Raises: StorageError."""
        merged = Merged(self._store.directories(layers))
        try:
            yield merged
        finally:
            merged.close()

    def files(self, things: Sequence[Placed], source: Readable) -> list[File]:
        """What of them counts for the cache. Blocking."""
        return list(placed.files(things, source))

    def is_archive(self, node: Node, source: Readable) -> bool:
        """Whether a file is a tar, packed or not. Blocking."""
        return node.kind == "file" and unpacked.is_archive(unpacked.head_of(source.data(node), node.path))

    async def add(
        self, parent: Image, things: Sequence[Placed], source: Readable, config: dict[str, object], created_by: str
    ) -> Image:
        """An image with one more layer, of these things. Raises: Refused, StorageError."""
        pieces = placed.layer(things, source, int(time.time()))
        return await self._store.add_layer(parent, pieces, config, created_by)

    async def add_archive(
        self, parent: Image, pieces: Iterator[bytes], directory: str, what: str, owner: Owner | None,
        mode: Mode | None, config: dict[str, object], created_by: str,
    ) -> Image:
        """An image with one more layer, of what is in an archive. Raises: Refused, StorageError."""
        layer = unpacked.layer(pieces, directory, what, owner, mode)
        return await self._store.add_layer(parent, layer, config, created_by)

    def _plain(self, fd: int) -> int:
        """The descriptor of what is in it; takes the given one over when it was packed."""
        kind = sniff(os.pread(fd, 6, 0))
        if kind == "plain":
            return fd
        target = self._unnamed()
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            for piece in inflated(kind, iter(lambda: os.read(fd, _PIECE), b""), "the build context"):
                disk = os.statvfs(self._spool)
                if disk.f_bavail * disk.f_frsize < _RESERVE:
                    raise Refused("the build context unpacks to more than there is room for")
                _write(target, piece)
        except BaseException:
            os.close(target)
            raise
        os.dup2(target, fd, inheritable=False)
        os.close(target)
        return fd

    def _unnamed(self) -> int:
        fd, name = tempfile.mkstemp(prefix="context-", dir=self._spool)
        os.unlink(name)
        return fd


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
