"""The builder: carries out the plan of a Dockerfile. What the plan is, what a step depends on and where files go is
decided in `domain.build`; here it is done, in order, and written down.

Stages that do not need each other are built at the same time. A build that is called off, or whose engine dies, leaves
what it has finished in the cache, and nothing else.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.images.building import BuildFiles
from adapters.images.context import Context
from adapters.images.kept import Origin
from adapters.images.repository import is_behind_ssh
from domain.build import platforms, streams
from domain.build.dockerfile import parse
from domain.build.events import BuildCancelled, BuildRequested, CacheDropped
from domain.build.lines import decoded
from domain.build.stages import Arguments, Plan, plan, platform_arguments, unused
from domain.errors import Ambiguous, Conflict, IllegalTransition, LadingError, NotFound, StorageError
from domain.images.layer import digest_of
from domain.images.reference import parse_target
from domain.messages import Meta
from domain.ports.bus import Clock
from domain.ports.events import EventStore, Views
from domain.projections.fold import Row
from workers.build.agents import ssh_of
from workers.build.job import Contents, Job, Tools
from workers.build.ledger import Cache, load_entry
from workers.build.mounts import Caches
from workers.build.request import BuildRequest, Built, Keyring, Progress
from workers.build.runner import LABEL, Runner
from workers.images import Images
from workers.mover import Caller, Mover

log = logging.getLogger(__name__)
Bring = Callable[[], Awaitable[Context]]


@dataclass(frozen=True, slots=True)
class Site:
    """What a builder works with; `platform` is that of this host, `rules` are its kernel's for others, `upper` the
    writable layer of a container, `caches` where directories lie that last between builds, `budget` how many bytes the
    cache of steps may hold."""

    store: EventStore
    views: Views
    images: Images
    contents: Contents
    files: BuildFiles
    mover: Mover
    runner: Runner
    clock: Clock
    platform: str
    rules: Callable[[], Sequence[str]]
    upper: Callable[[str], Path]
    caches: Path
    budget: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was taken out of the cache: keys, and the bytes that became free."""

    keys: tuple[str, ...]
    freed: int


@dataclass(frozen=True, slots=True)
class Kept:
    """One entry of the cache: `size` are the bytes that it has added, times in ns; it is `shared` when an image that
    has a name is made of it."""

    key: str
    text: str
    size: int
    created: int
    used: int
    uses: int
    shared: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """What is kept, the last used first, and the bytes that nothing else needs. `mounts` is how many directories of
    `RUN --mount=type=cache` there are; what is in them does not count here."""

    entries: tuple[Kept, ...]
    mounts: int
    size: int


class Builder:
    """All builds of this host."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._cache = Cache(site.store, site.views, site.images, site.clock)
        self._caches = Caches(site.caches)

    def context(self, pieces: AsyncIterator[bytes]) -> AbstractAsyncContextManager[Context]:
        """A context that arrives as a tar, for as long as the block lasts. Raises: Refused, StorageError."""
        return self._site.files.context(pieces)

    def near_context(
        self, origin: Origin, pack: Callable[[bytes], AsyncIterator[bytes]], *, anew: bool
    ) -> AbstractAsyncContextManager[Context]:
        """The same from a client on this machine: `pack` is told which files of that `origin` need not come again; none
        if all are to be read `anew`. Raises: Refused, StorageError."""
        return self._site.files.near_context(origin, pack, anew=anew)

    async def knows(self, name: str) -> str | None:
        """What the image is for (`linux/amd64`; empty if it does not say it), None if it is not here.

        Raises: InvalidValue, Ambiguous.
        """
        try:
            return platforms.of_document((await self._site.images.resolve(name)).config)
        except Ambiguous:
            raise
        except NotFound:
            return None

    @asynccontextmanager
    async def repository(self, text: str, keyring: Keyring) -> AsyncIterator[Context]:
        """The tree of a git repository as a context. Raises: Refused, Unavailable, StorageError."""
        async with AsyncExitStack() as stack:
            ssh = await ssh_of(keyring, self._site.files, stack) if is_behind_ssh(text) else None
            yield await stack.enter_async_context(self._site.files.repository(text, ssh=ssh))

    def address(self, url: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """What is at an address, in pieces. Raises: Refused, Unavailable, StorageError."""
        return self._site.files.address(url)

    def plan(self, request: BuildRequest) -> Plan:
        """What is to be done. Raises: Misread, InvalidValue, NotFound."""
        dockerfile = parse(decoded(request.dockerfile.encode("utf-8", "surrogateescape"), request.name), request.name)
        return plan(dockerfile, self._arguments(request), request.target)

    @property
    def platform(self) -> str:
        """What this host builds for: `linux/amd64`."""
        return self._site.platform

    def _arguments(self, request: BuildRequest) -> Arguments:
        target = request.platform or self._site.platform
        return Arguments(request.arguments, platform_arguments(target, self._site.platform))

    async def build(
        self, request: BuildRequest, bring: Bring | None, who: Caller, progress: Progress,
        keyring: Keyring | None = None,
    ) -> Built:
        """Build it; `bring` gives the context if there is one, `keyring` what is lent for as long as it lasts.

        Raises: Refused, NotFound, StepFailed, StorageError.
        """
        wanted, arguments = self.plan(request), self._arguments(request)
        references = tuple(dict.fromkeys(parse_target(reference).key for reference in request.references))
        tools = Tools(
            self._site.store, self._site.images, self._site.contents, self._site.files, self._site.runner,
            self._cache, self._caches, self._site.clock, self._site.platform, self._site.upper, self._site.rules,
        )
        meta = self._site.mover.meta(Caller(who.actor))
        job = Job(self._site.clock.new_id(), request, wanted, arguments, tools, bring, progress, meta, who,
                  keyring or Keyring())
        begun = BuildRequested(
            dockerfile=request.name,
            digest=digest_of(request.dockerfile.encode("utf-8", "surrogateescape")),
            steps=wanted.instructions,
            target=wanted.stages[wanted.target].called,
            references=references,
            arguments=tuple(sorted(request.arguments)),
            platform=request.platform or self._site.platform,
            no_cache=request.no_cache,
        )
        for warning in wanted.warnings:
            await progress.note(f"[Warning] {warning}")
        left = unused(wanted, arguments)
        if left:
            await progress.note(f"[Warning] One or more build-args {list(left)} were not consumed".replace("'", ""))
        built = await job.run(begun, references)
        if job.ran:
            try:
                await self._trim(meta)
            except LadingError as error:  # the image is there all the same, and the next build trims again
                log.error("the cache of builds is larger than it should be: %s", error)
        return built

    def files(self, built: Built, prefix: str = "") -> AsyncIterator[bytes]:
        """All files of a result as a tar, below `prefix`. Raises: StorageError."""
        return self._site.files.archive(built.layers, prefix)

    async def recover(self) -> int:
        """At start: end builds that a crash has interrupted, and take away what they have left; how many there were."""
        self._site.files.clear()
        intents = [i for i in await self._site.store.open_intents() if i.kind == BuildRequested.stored_as]
        await self._take_away({intent.stream.key for intent in intents})
        for intent in intents:
            try:
                build = streams.fold(intent.stream.key, await self._site.store.load(intent.stream))
                outcome = build.append(BuildCancelled(by="engine"))
                await self._site.store.append((outcome,), self._site.mover.meta(Caller()))
            except (StorageError, IllegalTransition) as error:  # a full disk keeps no engine from starting
                log.error("that build %s was interrupted is not written down: %s", intent.stream.key[:12], error)
        return len(intents)

    async def _take_away(self, builds: Set[str]) -> None:
        """Their containers. A label alone says nothing: anybody may write one; the ids of builds are made by us."""
        for row in await self._site.views.select("containers") if builds else ():
            labels = row["labels"]
            labels = json.loads(labels) if isinstance(labels, str) else labels
            if isinstance(labels, Mapping) and labels.get(LABEL) in builds:
                await self._site.runner.remove(str(row["id"]), Caller())

    async def usage(self) -> Usage:
        """What the cache holds."""
        rows = await self._site.views.select("build_cache", order="used", descending=True)
        named = await self._named_layers(())
        entries = [
            Kept(
                key=str(row["key"]),
                text=str(row["text"]),
                size=int(str(row["size"])),
                created=int(str(row["created"])),
                used=int(str(row["used"])),
                uses=int(str(row["uses"])),
                shared=await self._is_named(str(row["image_id"]), named),
            )
            for row in rows
        ]
        return Usage(tuple(entries), len(self._caches.all()), await self._freed_by(rows, rows, ()))

    async def prune(self, who: Caller, *, all: bool, until: int | None = None) -> Pruned:
        """Take out of the cache what no image has, or (`all`) everything, if it was not used after `until` (ns)."""
        dropped: list[str] = []
        for row in (await self._chosen(all, until, ()))[0]:
            if await self._drop(str(row["key"]), self._site.mover.meta(Caller(who.actor))):
                dropped.append(str(row["key"]))
        freed = await self._site.images.sweep() if dropped else 0
        if until is None:
            self._site.files.forget()
        if all and until is None:
            for path in self._caches.idle():
                size = await self._caches.delete(path, self._site.files.delete_cache)
                if size is not None:
                    freed, dropped = freed + size, [*dropped, path.name]
        return Pruned(tuple(dropped), freed)

    async def would_prune(self, *, all: bool, until: int | None = None, gone: Collection[str] = ()) -> Pruned:
        """What `prune` would do now, if the images in `gone` (ids) were away."""
        chosen, rows = await self._chosen(all, until, gone)
        idle = self._caches.idle() if all and until is None else []
        sizes = [await asyncio.to_thread(self._site.files.size_of_cache, path) for path in idle]
        names = [*(str(row["key"]) for row in chosen), *(path.name for path in idle)]
        return Pruned(tuple(names), await self._freed_by(chosen, rows, gone) + sum(sizes))

    async def _chosen(
        self, all: bool, until: int | None, gone: Collection[str]
    ) -> tuple[Sequence[Row], Sequence[Row]]:
        """The rows of what would be pruned, and all rows."""
        rows = await self._site.views.select("build_cache", order="used")
        named = frozenset() if all else await self._named_layers(gone)
        old = [row for row in rows if until is None or int(str(row["used"])) <= until]
        return [row for row in old if all or not await self._is_named(str(row["image_id"]), named)], rows

    async def _freed_by(self, dropped: Sequence[Row], rows: Sequence[Row], gone: Collection[str]) -> int:
        """Bytes of images that only these entries keep, when the images in `gone` are away."""
        dropping = {str(row["key"]) for row in dropped}
        kept = {str(row["image_id"]) for row in rows if row["key"] not in dropping}
        used = {str(row["image_id"]) for row in await self._site.views.select("containers")}
        held = {str(row["id"]) for row in await self._site.views.select("images", where={"state": "held"})}
        going = {str(row["image_id"]) for row in dropped} & (held | set(gone)) - kept - used
        both = await self._site.images.would_free({*gone, *going}, spare=True)
        return both - await self._site.images.would_free(gone, spare=True)

    async def _trim(self, meta: Meta) -> None:
        """Take out of the cache what was not used for the longest time, until it fits its budget."""
        rows = await self._site.views.select("build_cache", order="used")
        size, most = sum(int(str(row["size"])) for row in rows), self._site.budget()
        dropped = False
        for row in rows:
            if size <= most:
                break
            if await self._drop(str(row["key"]), meta, by="budget"):
                size, dropped = size - int(str(row["size"])), True
        if dropped:
            await self._site.images.sweep()

    async def _drop(self, key: str, meta: Meta, by: str = "prune") -> bool:
        try:
            entry = await load_entry(self._site.store, key)
            if not entry.image_id:
                return False
            await self._site.store.append((entry.append(CacheDropped(by=by, freed=entry.size)),), meta)
        except Conflict:
            return False  # it is being used at this moment
        return True

    async def _named_layers(self, gone: Collection[str]) -> frozenset[str]:
        found: set[str] = set()
        for listed in await self._site.images.list():
            if listed.image_id in gone:
                continue
            image = await self._site.images.image(listed.image_id)
            found |= {layer.chain_id for layer in image.layers}
        return frozenset(found)

    async def _is_named(self, image_id: str, named: frozenset[str]) -> bool:
        try:
            image = await self._site.images.image(image_id)
        except LadingError:
            return False
        return not image.layers or image.layers[-1].chain_id in named
