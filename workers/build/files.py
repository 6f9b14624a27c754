"""COPY, ADD and WORKDIR: from what the domain says about places and owners to one more layer.

Trees are only read, by descriptor or in their archive; the layer is written by a process that sees nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, replace
from typing import Protocol, cast

from adapters.images.building import BuildFiles
from adapters.images.context import Context
from adapters.images.merged import LARGEST_LIST, Merged
from adapters.images.remote import Remote, is_address
from adapters.images.repository import is_behind_ssh, is_repository
from domain.build import keys
from domain.build.ignore import Rules
from domain.build.keys import File, Key
from domain.build.owners import chown, user
from domain.build.placing import (
    Mode,
    Node,
    Origin,
    Owner,
    Placed,
    Placing,
    clean,
    follow,
    origins,
    parse_mode,
)
from domain.build.scope import Bring, Enter
from domain.errors import Refused
from domain.images.model import Image, Layer
from domain.text.safe import safe
from workers.build.agents import ssh_of
from workers.build.request import Keyring

_ROOT = Owner(0, 0)
Tree = Context | Merged | Remote


class Workshop(Protocol):
    """What a step of files needs of its build."""

    async def context(self) -> Context:
        """What the client sends."""

    async def source(self, name: str) -> Image:
        """The stage or image that `--from` means."""

    async def known(self, key: Key) -> bool:
        """Whether something is kept under a key."""

    @property
    def keyring(self) -> Keyring:
        """What may be used of the client."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A step that is all known: its keys, the first one by content, and what makes its layer; that is told whether the
    same was made before. `same` says whether a layer that somebody has made holds just that."""

    keys: tuple[Key, ...]
    make: Callable[[bool], Awaitable[Image]]
    same: Callable[[Layer], Awaitable[bool]]
    change: Callable[[Layer, str], Awaitable[str]]
    """What is different now in a directory of the layer that was made before; empty if that cannot be said."""


@dataclass(frozen=True, slots=True)
class Grown:
    """What the layer is put on, and what is said about it."""

    image: Image
    config: dict[str, object]
    created_by: str

    @property
    def chain(self) -> str:
        """The layers' common name."""
        return self.image.layers[-1].chain_id if self.image.layers else ""


class FileSteps:
    """Prepares steps of one build; trees stay open until `stack` is closed, and what is fetched until `later` is."""

    def __init__(
        self, files: BuildFiles, workshop: Workshop, ignore: str, stack: ExitStack, later: AsyncExitStack
    ) -> None:
        self._files, self._workshop, self._stack, self._later = files, workshop, stack, later
        self._hidden = Rules(ignore) if ignore else None

    async def bring(self, work: Bring, on: Grown) -> Prepared:
        """COPY and ADD. Raises: Refused, InvalidValue, NotFound."""
        image = self._stack.enter_context(self._files.tree(on.image.layers))
        owner, mode = self._owner(work, image), parse_mode(work.chmod, f"{work.verb} --chmod")
        if work.source:
            return await self._from_image(work, on, image, owner, mode)
        if work.add and any(map(is_repository, work.sources)):
            return await self._cloned(work, on, image, owner, mode)
        if work.add and any(map(is_address, work.sources)):
            return await self._fetched(work, on, image, owner, mode)
        if work.checksum or work.keep_git_dir:
            raise Refused(f"{work.verb}: --checksum and --keep-git-dir are for addresses")
        source = await self._workshop.context() if work.sources else None
        return await self._prepared(work, on, image, source, owner or _ROOT, mode, ())

    async def enter(self, work: Enter, on: Grown) -> Prepared | None:
        """WORKDIR: None when the directory is there. Raises: Refused, InvalidValue."""
        image = self._stack.enter_context(self._files.tree(on.image.layers))
        path = follow(image, work.path.strip("/"), missing=True)
        missing = _missing_directories(image, path)
        if not missing:
            return None
        owner = user(work.user, *_accounts(image), "USER")
        things = [Placed(one, "directory", 0o755, owner.uid, owner.gid) for one in missing]

        async def make(again: bool) -> Image:
            return await self._files.add(on.image, things, image, on.config, on.created_by, again=again)

        key = keys.of_directory(work, on.chain, f"{owner.uid}:{owner.gid}")
        return Prepared((key,), make, self._same(things, image, image), _no_change)

    async def _from_image(
        self, work: Bring, on: Grown, image: Merged, owner: Owner | None, mode: Mode | None
    ) -> Prepared:
        """By the layers that files come from, if that is enough; only else are they read, also when what was kept is
        dropped at this moment."""
        origin = await self._workshop.source(work.source)
        chain = origin.layers[-1].chain_id if origin.layers else ""
        quick = keys.of_source(work, on.chain, chain, _told(owner))
        if await self._workshop.known(quick):
            async def make(again: bool) -> Image:
                read = self._stack.enter_context(self._files.tree(origin.layers))
                return await (await self._prepared(work, on, image, read, owner, mode, (quick,))).make(again)

            return Prepared((quick,), make, _no_layer, _no_change)
        source = self._stack.enter_context(self._files.tree(origin.layers))
        return await self._prepared(work, on, image, source, owner, mode, (quick,))

    async def _cloned(
        self, work: Bring, on: Grown, image: Merged, owner: Owner | None, mode: Mode | None
    ) -> Prepared:
        """The tree of a repository, as that of a directory."""
        if len(work.sources) > 1 or work.inline:
            raise Refused("ADD: a repository is added alone", hint="say ADD once for each")
        if work.checksum:
            raise Refused("ADD: --checksum is for files", hint="name the commit: …#COMMIT")
        ssh = None
        if is_behind_ssh(work.sources[0]):
            ssh = await ssh_of(self._workshop.keyring, self._files, self._later)
        repository = self._files.repository(work.sources[0], keep=work.keep_git_dir, ssh=ssh)
        tree = await self._later.enter_async_context(repository)
        named = replace(work, sources=(".",), unpack=False)
        return await self._prepared(named, on, image, tree, owner or _ROOT, mode, ())

    async def _fetched(
        self, work: Bring, on: Grown, image: Merged, owner: Owner | None, mode: Mode | None
    ) -> Prepared:
        if not all(map(is_address, work.sources)) or work.inline:
            raise Refused("ADD: addresses and other files are added apart", hint="say ADD once for each kind")
        if work.keep_git_dir:
            raise Refused("ADD: --keep-git-dir is for repositories")
        fetching = self._files.fetched(work.sources, work.checksum)
        tree, names = await asyncio.to_thread(fetching.__enter__)
        self._stack.push(fetching.__exit__)
        named = replace(work, sources=tuple(names), unpack=bool(work.unpack))
        return await self._prepared(named, on, image, tree, owner or _ROOT, mode, ())

    async def _prepared(
        self, work: Bring, on: Grown, image: Merged, source: Tree | None, owner: Owner | None, mode: Mode | None,
        others: Sequence[Key],
    ) -> Prepared:
        tree: Tree = source if source is not None else image
        found = await asyncio.to_thread(lambda: origins(work, tree, hidden=self._hidden))
        if work.add and work.unpack is not False:
            archive = await asyncio.to_thread(lambda: self._archive(work, found, tree))
            if archive is not None:
                return await self._unpacked(work, on, image, tree, archive, owner, mode)
        things = await asyncio.to_thread(lambda: list(Placing(work, tree, image, owner, mode).all(found)))
        told = await asyncio.to_thread(lambda: self._files.files(things, tree))
        key = keys.of_copy(work, on.chain, told, _told(owner))

        async def make(again: bool) -> Image:
            return await self._files.add(on.image, things, tree, on.config, on.created_by, again=again)

        return Prepared((key, *others), make, self._same(things, tree, image), self._change(things, tree))

    def _same(self, things: Sequence[Placed], tree: Tree, image: Merged) -> Callable[[Layer], Awaitable[bool]]:
        return lambda layer: asyncio.to_thread(self._files.holds, layer, things, tree, image)

    def _change(self, things: Sequence[Placed], tree: Tree) -> Callable[[Layer, str], Awaitable[str]]:
        return lambda layer, below: asyncio.to_thread(self._files.first_change, layer, things, tree, below)

    def _archive(self, work: Bring, found: Sequence[Origin], tree: Tree) -> Node | None:
        """The archive that is to be unpacked; several at once, or one beside other files, are copied as they are."""
        archives = [origin.node for origin in found if self._files.is_archive(origin.node, tree)]
        if archives and (len(found) > 1 or work.inline):
            raise Refused(f"{work.verb}: an archive that is unpacked is added alone", hint="say ADD once for each")
        if work.unpack and not archives:
            raise Refused(f"{work.verb} --unpack: {safe(work.sources[0])} is no archive")
        return archives[0] if archives else None

    async def _unpacked(
        self, work: Bring, on: Grown, image: Merged, tree: Tree, node: Node, owner: Owner | None, mode: Mode | None
    ) -> Prepared:
        directory = follow(image, work.destination.strip("/"), missing=True)
        there = image.look(directory) if directory else None
        if there is not None and there.kind != "directory":
            raise Refused(f"{work.verb}: cannot unpack onto a file: /{safe(directory)}")
        digest = await asyncio.to_thread(lambda: tree.digest(node))
        keep = owner if work.chown else None
        key = keys.of_copy(work, on.chain, [File("unpacked", digest)], _told(keep))
        what = f"{work.verb} {safe(node.path)}"

        async def make(again: bool) -> Image:
            pieces: Iterator[bytes] = tree.data(node)
            return await self._files.add_archive(
                on.image, pieces, directory, what, keep, mode, on.config, on.created_by
            )

        return Prepared((key,), make, _no_layer, _no_change)

    def _owner(self, work: Bring, image: Merged) -> Owner | None:
        return chown(work.chown, *_accounts(image), f"{work.verb} --chown") if work.chown else None


async def _no_layer(layer: Layer) -> bool:
    return False


async def _no_change(layer: Layer, below: str) -> str:
    return ""


def _accounts(image: Merged) -> tuple[bytes, bytes]:
    """The lists of users and groups that the image has itself."""
    found = (image.read("etc/passwd", LARGEST_LIST + 1), image.read("etc/group", LARGEST_LIST + 1))
    return cast(tuple[bytes, bytes], tuple(content or b"" for content in found))


def _told(owner: Owner | None) -> str:
    return "as it was" if owner is None else f"{owner.uid}:{owner.gid}"


def _missing_directories(image: Merged, path: str) -> list[str]:
    parts = clean(path, "WORKDIR").split("/") if path else []
    missing = []
    for depth in range(1, len(parts) + 1):
        here = "/".join(parts[:depth])
        node = image.look(here)
        if node is None:
            missing.append(here)
        elif node.kind != "directory":
            raise Refused(f"WORKDIR: /{safe(here)} is not a directory in the image")
    return missing
