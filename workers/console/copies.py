"""One copy between a container and the client: what is where, what the rules say, and the archive in between."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from domain.copying import STREAM, End, Found, Kind, absolute, linked, place, split
from domain.errors import NotFound, Refused
from domain.lifecycle.files import NoteCopiedIn, NoteCopiedOut
from domain.ports.files import Access
from domain.text.safe import legible
from workers.console.call import Call
from workers.console.errors import Plain
from workers.console.verb import Invocation
from workers.filedesk import quietly

_MOST_LINKS = 40
_KINDS: dict[str, Kind] = {"missing": "missing", "file": "file", "directory": "directory", "link": "link"}


@dataclass
class Counted:
    """An archive on its way, and how much of it has passed."""

    pieces: AsyncIterator[bytes]
    size: int = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self.pieces:
            self.size += len(piece)
            yield piece


@dataclass
class Copy:
    """What was asked for: `owners` keeps them, `follow` copies what a link leads to."""

    invocation: Invocation
    id: str
    owners: bool
    follow: bool
    done: str = field(default="", init=False)
    """Where it has gone, in the words of the summary."""

    @property
    def call(self) -> Call:
        """The client."""
        return self.invocation.call

    async def take_out(self, source: End, target: End) -> int:
        """From the container to the client; the size of the archive."""
        async with self.invocation.engine.files.reach(self.id) as access:
            found = await _in_container(access, source, follow=self.follow)
            if target.path == STREAM:
                self.done = STREAM
                return await self._send(access, source.path, split(source.path)[1], "")
            there = await self._at_client(target.path)
            goal = place(source.path, is_directory=found.kind == "directory", target=there.path, found=there)
            if goal.directory != there.path:
                await self._require_directory(goal.directory)
            self.done = there.path
            return await self._send(access, source.path, goal.name, goal.directory)

    async def bring_in(self, source: End, target: End) -> int:
        """From the client into the container; the size of the archive."""
        options = ",".join(word for word, wanted in (("follow", self.follow), ("fine", self.owners)) if wanted)
        async with self.invocation.engine.files.reach(self.id, writable=True) as access:
            there = await _destination(access, target)
            if source.path == STREAM:
                if there.kind != "directory":
                    raise Plain(f'destination "{target.container}:{target.path}" must be a directory')
                self.done = f"{target.container}:{there.path}"
                return await self._spread(access, there.path, there.path, self.call.stdin())
            here = await self._source(source.path)
            goal = place(here.path, is_directory=here.kind == "directory", target=there.path, found=there)
            self.done = f"{target.container}:{there.path}"
            return await self._spread(access, there.path, goal.directory, self.call.pack(here.path, goal.name, options))

    async def _send(self, access: Access, path: str, name: str, directory: str) -> int:
        archive = Counted(access.pack(path, name, follow=self.follow, fine=self.owners))
        broken = True
        try:
            if directory:
                made = await self.call.spread(directory, aiter(archive), "owners" if self.owners else "")
                await self._tell_left_out(made[1])
            else:
                async for piece in archive:
                    await self.call.out(piece)
            broken = False
        finally:
            fact = NoteCopiedOut(path=legible(path), bytes=archive.size, broken=broken)
            if archive.size:
                await quietly(self.invocation.engine.files.note(self.id, fact, self.invocation.who))
        return archive.size

    async def _spread(self, access: Access, path: str, directory: str, pieces: AsyncIterator[bytes]) -> int:
        archive = Counted(pieces)
        broken = True
        try:
            await access.spread(directory, aiter(archive), owners=self.owners)
            broken = False
        except NotFound as error:
            raise NotFound(f"Could not find the file {legible(directory)} in container {self.id[:12]}") from error
        finally:
            fact = NoteCopiedIn(path=legible(path), bytes=archive.size, broken=broken)
            if archive.size:
                await quietly(self.invocation.engine.files.note(self.id, fact, self.invocation.who))
        return archive.size

    async def _tell_left_out(self, number: int) -> None:
        if number:
            nodes = "one device node was" if number == 1 else f"{number} device nodes were"
            await self.invocation.warn(f"{nodes} left out: the host's devices are not a container's to give")

    async def _at_client(self, path: str) -> Found:
        """The client's destination; a link there is followed, also if nothing is where it leads."""
        found = await self._look(absolute(path, self.call.cwd), follow=True)
        if found.kind == "other":
            raise Plain(
                f'invalid output path: "{legible(path)}" must be a directory or a regular file',
                hint="a stream is written with -",
            )
        return found

    async def _source(self, path: str) -> Found:
        whole = absolute(path, self.call.cwd)
        found = await self._look(whole, follow=self.follow)
        if found.kind == "missing":
            raise Plain(f"lstat {legible(whole)}: no such file or directory")
        return Found(found.kind, whole)

    async def _require_directory(self, path: str) -> None:
        if (await self._look(path, follow=True)).kind != "directory":
            raise Plain(f'invalid output path: directory "{legible(path)}" does not exist')

    async def _look(self, path: str, *, follow: bool) -> Found:
        if not path.startswith("/"):
            raise Refused("the working directory of the client does not exist any more")
        kind, where = await self.call.look(path, follow=follow)
        return Found(_KINDS.get(kind, "other"), where)


async def _in_container(access: Access, end: End, *, follow: bool) -> Found:
    """The source; with `follow` what it leads to. Raises NotFound."""
    found = await access.look(end.path, follow=follow)
    if found.kind == "missing":
        raise NotFound(f"Could not find the file {legible(end.path)} in container {end.container}")
    return found


async def _destination(access: Access, end: End) -> Found:
    """The destination; a link there is followed, also if nothing is where it leads."""
    found = await access.look(end.path)
    for _ in range(_MOST_LINKS):
        if found.kind != "link":
            break
        found = await access.look(linked(found))
    if found.kind in ("link", "other"):
        raise Plain(f'destination "{end.container}:{legible(end.path)}" must be a directory or a regular file')
    return found
