"""What the engine does with images: bring them in, name them, remove them. It appends; the contents are the store's.

`guard` is held while it is decided what a name means and what is recorded about it, also by `create` of a container:
so an image cannot vanish between being found and being used. It is never held while bytes are moved. Removals take
`_removing` first, for as long as they last: an image that comes in meanwhile waits until its predecessor is gone.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from domain.errors import Ambiguous, Conflict, InUse, InvalidValue, NotFound
from domain.failpoints import failpoint
from domain.health import as_config
from domain.images import removal
from domain.images.changes import apply_changes
from domain.images.config import of_container, parse_settings, platform_of
from domain.images.events import (
    How,
    ImageCached,
    ImageRegistered,
    ImageRemoved,
    ImageRemoveRequested,
    Pulled,
    PullFailed,
    PullRequested,
    PushFailed,
    PushRequested,
)
from domain.images.manifest import Platform, suits
from domain.images.model import Image
from domain.images.reference import Reference, parse, parse_target, split_key
from domain.images.registries import Registries
from domain.images.removal import Target, User
from domain.images.streams import (
    ImageStream,
    RefStream,
    cache,
    drop,
    failed,
    fold_image,
    fold_ref,
    note,
    point,
    pulled,
    register,
)
from domain.messages import Append, Event, Meta, Recorded, StreamId
from domain.names import is_id_prefix
from domain.ports.bus import Clock
from domain.ports.events import EventStore, OpenIntent, Views
from domain.ports.images import ImageStore
from domain.projections.fold import Row
from domain.spec import ContainerSpec
from domain.text.safe import safe
from workers.unbroken import unbroken

More = Callable[[], Awaitable[Sequence[Append]]]
"""What else is to be appended in the same transaction; asked again when somebody else was faster."""
_TRIES = 10
_BROKEN_OFF: Mapping[str, type[PullFailed] | type[PushFailed]] = {
    PullRequested.stored_as: PullFailed,
    PushRequested.stored_as: PushFailed,
}
_T = TypeVar("_T")


class Contents(ImageStore, Protocol):
    """The image store, with the end of what it leases."""

    def release(self, image_id: str) -> None:
        """What an operation gave back is in the log, or never will be."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class LoadedImage(_Answer):
    """One image of an archive; `displaced` maps references to the image that had them before."""

    image_id: str
    references: tuple[str, ...] = ()
    displaced: dict[str, str] = {}


class Loaded(_Answer):
    """All images of an archive, in its order."""

    images: tuple[LoadedImage, ...]

    def lines(self) -> tuple[str, ...]:
        """What `load` prints."""
        return tuple(line for image in self.images for line in _loaded_lines(image))


class Removed(_Answer):
    """What `rmi` did: references, and ids of images and chain ids of layers, top first."""

    untagged: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """What `rmi` prints."""
        return (*(f"Untagged: {key}" for key in self.untagged), *(f"Deleted: {id}" for id in self.deleted))


class Listed(_Answer):
    """One row of `images`: an image under one of its references, or under none. Times in ns."""

    image_id: str
    reference: str
    repository: str
    tag: str
    digest: str
    created: int
    size: int
    parent: str
    intermediate: bool
    config: dict[str, Any]


class Images:
    """The images of this host."""

    def __init__(
        self,
        store: EventStore,
        views: Views,
        contents: Contents,
        clock: Clock,
        registries: Registries | None = None,
    ) -> None:
        self._store, self._views, self._contents, self._clock = store, views, contents, clock
        self._registries = registries or Registries()
        self.guard = asyncio.Lock()
        self._removing = asyncio.Lock()
        self._committed: set[str] = set()

    # Questions

    async def resolve(self, name: str) -> Image:
        """The image called `name`: a reference, an id, or the unambiguous beginning of one; names win.

        Raises: NotFound, Ambiguous, InvalidValue.
        """
        return _image((await self._find(name))[0])

    async def suiting(self, name: str, platform: Platform) -> Image:
        """The image called `name`, if it is one for this platform. Raises: NotFound, Ambiguous, InvalidValue."""
        row, key = await self._find(name)
        image = _image(row)
        offered = platform_of(image.config)
        if not suits(offered, platform):
            called = key or name
            raise NotFound(f"No such image: {called} for {platform}", hint=f"what is called so here is for {offered}")
        return image

    async def found(self, name: str) -> tuple[Image, str]:
        """The same, and the reference it was found by (empty: its id). Raises: NotFound, Ambiguous, InvalidValue."""
        row, key = await self._find(name)
        return _image(row), key

    async def image(self, image_id: str) -> Image:
        """The image with exactly this id, also one that was removed while containers made from it keep its layers.

        Raises: NotFound.
        """
        row = await self._views.get("images", image_id)
        if row is None:
            raise NotFound(f"No such image: {image_id}")
        return _image(row)

    async def list(self) -> Sequence[Listed]:
        """One row for every reference of every image, and one for an image without; newest created first."""
        rows = await self._views.select("images", where={"state": "present"}, order="created", descending=True)
        references: dict[str, list[str]] = {}
        for ref in await self._views.select("refs", order="reference"):
            references.setdefault(str(ref["image_id"]), []).append(str(ref["reference"]))
        parents = {row["parent"] for row in rows}
        return tuple(
            _listed(row, key, intermediate=not key and row["id"] in parents)
            for row in rows
            for key in references.get(str(row["id"])) or [""]
        )

    # Bringing images in

    async def import_(
        self,
        archive: Path,
        *,
        reference: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        platform: Platform | None = None,
        source: str = "",
        spent: bool = False,
        meta: Meta | None = None,
    ) -> Image:
        """One layer from a tar of a root file system, named `reference` if given; the file is emptied if it is `spent`
        then. Raises: Refused, StorageError."""
        key, meta = _key(reference), meta or Meta()
        if (done := await self._replied(meta)) is not None:
            return await self.image(done)
        image = await self._contents.import_tar(
            archive, message=message, changes=changes, platform=platform, spent=spent
        )
        events = {image.id: ImageRegistered(image=image, how="imported", source=source)}
        await self._record(events, {key: image.id} if key else {}, [image.id], meta, lambda before: image.id)
        return image

    async def load(
        self,
        archive: Path,
        *,
        platform: Platform | None = None,
        source: str = "",
        spent: bool = False,
        meta: Meta | None = None,
    ) -> Loaded:
        """Every image of a saved archive (for `platform`, if one is given), with its references, which move here from
        the images that had them. The file is emptied if it is `spent` then.

        Raises: Refused, StorageError.
        """
        meta = meta or Meta()
        if (done := await self._replied(meta)) is not None:
            return Loaded.model_validate_json(done)
        found = await self._contents.load(archive, platform=platform, spent=spent)
        events = {one.image.id: ImageRegistered(image=one.image, how="loaded", source=source) for one in found}
        keys = {key: one.image.id for one in found for key in one.references}

        def loaded(before: Mapping[str, str]) -> str:
            return Loaded(images=tuple(_loaded(id, keys, before) for id in events)).model_dump_json()

        return Loaded.model_validate_json(
            await self._record(events, keys, [one.image.id for one in found], meta, loaded)
        )

    async def record_committed(
        self, image: Image, *, reference: str = "", parent: str = "", source: str = "", how: How = "committed"
    ) -> tuple[Append, ...]:
        """What makes a committed image known, to be appended together with the outcome of the commit while `guard` is
        held. Raises: InvalidValue, Conflict."""
        self._committed.add(image.id)
        event = ImageRegistered(image=image, how=how, source=source, parent=parent)
        key = _key(reference)
        return (await self._batch({image.id: event}, {key: image.id} if key else {}))[0]

    def commit_settled(self, image_id: str) -> None:
        """The outcome of that commit is in the log, or comes too late and never will be: its lease ends."""
        if image_id in self._committed:
            self._committed.discard(image_id)
            self._contents.release(image_id)

    async def commit(
        self,
        upper: Path,
        spec: ContainerSpec,
        env: Sequence[str],
        *,
        author: str = "",
        message: str = "",
        changes: Sequence[str] = (),
    ) -> Image:
        """The contents of an image from what a container has changed; nothing is recorded yet.

        Raises: Refused, StorageError.
        """
        parent = await self.image(spec.image_id)
        settings = of_container(
            parse_settings(parent.config.get("config")),
            entrypoint=spec.entrypoint,
            command=spec.command,
            env=env,
            workdir=spec.workdir,
            user=spec.user,
            labels=spec.labels,
            stop_signal=spec.stop_signal if spec.stop_signal_given else "",
            healthcheck=None if spec.health is None else as_config(spec.health),
        )
        document = apply_changes(settings, changes).document()
        return await self._contents.commit(
            upper, parent, document, author=author, message=message, created_by=" ".join(spec.argv)
        )

    async def record_built(
        self, image: Image, references: Sequence[str], *, parent: str, source: str, more: More, meta: Meta
    ) -> None:
        """Make the result of a build known, under these names, together with `more`; ends the lease.

        Raises: InvalidValue, Conflict.
        """
        event = ImageRegistered(image=image, how="built", source=source, parent=parent if parent != image.id else "")
        keys = dict.fromkeys((_key(reference) for reference in references), image.id)
        await self._record({image.id: event}, keys, [image.id], meta, lambda before: image.id, more)

    async def record_cached(self, image: Image, *, parent: str, more: More, meta: Meta) -> None:
        """Keep the result of a step for builds to come, together with `more`; ends the lease. Raises: Conflict."""
        event = ImageCached(image=image, parent=parent)
        await self._record({image.id: event}, {}, [image.id], meta, lambda before: image.id, more)

    async def tag(self, source: str, target: str, *, meta: Meta | None = None) -> None:
        """Give an image one more name; the image that had it loses it. Raises: NotFound, Ambiguous, InvalidValue."""
        key, meta = parse_target(target).key, meta or Meta()

        async def once() -> None:
            async with self.guard:
                row, _ = await self._find(source)
                batch = point(await self._ref(key), str(row["id"]))
                if batch:
                    await self._store.append(batch, meta, reply="")

        if await self._replied(meta) is None:
            await _again(once)

    # Registries

    async def known_as(self, image_id: str) -> Sequence[str]:
        """All references of an image, in order: `name:tag` and `name@digest`."""
        refs = await self._views.select("refs", where={"image_id": image_id}, order="reference")
        return tuple(str(ref["reference"]) for ref in refs)

    async def named(self, key: str) -> str:
        """The id of the image that a reference names; empty when it names none."""
        ref = await self._views.get("refs", key)
        return str(ref["image_id"]) if ref else ""

    async def note(self, key: str, event: Event, meta: Meta) -> Recorded:
        """Write down in the stream of a reference that it is being pulled or pushed, or could not be."""

        async def once() -> Recorded:
            async with self.guard:
                return (await self._store.append([note(await self._ref(key), event)], meta))[0]

        return await _again(once)

    async def broken_off(self, key: str, event: PullFailed | PushFailed, meta: Meta) -> None:
        """Write down that what was asked for at `meta.cause` came to nothing, unless it has an outcome."""

        async def once() -> None:
            async with self.guard:
                if batch := failed(await self._ref(key), event, meta.cause):
                    await self._store.append(batch, meta)

        await _again(once)

    async def record_pulled(self, image: Image, key: str, event: Pulled, meta: Meta, *, source: str) -> str:
        """What a pull has brought, under its reference and its digest; the id of what the reference named before. The
        lease of the image ends. `meta.cause` is the position of the request."""

        async def once() -> str:
            async with self._removing, self._settled([image.id]), self.guard:
                registered = ImageRegistered(image=image, how="pulled", source=source)
                ref, by_digest = await self._ref(key), f"{split_key(key)[0]}@{event.digest}"
                batch = [*register(await self._stream(image.id), registered), pulled(ref, event)]
                if by_digest != key:
                    batch += point(await self._ref(by_digest), image.id)
                await self._store.append(batch, meta)
                return ref.image_id

        try:
            failpoint("images.before-record")
            return await _again(once)
        finally:
            self._contents.release(image.id)

    async def record_pushed(self, key: str, event: Event, image_id: str, digest: str, meta: Meta) -> None:
        """That the registry has it, and by which digest it is known there from now on."""

        async def once() -> None:
            async with self.guard:
                batch = [note(await self._ref(key), event)]
                batch += point(await self._ref(f"{split_key(key)[0]}@{digest}"), image_id)
                await self._store.append(batch, meta)

        await _again(once)

    # Removing

    async def remove(self, name: str, *, force: bool = False, prune: bool = True, meta: Meta | None = None) -> Removed:
        """Drop a name, and the image with its last one; with `prune` also nameless parents that only led to it.

        Raises: NotFound, Ambiguous, InvalidValue, InUse, StorageError.
        """
        meta = meta or Meta()
        if (done := await self._replied(meta)) is not None:
            return Removed.model_validate_json(done)
        return (await self._remove(name, force, prune, meta))[0]

    async def would_remove(self, name: str, *, force: bool = False, prune: bool = True) -> Removed:
        """What `remove` would do now; it raises the same."""
        async with self.guard:
            return (await self._decided(name, force, prune))[0]

    async def unused(
        self, test: Callable[[Image], bool], *, everything: bool, gone: Collection[str] = ()
    ) -> Sequence[str]:
        """Ids of the images that no container uses, except those in `gone`, children before their parents; without
        `everything` only those without a tag."""
        rows = [row for row in await self._views.select("images", where={"state": "present"}, order="id")]
        holders = [row for row in await self._views.select("containers") if row["id"] not in gone]
        used = {str(row["image_id"]) for row in holders}
        refs = await self._views.select("refs")
        tagged = {str(ref["image_id"]) for ref in refs if split_key(str(ref["reference"]))[1]}
        wanted = {str(row["id"]) for row in rows if test(_image(row))} - used - (set() if everything else tagged)
        going: dict[str, None] = {}
        while True:
            parents = {str(row["parent"]) for row in rows if str(row["id"]) not in going}
            free = sorted(wanted - parents - going.keys())
            if not free:
                return tuple(going)
            going |= dict.fromkeys(free)

    async def prune(self, image_ids: Sequence[str], meta: Meta) -> tuple[Removed, int]:
        """Take these images away, and whatever is needed by nothing; what was done, and the bytes freed. What somebody
        began to use meanwhile stays. Raises: StorageError."""
        untagged: list[str] = []
        deleted: list[str] = []
        freed = 0
        for image_id in image_ids:
            try:
                removed, size = await self._remove(image_id, True, False, replace(meta, command_id=""))
            except (InUse, NotFound):
                continue
            untagged += removed.untagged
            deleted += removed.deleted
            freed += size
        return Removed(untagged=tuple(untagged), deleted=tuple(deleted)), freed + await self.sweep(spare=False)

    async def would_free(self, image_ids: Collection[str], *, spare: bool = False) -> int:
        """The bytes that `prune` of these would free now."""
        gone = set(image_ids)
        keys = [str(ref["reference"]) for ref in await self._views.select("refs") if ref["image_id"] not in gone]
        images = [image for image in await self._needed() if image.id not in gone]
        return await self._contents.weigh(images, _digests(keys), spare=spare)

    async def inventory(self) -> Mapping[str, int]:
        """Bytes in the store by kind, and as `unknown` what nobody can account for."""
        found = await self._contents.inventory()
        return {**found, "unknown": found.get("other", 0) + await self.would_free((), spare=True)}

    async def check(self) -> Sequence[str]:
        """What is missing or damaged in the store, one sentence each."""
        keys = [str(ref["reference"]) for ref in await self._views.select("refs")]
        return await self._contents.check(await self._needed(), _digests(keys))

    async def sweep(self, *, spare: bool = True) -> int:
        """Carry on removals that an error has stopped, and delete what is needed by nothing; returns the bytes freed.
        Without `spare` also what interrupted pulls have brought. Raises: StorageError."""
        async with self._removing:
            async with self.guard:
                await self._let_go()
                await self._request_held()
            intents = [i for i in await self._store.open_intents() if i.kind == ImageRemoveRequested.stored_as]
            freed = [await self._delete(intent.stream.key, intent.position, Meta()) for intent in intents]
            return sum(freed) + await self._sweep(spare=spare)

    async def complete_or_undo(self, intent: OpenIntent) -> int:
        """End a removal that a crash has interrupted: nothing can be using the image since, so it goes on.

        Returns the bytes freed; intents of other kinds are nobody's business here. A pull or push is not taken up
        again: who wanted it is gone, and who wants it again goes on where it was.
        """
        if intent.kind in _BROKEN_OFF:
            outcome = _BROKEN_OFF[intent.kind](reason="the engine was stopped in the middle")
            await self.broken_off(intent.stream.key, outcome, Meta(cause=intent.position))
        if intent.kind != ImageRemoveRequested.stored_as:
            return 0
        async with self._removing:
            return await self._delete(intent.stream.key, intent.position, Meta())

    async def recover(self) -> int:
        """At start: end what was interrupted, and delete what is left over; returns the bytes freed.

        Raises: StorageError.
        """
        freed = [await self.complete_or_undo(intent) for intent in await self._store.open_intents()]
        return sum(freed) + await self.sweep()

    # Names and ids

    async def _find(self, name: str) -> tuple[Row, str]:
        """The row of the image, and the reference it was found by (empty: by its id)."""
        reference, wrong = _reference(name)
        for meant in (reference, self._registries.expand(name)) if reference is not None else ():
            ref = await self._views.get("refs", meant.key) if meant is not None else None
            row = await self._views.get("images", str(ref["image_id"])) if ref else None
            if meant is not None and row is not None and row["state"] == "present":
                return row, meant.key
        digits = name.removeprefix("sha256:")
        if is_id_prefix(digits):
            rows = await self._views.select(
                "images", prefix=("id", f"sha256:{digits}"), where={"state": "present"}, limit=2
            )
            if len(rows) > 1:
                raise Ambiguous(f"multiple IDs found with provided prefix: {name}")
            if rows:
                return rows[0], ""
        elif wrong is not None:
            raise wrong
        raise NotFound(f"No such image: {name if reference is None or name.startswith('sha256:') else reference}")

    async def _ref(self, key: str) -> RefStream:
        return fold_ref(key, await self._store.load(StreamId("ref", key)))

    async def _stream(self, image_id: str) -> ImageStream:
        return fold_image(image_id, await self._store.load(StreamId("image", image_id)))

    # Recording

    async def _record(
        self,
        events: Mapping[str, ImageRegistered | ImageCached],
        keys: Mapping[str, str],
        leased: Sequence[str],
        meta: Meta,
        reply: Callable[[Mapping[str, str]], str],
        more: "More | None" = None,
    ) -> str:
        """Append what is new and `more`, and end the leases; `reply` makes the answer from what each reference named
        before."""

        async def once() -> str:
            async with self._removing, self._settled(events), self.guard:
                batch, before = await self._batch(events, keys)
                answer = reply(before)
                batch = (*batch, *(await more() if more is not None else ()))
                if batch:
                    await self._store.append(batch, meta, reply=answer)
                return answer

        try:
            failpoint("images.before-record")
            return await _again(once)
        finally:
            for image_id in leased:
                self._contents.release(image_id)

    async def _replied(self, meta: Meta) -> str | None:
        """The answer to a request that was carried out before."""
        done = await self._store.replied(meta.command_id) if meta.command_id else None
        return None if done is None else done.body

    async def _batch(
        self, events: Mapping[str, ImageRegistered | ImageCached], keys: Mapping[str, str]
    ) -> tuple[tuple[Append, ...], dict[str, str]]:
        batch: list[Append] = []
        before: dict[str, str] = {}
        for image_id, event in events.items():
            stream = await self._stream(image_id)
            batch += register(stream, event) if isinstance(event, ImageRegistered) else cache(stream, event)
        for key, image_id in keys.items():
            ref = await self._ref(key)
            before[key] = ref.image_id
            batch += point(ref, image_id)
        return tuple(batch), before

    # Removal, step by step

    async def _remove(self, name: str, force: bool, prune: bool, meta: Meta) -> tuple[Removed, int]:
        """What was done, and the bytes freed. Who asked may go away: what was begun is ended all the same."""
        return await unbroken(self._remove_whole(name, force, prune, meta))

    async def _remove_whole(self, name: str, force: bool, prune: bool, meta: Meta) -> tuple[Removed, int]:
        async with self._removing:
            removed, intents = await _again(lambda: self._request_removal(name, force, prune, meta))
            freed = [await self._delete(intent.stream.key, intent.position, meta) for intent in intents]
        return removed, sum(freed)

    async def _decided(self, name: str, force: bool, prune: bool) -> tuple[Removed, Sequence[Row]]:
        """What is to be done, and the rows of the images that go."""
        row, reference = await self._find(name)
        decided = removal.decide(await self._target(row, reference), force=force)
        going = [row, *(await self._useless_parents(row) if prune else ())] if decided.delete else []
        return Removed(untagged=decided.untag, deleted=await self._to_delete(going)), going

    async def _request_removal(
        self, name: str, force: bool, prune: bool, meta: Meta
    ) -> tuple[Removed, Sequence[Recorded]]:
        """Decide and append; gives back what will have been done, and the intents that are left to do it."""
        async with self.guard:
            await self._let_go()
            removed, going = await self._decided(name, force, prune)
            batch = [append for key in removed.untagged for append in drop(await self._ref(key))]
            batch += [await self._request(str(gone["id"])) for gone in going]
            records = await self._store.append(batch, meta, reply=removed.model_dump_json())
            return removed, [record for record in records if isinstance(record.event, ImageRemoveRequested)]

    async def _request(self, image_id: str) -> Append:
        return (await self._stream(image_id)).append(ImageRemoveRequested())

    async def _request_held(self) -> Sequence[Recorded]:
        """Images that were removed while containers held them, and now no container does."""
        rows = await self._views.select("images", where={"state": "held"})
        free = [str(row["id"]) for row in rows if not await self._is_held(str(row["id"]))]
        if not free:
            return []
        return await self._store.append([await self._request(image_id) for image_id in free], Meta())

    async def _to_delete(self, going: Sequence[Row]) -> tuple[str, ...]:
        """Ids of the images, each followed by the layers that no other image has and no container needs, top first."""
        ids = {str(row["id"]) for row in going}
        kept = {layer.chain_id for image in await self._needed() if image.id not in ids for layer in image.layers}
        deleted: list[str] = []
        for row in going:
            held = await self._is_held(str(row["id"]))
            chains = [] if held else [layer.chain_id for layer in reversed(_image(row).layers)]
            deleted += [str(row["id"]), *(chain for chain in chains if chain not in kept)]
            kept.update(chains)
        return tuple(deleted)

    async def _target(self, row: Row, reference: str) -> Target:
        image_id = str(row["id"])
        refs = await self._views.select("refs", where={"image_id": image_id}, order="reference")
        children = await self._views.select("images", where={"parent": image_id, "state": "present"})
        return Target(
            image_id=image_id,
            reference=reference,
            references=tuple(str(ref["reference"]) for ref in refs),
            users=await self._users(image_id),
            children=len(children),
        )

    async def _users(self, image_id: str) -> tuple[User, ...]:
        rows = await self._views.select("containers", where={"image_id": image_id}, order="created_at")
        users = [User(str(row["id"]), str(row["state"]), str(row["name"])) for row in rows]
        return tuple(sorted(users, key=lambda user: not user.running))

    async def _is_held(self, image_id: str) -> bool:
        """Whether a container, or the cache of builds, needs what is in the image."""
        kept = await self._views.select("build_cache", where={"image_id": image_id}, limit=1)
        return bool(kept) or bool(await self._users(image_id))

    async def _useless_parents(self, row: Row) -> Sequence[Row]:
        """Parents without a name, user or other child; they are only there for the image that goes."""
        found: list[Row] = []
        while (parent := await self._views.get("images", str(row["parent"]))) is not None:
            if parent["state"] != "present":
                break
            target = await self._target(parent, "")
            if target.references or target.users or target.children > 1:
                break
            found.append(parent)
            row = parent
        return found

    @asynccontextmanager
    async def _settled(self, image_ids: Iterable[str]) -> AsyncIterator[None]:
        """None of these is half removed: while `_removing` is held, a removal without an outcome is one that an error
        has stopped, and goes on now. Raises: StorageError."""
        for image_id in image_ids:
            if (stream := await self._stream(image_id)).state == "removing":
                await self._delete(image_id, stream.request, Meta())
        yield

    async def _delete(self, image_id: str, intent: int, meta: Meta) -> int:
        """Free the contents, unless containers need them, and append the outcome; returns the bytes freed."""
        held = await self._is_held(image_id)
        failpoint("images.before-sweep")
        freed = 0 if held else await self._sweep(without=image_id)
        failpoint("images.before-removed")
        stream = await self._stream(image_id)
        await self._store.append([stream.append(ImageRemoved(held=held))], replace(meta, cause=intent, command_id=""))
        return freed

    async def _let_go(self) -> None:
        """End the leases of commits that are in the log by now."""
        for image_id in tuple(self._committed):
            if await self._views.get("images", image_id) is not None:
                self._contents.release(image_id)
                self._committed.discard(image_id)

    async def _sweep(self, without: str = "", *, spare: bool = True) -> int:
        keys = [str(ref["reference"]) for ref in await self._views.select("refs")]
        return await self._contents.sweep(await self._needed(without=without), _digests(keys), spare=spare)

    async def _needed(self, without: str = "") -> Sequence[Image]:
        return [_image(row) for row in await self._views.select("images") if row["id"] != without]


async def _again(work: Callable[[], Awaitable[_T]]) -> _T:
    """Load and decide again when somebody else was faster."""
    for _ in range(_TRIES - 1):
        try:
            return await work()
        except Conflict:
            continue
    return await work()


def _digests(keys: Sequence[str]) -> Sequence[str]:
    """Of the references that are by digest: the manifests that must stay."""
    return [digest for key in keys if (digest := split_key(key)[2])]


def _key(reference: str) -> str:
    return parse_target(reference).key if reference else ""


def _reference(name: str) -> tuple[Reference | None, InvalidValue | None]:
    try:
        return parse(name), None
    except InvalidValue as error:
        return None, error


def _image(row: Row) -> Image:
    return Image.model_validate(
        {
            "id": row["id"],
            "config": _json(row["config"]),
            "layers": _json(row["layers"]),
            "created": row["created"],
            "size": row["size"],
        }
    )


def _json(value: object) -> Any:
    """Rows hold JSON columns as values or as text."""
    return json.loads(value) if isinstance(value, str) else value


def _listed(row: Row, key: str, *, intermediate: bool) -> Listed:
    repository, tag, digest = split_key(key)
    return Listed(
        image_id=str(row["id"]),
        reference=key,
        repository=repository,
        tag=tag,
        digest=digest,
        created=int(str(row["created"])),
        size=int(str(row["size"])),
        parent=str(row["parent"]),
        intermediate=intermediate,
        config=_json(row["config"]),
    )


def _loaded(image_id: str, keys: Mapping[str, str], before: Mapping[str, str]) -> LoadedImage:
    own = tuple(key for key, id in keys.items() if id == image_id)
    return LoadedImage(
        image_id=image_id,
        references=own,
        displaced={key: before[key] for key in own if before.get(key) not in (None, "", image_id)},
    )


def _loaded_lines(image: LoadedImage) -> Sequence[str]:
    displaced = [
        f"The image {safe(key)} already exists, renaming the old one with ID {old} to empty string"
        for key, old in image.displaced.items()
    ]
    names = [f"Loaded image: {safe(key)}" for key in image.references]
    return (*displaced, *(names or [f"Loaded image ID: {image.image_id}"]))
