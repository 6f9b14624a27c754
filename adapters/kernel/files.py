"""Files of containers, running or not: one short-lived process for each access (`adapters.kernel.inside`).

No thread of the daemon ever enters a namespace. An archive passes through in pieces, and whoever takes or gives them
sets the pace. Two rules keep overlays sound: only one process at a time writes to a container that does not run, and a
start first ends everybody who writes, also through the mounts of a run that is over: no start waits for a slow copy.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from adapters.kernel.inside import talk
from adapters.kernel.supervisor import interpreter
from domain.copying import Found, Kind
from domain.errors import KernelError, NotFound, Refused
from domain.mounts import Mount
from domain.ports.logs import Passed
from domain.ports.runtime import StartedProcess
from domain.text.safe import safe
from domain.volumes.names import CONTENTS

_PIECE = 256 * 1024
_KINDS: dict[bytes, Kind] = {b"file": "file", b"directory": "directory", b"link": "link"}
_CALLED_OFF = "the container was started while files were copied into it: copy them again"


@dataclass(eq=False)
class _Writer:
    """A process that writes to a container (or is about to), and whether a start has called it off."""

    begun: asyncio.Event
    process: asyncio.subprocess.Process | None = None
    called_off: bool = False

    async def begin(self, process: asyncio.subprocess.Process) -> None:
        """This is the process. Raises Refused when it comes too late."""
        self.process = process
        self.begun.set()
        if self.called_off:
            raise Refused(_CALLED_OFF)

    async def call_off(self) -> None:
        """Returns when it does not write any more, whatever it waits for."""
        self.called_off = True
        await self.begun.wait()
        if self.process is not None:
            _kill(self.process)
            await self.process.wait()


class ContainerFiles:
    """See `domain.ports.Files`; `layer_root` is where the short names of layers are."""

    def __init__(self, data_root: Path, layer_root: Path) -> None:
        self._data_root, self._layer_root = data_root, layer_root
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._writers: dict[str, set[_Writer]] = {}

    @asynccontextmanager
    async def running(
        self, id: str, run: StartedProcess, *, whole: bool = True, writable: bool = False
    ) -> AsyncIterator["Access"]:
        """See the port."""
        document: dict[str, object] = {"pid": run.pid, "start": run.start_time, "whole": whole, "writable": writable}
        async with self._writing(id) if writable else _reading() as writer, _inside(document) as process:
            await writer.begin(process)
            yield await Access(process).begun()

    @asynccontextmanager
    async def resting(
        self, id: str, layers: Sequence[str], still: Callable[[], Awaitable[bool]], *, writable: bool = False,
        mounts: Sequence[Mount] = (), fresh: bool = False,
    ) -> AsyncIterator["Access"]:
        """See the port."""
        document = {
            "directory": str(self._data_root / "containers" / id), "layer_root": str(self._layer_root),
            "layers": list(layers), "writable": writable,
            "mounts": [self._mount(mount, fresh) for mount in mounts if mount.type != "tmpfs"]}
        if not writable:
            async with _inside(document) as process:
                yield await Access(process).begun()
            return
        lock = self._locks.setdefault(id, asyncio.Lock())
        async with lock, self._writing(id) as writer:
            # It is known from here on: a start that is decided after this look calls it off.
            if not await still():
                raise Refused(_CALLED_OFF)
            async with _inside(document) as process:
                await writer.begin(process)
                yield await Access(process).begun()

    def _mount(self, mount: Mount, fresh: bool) -> list[object]:
        """Fields of `view.HostMount`."""
        volume = str(self._data_root / "volumes" / mount.source) if mount.type == "volume" else ""
        source = f"{volume}/{CONTENTS}" if volume else mount.source
        fill = bool(volume) and mount.copy_image and not mount.subpath
        return [source, mount.target, mount.read_only, mount.recursive, mount.subpath, volume if fill else "", fresh]

    async def call_off(self, id: str) -> None:
        """The container is about to start: end who writes to it; returns when nobody does any more."""
        for writer in tuple(self._writers.get(id, ())):
            await writer.call_off()

    @asynccontextmanager
    async def _writing(self, id: str) -> AsyncIterator[_Writer]:
        writer = _Writer(asyncio.Event())
        self._writers.setdefault(id, set()).add(writer)
        try:
            yield writer
        except (KernelError, Refused) as error:
            if writer.called_off:
                raise Refused(_CALLED_OFF) from error
            raise
        finally:
            self._writers[id].discard(writer)
            if not self._writers[id]:
                del self._writers[id]
            writer.begun.set()


@asynccontextmanager
async def _reading() -> AsyncIterator[_Writer]:
    """Nobody calls a reader off."""
    yield _Writer(asyncio.Event())


@asynccontextmanager
async def _inside(document: dict[str, object]) -> AsyncIterator[asyncio.subprocess.Process]:
    argv = interpreter.command("inside", json.dumps(document, separators=(",", ":")))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=pipe, stdout=pipe, stderr=pipe, env={}, cwd="/", limit=_PIECE)
    try:
        yield process
    finally:
        _kill(process)
        await asyncio.shield(_ended(process))


async def _ended(process: asyncio.subprocess.Process) -> None:
    """What nobody has read is read, else the loop would not see the end of the pipe, nor some of Python's versions that
    of the process."""
    assert process.stdout is not None
    while await process.stdout.read(_PIECE):
        pass
    await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    try:
        process.kill()
    except ProcessLookupError:
        return


class Access:
    """One process that is inside; see `domain.ports.Access`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def begun(self) -> "Access":
        """Itself, once the process sees nothing but the container. Raises KernelError."""
        _good(await self._heard(), "")
        return self

    async def look(self, path: str, *, follow: bool = False) -> Found:
        """See the port."""
        answer = await self._ask("look", path, "follow" if follow else "")
        if answer[0] == b"missing":
            return Found("missing", path)
        _, kind, _, _, target = _good(answer, path)
        return Found(_KINDS.get(kind, "other"), path, _text(target))

    async def pack(self, path: str, name: str, *, follow: bool = False, fine: bool = False) -> AsyncIterator[bytes]:
        """See the port."""
        options = ",".join(word for word, wanted in (("follow", follow), ("fine", fine)) if wanted)
        await self._tell("pack", path, name, options)
        assert self._process.stdout is not None
        while piece := await self._process.stdout.read(_PIECE):
            yield piece
        _good(await self._heard(), path)

    async def spread(self, directory: str, content: AsyncIterator[bytes], *, owners: bool = False) -> Passed:
        """See the port."""
        await self._tell("spread", directory, "owners" if owners else "")
        feeding = asyncio.ensure_future(self._feed(content))
        hearing = asyncio.ensure_future(self._heard())
        try:  # it may give up while the one stands still who gives the content
            await asyncio.wait((feeding, hearing), return_when=asyncio.FIRST_COMPLETED)
            if feeding.done():
                feeding.result()
            _, entries, left_out, _ = _good(await hearing, directory)
            return Passed(await feeding, int(entries), int(left_out))
        finally:
            for task in (feeding, hearing):
                task.cancel()
            await asyncio.gather(feeding, hearing, return_exceptions=True)

    async def _feed(self, content: AsyncIterator[bytes]) -> int:
        size, stdin = 0, self._process.stdin
        assert stdin is not None
        try:
            async for piece in content:
                size += len(piece)
                stdin.write(piece)
                await stdin.drain()
            stdin.write_eof()
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has given up, and says why
        return size

    async def _ask(self, *fields: str) -> list[bytes]:
        await self._tell(*fields)
        return await self._heard()

    async def _tell(self, *fields: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(talk.packed(*(field.encode("utf-8", "surrogateescape") for field in fields)))

    async def _heard(self) -> list[bytes]:
        assert self._process.stderr is not None
        try:
            size = int.from_bytes(await self._process.stderr.readexactly(4), "big")
            if size > talk.LONGEST:  # no frame: an interpreter's last words
                raise asyncio.IncompleteReadError(b"", size)
            return talk.unpacked(await self._process.stderr.readexactly(size))
        except asyncio.IncompleteReadError as error:
            status = await self._process.wait()
            words = error.partial + await self._process.stderr.read()
            hint = safe(words.decode("utf-8", "replace"))[-300:]
            raise KernelError(f"the process in the container ended with status {status}", hint=hint) from error


def _good(answer: list[bytes], path: str) -> list[bytes]:
    """The answer, if it is one. Raises: NotFound, Refused, KernelError."""
    kind, *fields = answer
    if kind == b"missing":
        raise NotFound(f"Could not find the file {safe(path)}")
    if kind == b"refused":
        raise Refused(safe(_text(fields[0])))
    if kind == b"failed":
        raise KernelError(safe(_text(fields[0])))
    return answer


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
