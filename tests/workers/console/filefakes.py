"""Trees of a client and of a container, in memory: an archive says of itself what was packed under which name."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from domain.copying import Found, Kind
from domain.errors import LadingError, NotFound
from domain.messages import Command
from domain.ports.files import Access, Usage
from domain.ports.logs import Passed
from workers.mover import Caller
from workers.sampler import Sampler


def archive(path: str, name: str, options: str = "") -> bytes:
    """What the fakes make of a tree."""
    return f"tar of {path} as {name}{f' ({options})' if options else ''}".encode()


@dataclass
class FakeAccess:
    """Paths and what they are; a link is `link:TARGET`."""

    tree: Mapping[str, str]
    spreads: list[tuple[str, bytes, bool]]
    error: LadingError | None = None

    async def look(self, path: str, *, follow: bool = False) -> Found:
        """From the dictionary; a trailing slash follows one link."""
        kind, _, target = self.tree.get(path.rstrip("/.") or "/", "missing").partition(":")
        if kind == "link" and (follow or path.endswith(("/", "/."))):
            kind = self.tree.get(target, "missing")
        return Found(_kind(kind), path, target)

    async def pack(self, path: str, name: str, *, follow: bool = False, fine: bool = False) -> AsyncIterator[bytes]:
        """In two pieces."""
        if (await self.look(path)).kind == "missing":
            raise NotFound(f"Could not find the file {path}")
        data = archive(path, name, ",".join(w for w, wanted in (("follow", follow), ("fine", fine)) if wanted))
        yield data[:5]
        if self.error is not None:
            raise self.error
        yield data[5:]

    async def spread(self, directory: str, content: AsyncIterator[bytes], *, owners: bool = False) -> Passed:
        """Keep it."""
        data = b"".join([piece async for piece in content])
        if self.error is not None:
            raise self.error
        self.spreads.append((directory, data, owners))
        return Passed(len(data), 1)


def _kind(text: str) -> Kind:
    kinds: dict[str, Kind] = {"file": "file", "directory": "directory", "link": "link", "missing": "missing"}
    return kinds.get(text, "other")


class Still:
    """A clock whose seconds pass at once, and figures that grow by half a processor."""

    def __init__(self, live: Sequence[str]) -> None:
        self.live = live
        self.looks = 0

    def now(self) -> int:
        """Never asked."""
        return 0

    async def sleep(self, seconds: float) -> None:
        """Others get their turn."""
        await asyncio.sleep(0)

    def new_id(self) -> str:
        """Never asked."""
        return ""

    def choice(self, bound: int) -> int:
        """Never asked."""
        return 0

    async def usage(self, ids: Sequence[str]) -> Mapping[str, Usage]:
        """A second later each time."""
        self.looks += 1
        time = self.looks * 1_000_000_000
        return {id: Usage(time, time // 2, 1 << 20, 0, 2_000, 3_000_000, 4, 5_000, 600) for id in ids}

    def memory(self) -> int:
        """Of the host."""
        return 1 << 30


@dataclass
class FakeFiles:
    """What the engine offers; `live` are the containers with processes."""

    tree: dict[str, str] = field(default_factory=lambda: {"/": "directory"})
    differences: list[tuple[str, str]] = field(default_factory=list)
    spreads: list[tuple[str, bytes, bool]] = field(default_factory=list)
    noted: list[tuple[str, Command]] = field(default_factory=list)
    reached: list[tuple[str, bool, bool]] = field(default_factory=list)
    live: list[str] = field(default_factory=list)
    error: LadingError | None = None

    def __post_init__(self) -> None:
        self.still = Still(self.live)
        self.sampler = Sampler(self.still, self.still, self._live)

    async def _live(self) -> Sequence[str]:
        return self.live

    @asynccontextmanager
    async def reach(self, id: str, *, writable: bool = False, whole: bool = True) -> AsyncIterator[Access]:
        """The same tree for all."""
        self.reached.append((id, writable, whole))
        yield FakeAccess(self.tree, self.spreads, self.error)

    async def changes(self, id: str) -> AsyncIterator[tuple[str, str]]:
        """As told."""
        for change in self.differences:
            yield change

    async def note(self, id: str, fact: Command, who: Caller) -> None:
        """Keep it."""
        self.noted.append((id, fact))


class ClientTree:
    """The client's half: `tree` maps paths to kinds, `spreads` and `written` are what came."""

    def __init__(self) -> None:
        self.tree: dict[str, str] = {"/": "directory"}
        self.spreads: list[tuple[str, bytes, str]] = []
        self.written: dict[str, tuple[int, bytes]] = {}
        self.left_out = 0

    def look(self, path: str, *, follow: bool) -> tuple[str, str]:
        """From the dictionary."""
        kind, _, target = self.tree.get(path.rstrip("/.") or "/", "missing").partition(":")
        return (self.tree.get(target, "missing"), target) if kind == "link" and follow else (kind, path)
