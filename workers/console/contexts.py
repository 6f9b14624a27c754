"""Where the files of a build come from: what the client names, looked at before anything is read.

    lading build DIR            the directory is the context, DIR/Dockerfile the Dockerfile
    lading build -f FILE DIR    the Dockerfile lies elsewhere, FILE.dockerignore counts before DIR/.dockerignore
    lading build -f - DIR       the Dockerfile comes on standard input
    lading build - < FILE       a Dockerfile without a context, or a tar that is the context
    lading build https://…      the same from an address
    lading build https://….git#BRANCH:DIR    the tree of a repository

A Dockerfile that is a link is followed inside of its context only: who has made the context must not be able to show
the user's other files in an error message.
"""

import posixpath
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from adapters.images.compression import sniff
from adapters.images.context import Context
from adapters.images.remote import is_address
from adapters.images.repository import is_repository
from domain.build.ignore import Rules
from domain.build.lines import LARGEST, decoded
from domain.build.patterns import Wrong
from domain.copying import absolute
from domain.errors import InvalidValue
from domain.text.safe import legible
from workers.build.builder import Builder
from workers.build.request import Keyring
from workers.console.call import Call
from workers.console.copies import Counted
from workers.console.errors import Plain

STDIN = "-"
_DOCKERFILE, _IGNORE = "Dockerfile", ".dockerignore"
_LARGEST_IGNORE = 512 * 1024
_TAR_MAGIC = slice(257, 262)


@dataclass(frozen=True, slots=True)
class Sources:
    """A Dockerfile, what `.dockerignore` says, and what brings the context (None: there is none)."""

    dockerfile: str
    name: str
    ignore: str = ""
    bring: Callable[[], Awaitable[Context]] | None = None


@dataclass
class Arrivals:
    """Reads what is sent or fetched; contexts are kept until `stack` is closed. `received` is told the size of
    one, `keyring` is lent to fetch them."""

    builder: Builder
    stack: AsyncExitStack
    received: Callable[[int], Awaitable[None]]
    keyring: Keyring = field(default_factory=Keyring, kw_only=True)

    async def fetched(self, place: str, file: str) -> Sources | None:
        """What is at an address or in a repository; None for anything else. Raises Plain, Refused, Unavailable."""
        if is_repository(place):
            repository = self.builder.repository(place, self.keyring)
            return await self._inside(await self.stack.enter_async_context(repository), file)
        if is_address(place):
            return await self.sent(await self.stack.enter_async_context(self.builder.address(place)), file)
        return None

    async def sent(self, pieces: AsyncIterator[bytes], file: str) -> Sources:
        """A Dockerfile or a context, by how it begins. Raises Plain, Refused."""
        start = b""
        async for piece in pieces:
            start += piece
            if len(start) >= _TAR_MAGIC.stop:
                break
        if sniff(start[:6]) == "plain" and start[_TAR_MAGIC] != b"ustar":
            rest = await read_all(pieces, LARGEST)
            return Sources(decoded(start + rest, file or STDIN), STDIN)
        return await self._inside(await self._receive(_chained(start, pieces)), file)

    async def _inside(self, context: Context, file: str) -> Sources:
        """A context that has its Dockerfile and its `.dockerignore` in it."""
        file = file or _DOCKERFILE
        path = posixpath.normpath(file).lstrip("/")
        found = context.look(path)
        data = context.read(path, LARGEST + 1)
        if found is None:
            raise Plain(f"failed to read the Dockerfile: {legible(file)} is not in the context")
        if data is None:
            raise Plain(f"the Dockerfile ({legible(file)}) is not a regular file, but a {found.kind}")
        return Sources(decoded(data, file), file, *_hidden(context, path))

    async def _receive(self, pieces: AsyncIterator[bytes]) -> Context:
        counted = Counted(pieces)
        context = await self.stack.enter_async_context(self.builder.context(aiter(counted)))
        await self.received(counted.size)
        return context


@dataclass
class Reader(Arrivals):
    """Reads what one call names as well; `anew` also what was read before."""

    call: Call
    anew: bool

    async def sources(self, path: str, file: str) -> Sources:
        """What PATH and `-f` mean. Raises Plain, Refused."""
        if path == STDIN:
            return await self._stdin(file)
        return await self.fetched(path, file) or await self._directory(path, file)

    async def _directory(self, path: str, file: str) -> Sources:
        """Everything that matters of it is asked for at once: each question is a way to the client and back."""
        if not path.startswith("/") and not self.call.cwd:
            raise Plain("the working directory of the client does not exist any more")
        place = absolute(path, self.call.cwd).rstrip("/")
        beside = "" if file == STDIN else absolute(file, self.call.cwd) if file else f"{place}/{_DOCKERFILE}"
        names = [*([beside, beside + _IGNORE] if beside else []), f"{place}/{_IGNORE}"]
        (kind, top), *found = await self.call.look_all([(place or "/", True), *((name, False) for name in names)])
        kinds, top = {name: told for name, (told, _) in zip(names, found, strict=True)}, top.rstrip("/")
        if kind == "missing":
            raise Plain(f'unable to prepare context: path "{legible(path)}" not found')
        if kind != "directory":
            raise Plain(f"unable to prepare context: {legible(path)} is not a directory",
                        hint="name the directory, and the Dockerfile with -f")
        if not beside:
            text, name = decoded(await read_all(self.call.stdin(), LARGEST), STDIN), STDIN
        else:
            name = file or _DOCKERFILE
            data = await self._file(beside, kinds[beside], name, top, LARGEST, "the Dockerfile")
            text = decoded(data, name)
        hiding = next((name for name in names if name != beside and kinds[name] != "missing"), "")
        ignore = await self._ignore(hiding, kinds[hiding], top) if hiding else ""

        async def bring() -> Context:
            if self.call.is_near:
                return await self._near(top, ignore)
            return await self._receive(self.call.pack(top + "/.", ".", "", ignore))

        return Sources(text, name, ignore, bring)

    async def _near(self, top: str, ignore: str) -> Context:
        """Only what has changed since this client has built there the last time comes."""
        counted: list[Counted] = []
        actor = self.call.who.actor

        def pack(known: bytes) -> AsyncIterator[bytes]:
            counted.append(Counted(self.call.pack(top + "/.", ".", "", ignore, known)))
            return aiter(counted[0])

        origin = (actor.via, actor.user, actor.uid, top)
        context = await self.stack.enter_async_context(self.builder.near_context(origin, pack, anew=self.anew))
        await self.received(counted[0].size)
        return context

    async def _ignore(self, path: str, kind: str, top: str) -> str:
        data = await self._file(path, kind, posixpath.basename(path), top, _LARGEST_IGNORE, "the ignore file")
        text = data.decode("utf-8", "surrogateescape").replace("\0", "")
        try:
            Rules(text)
        except Wrong as error:
            raise Plain(f"{legible(path)}: {error}") from error
        return text

    async def _file(self, path: str, kind: str, name: str, top: str, most: int, what: str) -> bytes:
        """One file, which may be a link only inside of the context. Raises Plain."""
        real = path
        if kind == "link":
            kind, real = await self.call.look(path, follow=True)
            if not (real + "/").startswith(top + "/"):
                raise Plain(f"{what} ({legible(name)}) is a link that leads out of the context: {legible(real)}")
        if kind == "missing":
            raise Plain(f"failed to read {what}: open {legible(name)}: no such file or directory",
                        hint="name it with -f" if what == "the Dockerfile" else "")
        if kind != "file":
            raise Plain(f"{what} ({legible(name)}) is not a regular file, but a {kind}")
        return await read_all(self.call.open_file(real), most)

    async def _stdin(self, file: str) -> Sources:
        if self.call.terminal.stdin_tty:
            raise Plain("a Dockerfile or a context is expected on standard input, but that is a terminal")
        if file == STDIN:
            raise Plain("invalid argument: can't use stdin for both build context and dockerfile")
        return await self.sent(self.call.stdin(), file)

    async def _inside(self, context: Context, file: str) -> Sources:
        if file != STDIN:
            return await super()._inside(context, file)
        text = await read_all(self.call.stdin(), LARGEST)
        return Sources(decoded(text, STDIN), STDIN, *_hidden(context, ""))


def _hidden(context: Context, path: str) -> tuple[str, Callable[[], Awaitable[Context]]]:
    """What its `.dockerignore` says, and the context without that."""
    names = (path + _IGNORE, _IGNORE) if path else (_IGNORE,)
    found = next((data for name in names if (data := context.read(name, _LARGEST_IGNORE)) is not None), b"")
    text = found.decode("utf-8", "surrogateescape").replace("\0", "")
    try:
        context.hide(Rules(text))
    except Wrong as error:
        raise Plain(f"{_IGNORE}: {error}") from error

    async def bring() -> Context:
        return context

    return text, bring


async def read_all(pieces: AsyncIterator[bytes], most: int) -> bytes:
    """One whole file. Raises: InvalidValue for one with more bytes."""
    content = b""
    async for piece in pieces:
        content += piece
        if len(content) > most:
            raise InvalidValue(f"a file of more than {most} bytes is not read")
    return content


async def _chained(start: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield start
    async for piece in pieces:
        yield piece
