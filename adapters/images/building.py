"""The files of builds: contexts as they arrive, trees of images, and the layers that are made of both."""

import asyncio
import os
import stat
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

from adapters.images import placed, same, trees, unpacked
from adapters.images.arriving import Arriving
from adapters.images.compression import inflated, sniff
from adapters.images.context import Context
from adapters.images.kept import Origin, Shelf
from adapters.images.merged import Merged
from adapters.images.placed import Readable
from adapters.images.remote import Remote
from adapters.images.repository import Repository, Ssh
from adapters.images.store import LocalImageStore
from adapters.tar.reader import Damaged, Reader
from adapters.tar.spread import Impossible, Rules, Spreader
from adapters.threads import whole
from domain.build.keys import File
from domain.build.placing import Mode, Node, Owner, Placed, follow
from domain.errors import Refused, StorageError
from domain.images.model import Image, Layer

_PIECE = 1 << 20
_RESERVE = 256 << 20
_MARK = "build-"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class BuildFiles:
    """`spool` is where contexts lie while they are used; their files have no names there."""

    def __init__(self, store: LocalImageStore, spool: Path, secrets: Path) -> None:
        self._store, self._spool, self._secrets = store, spool, secrets
        self._shelf = Shelf()

    def clear(self) -> None:
        """Delete what a crash has left."""
        for left in (*self._spool.glob(f"{_MARK}*"), *self._secrets.glob(f"{_MARK}*")):
            trees.delete_path(str(left))

    @property
    def private(self) -> tuple[Path, str]:
        """Where nothing lasts longer than the machine runs, and how names of builds begin there."""
        return self._secrets, _MARK

    @contextmanager
    def temporary_file(self, content: bytes) -> Iterator[Path]:
        """A file that may be executed, for as long as the block lasts."""
        yield from self._file(self._spool, content, 0o755, 0, 0)

    @contextmanager
    def secret_file(self, content: bytes, mode: int, uid: int, gid: int) -> Iterator[Path]:
        """A file where nothing lasts longer than the machine runs, for as long as the block lasts."""
        yield from self._file(self._secrets, content, mode, uid, gid)

    def _file(self, folder: Path, content: bytes, mode: int, uid: int, gid: int) -> Iterator[Path]:
        fd, name = tempfile.mkstemp(prefix=_MARK, dir=folder)
        try:
            try:
                _write(fd, content)
                os.fchown(fd, uid, gid)
                os.fchmod(fd, mode)
            finally:
                os.close(fd)
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    @asynccontextmanager
    async def laid_out(self, things: Sequence[Placed], source: Readable) -> AsyncIterator[Path]:
        """A directory that holds these things, for as long as the block lasts. Raises: Refused, StorageError."""
        directory = Path(tempfile.mkdtemp(prefix=_MARK, dir=self._spool))
        try:
            await asyncio.to_thread(_spread, directory, placed.layer(things, source, int(time.time())))
            yield directory
        finally:
            await asyncio.to_thread(trees.delete_path, str(directory))

    def make_cache(self, path: Path, mode: int, uid: int, gid: int) -> None:
        """A directory that lasts between builds, as it is to be at first."""
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            return
        os.chown(path, uid, gid)
        path.chmod(mode)

    def size_of_cache(self, path: Path) -> int:
        """In bytes."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return trees.apparent_size(fd)
        finally:
            os.close(fd)

    def delete_cache(self, path: Path) -> int:
        """Its size in bytes; it is gone."""
        size = self.size_of_cache(path)
        trees.delete_path(str(path))
        return size

    def take_out(self, upper: Path, places: Sequence[str], layers: Sequence[Layer]) -> None:
        """Of the places that something was mounted on, delete those that were made for it and are empty."""
        with self.tree(layers) as image:
            for place in places:
                path = follow(image, place.strip("/"), missing=True)
                parts = path.split("/")
                known = 0
                while known < len(parts) and image.look("/".join(parts[: known + 1])) is not None:
                    known += 1
                for depth in range(len(parts), known, -1):
                    if not _delete_empty(upper, parts[:depth]):
                        break

    @asynccontextmanager
    async def context(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[Context]:
        """A context from a tar, packed or not, for as long as the block lasts. Raises: Refused, StorageError."""
        fd = self._unnamed()
        try:
            try:
                context = await self._received(fd, pieces)
            except OSError as error:
                raise StorageError(f"the build context cannot be kept: {error.strerror}") from error
            yield context
        finally:
            os.close(fd)

    @asynccontextmanager
    async def near_context(
        self, origin: Origin, pack: Callable[[bytes], AsyncIterator[bytes]], *, anew: bool = False
    ) -> AsyncIterator[Context]:
        """The same from a client on this machine; `pack` is told what need not come, because it is kept of the same
        `origin`: nothing if all is to be read `anew`. Raises: Refused, StorageError."""
        if anew:
            self._shelf.drop(origin)
        kept = self._shelf.take(origin)
        fd = self._unnamed() if kept is None else kept.fd
        context = None
        try:
            before = Context(-1, unpacked.Pieces(iter(()))) if kept is None else kept.context
            try:
                context = await self._received(fd, pack(before.told()), before)
            except OSError as error:
                raise StorageError(f"the build context cannot be kept: {error.strerror}") from error
            yield context
        finally:
            if context is None or not self._room():
                os.close(fd)
            else:
                self._shelf.put(origin, fd, context, os.fstat(fd).st_size if kept is None else kept.whole)

    def forget(self) -> None:
        """Keep nothing of contexts."""
        self._shelf.clear()

    async def _received(self, fd: int, pieces: AsyncIterator[bytes], before: Context | None = None) -> Context:
        """A plain one is looked through while it comes, by a thread of its own: how long that takes is up to whoever
        sends it. It is put behind the one `before`."""
        start = os.lseek(fd, 0, os.SEEK_END)
        source, reading = Arriving(fd, start), None
        try:
            async for piece in pieces:
                if len(piece) > _PIECE:
                    await whole(partial(_write, fd, piece))
                else:
                    _write(fd, piece)
                source.grow(len(piece))
                if reading is None and len(head := os.pread(fd, 6, start)) == 6 and sniff(head) == "plain":
                    thread = ThreadPoolExecutor(1, "context")
                    reading = asyncio.wrap_future(thread.submit(Context, fd, source, before))
                    thread.shutdown(wait=False)
        finally:
            source.end()
            if reading is not None:
                await asyncio.gather(reading, return_exceptions=True)
        if reading is not None:
            return reading.result()
        if before is not None:
            raise Refused("the build context is damaged: it is packed, and its sender does not do that")
        stop = threading.Event()
        fd = await whole(partial(self._plain, fd, stop), stop)
        return await whole(partial(Context, fd))

    @asynccontextmanager
    async def repository(self, text: str, *, keep: bool = False, ssh: Ssh | None = None) -> AsyncIterator[Context]:
        """The tree of a git repository as a context, for as long as the block lasts; `keep` takes `.git` along.

        Raises: Refused, Unavailable, StorageError.
        """
        wanted = Repository.of(text)
        folder = Path(tempfile.mkdtemp(prefix=_MARK, dir=self._spool))
        fd = self._unnamed()
        try:
            try:
                await wanted.fetch(folder, ssh)
                stop = threading.Event()
                await whole(lambda: wanted.pack(folder, lambda data: _write(fd, data, stop), keep=keep), stop)
            finally:
                await asyncio.to_thread(trees.delete_path, str(folder))
            yield await whole(partial(Context, fd))
        finally:
            os.close(fd)

    @asynccontextmanager
    async def address(self, url: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """What is at an address, in pieces, for as long as the block lasts. Raises: Refused, Unavailable."""
        fetching = self.fetched([url], "")
        remote, (name,) = await asyncio.to_thread(fetching.__enter__)
        try:
            node = remote.look(name)
            assert node is not None
            yield _in_thread(remote.data(node))
        finally:
            fetching.__exit__(None, None, None)

    @contextmanager
    def fetched(self, addresses: Sequence[str], checksum: str) -> Iterator[tuple[Remote, Sequence[str]]]:
        """What is at these addresses as files of one tree, and their names in it. Blocking. Raises: Refused,
        Unavailable."""
        fds: list[int] = []
        remote = Remote()
        try:
            names = []
            for address in addresses:
                fds.append(self._unnamed())
                names.append(remote.add(address, fds[-1], self._room(), checksum))
            yield remote, names
        finally:
            for fd in fds:
                os.close(fd)

    def _room(self) -> int:
        disk = os.statvfs(self._spool)
        return max(disk.f_bavail * disk.f_frsize - _RESERVE, 0)

    def budget(self) -> int:
        """How many bytes the cache may hold: a tenth of the disk."""
        disk = os.statvfs(self._spool)
        return disk.f_blocks * disk.f_frsize // 10

    async def archive(self, layers: Sequence[Layer], prefix: str = "") -> AsyncIterator[bytes]:
        """All files of an image as a tar, below `prefix`; devices are left out. Raises: StorageError."""
        with self.tree(layers) as tree:
            pieces = placed.layer(_everything(tree, prefix), tree, int(time.time()))
            async for piece in _in_thread(pieces):
                yield piece

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

    def holds(self, layer: Layer, things: Sequence[Placed], source: Readable, image: Merged) -> bool:
        """Whether a layer is what would be made of these things on top of `image`. Blocking. Raises: StorageError."""
        (directory,) = self._store.directories((layer,))
        return same.holds(directory, things, source, image)

    def first_change(self, layer: Layer, things: Sequence[Placed], source: Readable, below: str) -> str:
        """What is different now in a directory of a layer that was made before. Blocking. Raises: StorageError."""
        with self.tree((layer,)) as old:
            return same.first_change(old, things, source, below)

    def is_archive(self, node: Node, source: Readable) -> bool:
        """Whether a file is a tar, packed or not. Blocking."""
        return node.kind == "file" and unpacked.is_archive(unpacked.head_of(source.data(node), node.path))

    async def add(
        self, parent: Image, things: Sequence[Placed], source: Readable, config: dict[str, object], created_by: str,
        *, again: bool = False,
    ) -> Image:
        """An image with one more layer, of these things, which may well have been added `again`. Directories that are
        made for them are as old as the newest of them: so the same files make the same layer, whenever it is made.

        Raises: Refused, StorageError.
        """
        newest = max((one.node.mtime for one in things if one.node is not None), default=time.time_ns()) // 10**9
        return await self._store.add_layer(
            parent, lambda: placed.layer(things, source, newest), config, created_by, again=again
        )

    async def add_archive(
        self, parent: Image, pieces: Iterator[bytes], directory: str, what: str, owner: Owner | None,
        mode: Mode | None, config: dict[str, object], created_by: str,
    ) -> Image:
        """An image with one more layer, of what is in an archive. Raises: Refused, StorageError."""
        layer = unpacked.layer(pieces, directory, what, owner, mode)
        return await self._store.add_layer(parent, lambda: layer, config, created_by)

    def _plain(self, fd: int, stop: threading.Event) -> int:
        """The descriptor of what is in it; takes the given one over when it was packed. Raises: Refused."""
        kind = sniff(os.pread(fd, 6, 0))
        if kind == "plain":
            return fd
        target = self._unnamed()
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            for piece in inflated(kind, iter(lambda: os.read(fd, _PIECE), b""), "the build context"):
                if not self._room():
                    raise Refused("the build context unpacks to more than there is room for")
                _write(target, piece, stop)
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


def _write(fd: int, data: bytes, stop: threading.Event | None = None) -> None:
    if stop is not None and stop.is_set():
        raise Refused("cancelled")
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


async def _in_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """What is read or made piece by piece, without keeping the loop."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


def _everything(tree: Merged, prefix: str) -> Iterator[Placed]:
    todo = [""]
    while todo:
        directory = todo.pop()
        below = []
        for name in tree.names(directory):
            node = tree.look(f"{directory}/{name}" if directory else name)
            if node is None or node.kind == "other":
                continue
            path = f"{prefix}/{node.path}" if prefix else node.path
            yield Placed(path, node.kind, node.mode, node.uid, node.gid, node=node)
            if node.kind == "directory":
                below.append(node.path)
        todo += reversed(below)


def _spread(directory: Path, pieces: Iterator[bytes]) -> None:
    target = os.open(directory, _DIRECTORY)
    try:
        Spreader(target, Rules(owners=True)).spread(Reader(unpacked.Pieces(pieces)))
    except (Damaged, Impossible) as error:
        raise Refused(f"RUN --mount: {error}") from error
    except OSError as error:
        raise StorageError(f"RUN --mount: {error.strerror}") from error
    finally:
        os.close(target)


def _delete_empty(upper: Path, parts: Sequence[str]) -> bool:
    """One place below a directory that a container has written: nothing on the way is followed."""
    fds = [os.open(upper, _DIRECTORY)]
    try:
        for part in parts[:-1]:
            fds.append(os.open(part, _DIRECTORY, dir_fd=fds[-1]))
        status = os.stat(parts[-1], dir_fd=fds[-1], follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            os.rmdir(parts[-1], dir_fd=fds[-1])
        elif stat.S_ISREG(status.st_mode) and not status.st_size:
            os.unlink(parts[-1], dir_fd=fds[-1])
        else:
            return False
    except OSError:
        return False
    finally:
        for fd in fds:
            os.close(fd)
    return True
