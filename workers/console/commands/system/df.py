"""system df: what takes the space, and who holds it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.container import LIVELY
from domain.errors import LadingError
from domain.images.usage import Share, percent, shares
from domain.options import flag, one
from domain.text.units import ago, human_size
from workers.build.builder import Kept, Usage
from workers.console import containers as words
from workers.console.containers import Listed
from workers.console.images import Named, rows
from workers.console.listing import Field, Shape
from workers.console.verb import Example, Invocation, Verb
from workers.volumedesk import Known

_KINDS = {
    "layers": "unpacked layers",
    "blobs": "blobs, for push and save",
    "ingest": "interrupted pulls",
    "build": "caches of builds",
    "stubs": "mount points",
    "unknown": "unknown",
}


@dataclass(frozen=True, slots=True)
class _Kind:
    """One row of the summary; sizes in bytes."""

    name: str
    total: int
    active: int
    size: int
    free: int


@dataclass(frozen=True, slots=True)
class _Found:
    """All that is shown. `written` and `volumes` are bytes by id and by name, `kinds` bytes in the image store."""

    images: Sequence[Named]
    containers: Sequence[Listed]
    written: Mapping[str, int]
    volumes: Sequence[tuple[Known, int]]
    kinds: Mapping[str, int]
    free: int
    cache: Usage

    @property
    def cached(self) -> int:
        """Bytes that only builds to come need."""
        return self.cache.size + self.kinds.get("build", 0)


async def _df(invocation: Invocation) -> int:
    found = await _look(invocation)
    form = invocation.options.text("format")
    if not invocation.options.flag("verbose"):
        await invocation.out(_summary().render(_rows(found), form, columns=invocation.columns))
        return 0
    now, columns = invocation.now(), invocation.columns
    held, parts = _holders(found), shares({row.image.id: row.image for row in found.images}.values())
    texts = (
        ("Images", _images(now, held, parts).render(found.images, "", columns=columns)),
        ("Containers", _containers(now, found.written).render(found.containers, "", columns=columns)),
        ("Local Volumes", _volumes().render(found.volumes, "", columns=columns)),
    )
    await invocation.out("".join(f"{title} space usage:\n\n{text}\n" for title, text in texts))
    cache = _cache(now).render(found.cache.entries, "", columns=columns)
    await invocation.out(f"Build cache usage: {human_size(found.cached, digits=4)}\n\n{cache}\n")
    await invocation.out(f"Image store:\n\n{_store().render(_store_rows(found), '')}")
    return 0


async def _look(invocation: Invocation) -> _Found:
    engine = invocation.engine
    entries = rows(await engine.images.all())
    containers = await engine.board.rows()
    volumes = await engine.volumes.all()
    sizes = await asyncio.gather(*(engine.volumes.size(volume.name) for volume in volumes))
    unused = await engine.images.unused(lambda image: True, everything=True)
    return _Found(
        images=entries,
        containers=containers,
        written={row.id: await _written(invocation, row.id) for row in containers},
        volumes=tuple(zip(volumes, sizes, strict=True)),
        kinds=await engine.images.inventory(),
        free=await engine.images.would_free(unused),
        cache=await engine.builder.usage(),
    )


async def _written(invocation: Invocation, id: str) -> int:
    try:
        return await invocation.engine.writable_size(id)
    except LadingError:  # removed meanwhile
        return 0


def _rows(found: _Found) -> tuple[_Kind, ...]:
    ids = {row.image.id for row in found.images}
    used = {row.image_id for row in found.containers}
    idle = [row for row in found.containers if row.state not in LIVELY]
    busy = [size for volume, size in found.volumes if volume.users]
    total = sum(size for _, size in found.volumes)
    store = sum(found.kinds.get(kind, 0) for kind in _KINDS if kind not in ("unknown", "build")) - found.cache.size
    return (
        _Kind("Images", len(ids), len(ids & used), store, found.free),
        _Kind(
            "Containers",
            len(found.containers),
            len(found.containers) - len(idle),
            sum(found.written.values()),
            sum(found.written[row.id] for row in idle),
        ),
        _Kind("Local Volumes", len(found.volumes), len(busy), total, total - sum(busy)),
        _Kind(
            "Build Cache",
            len(found.cache.entries) + found.cache.mounts,
            sum(entry.shared for entry in found.cache.entries),
            found.cached,
            found.cached,
        ),
    )


def _summary() -> Shape[_Kind]:
    fields = {
        "Type": Field[_Kind]("TYPE", lambda kind: kind.name),
        "TotalCount": Field[_Kind]("TOTAL", lambda kind: str(kind.total)),
        "Active": Field[_Kind]("ACTIVE", lambda kind: str(kind.active)),
        "Size": Field[_Kind]("SIZE", lambda kind: human_size(kind.size, digits=4)),
        "Reclaimable": Field[_Kind](
            "RECLAIMABLE", lambda kind: human_size(kind.free, digits=4) + percent(kind.free, kind.size)
        ),
    }
    return Shape(fields, tuple(fields.values()))


def _holders(found: _Found) -> Mapping[str, Sequence[str]]:
    """Names of the containers of each image."""
    held: dict[str, list[str]] = {}
    for row in found.containers:
        held.setdefault(row.image_id, []).append(row.name)
    return held


def _images(now: int, held: Mapping[str, Sequence[str]], parts: Mapping[str, Share]) -> Shape[Named]:
    def holders(row: Named) -> str:
        names = held.get(row.image.id, ())
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

    fields = (
        Field[Named]("REPOSITORY", lambda row: row.repository),
        Field[Named]("TAG", lambda row: row.tag),
        Field[Named]("IMAGE ID", lambda row: row.image.id.removeprefix("sha256:")[:12]),
        Field[Named]("CREATED", lambda row: ago(row.image.created, now) if row.image.created else "N/A"),
        Field[Named]("SIZE", lambda row: human_size(row.image.size, digits=4)),
        Field[Named]("SHARED SIZE", lambda row: human_size(parts[row.image.id].shared, digits=4)),
        Field[Named]("UNIQUE SIZE", lambda row: human_size(parts[row.image.id].unique, digits=4)),
        Field[Named]("CONTAINERS", lambda row: str(len(held.get(row.image.id, ())))),
        Field[Named]("HELD BY", holders),
    )
    return Shape({field.header: field for field in fields}, fields)


def _containers(now: int, written: Mapping[str, int]) -> Shape[Listed]:
    fields = (
        Field[Listed]("CONTAINER ID", lambda row: row.id[:12]),
        Field[Listed]("IMAGE", lambda row: row.image),
        Field[Listed]("COMMAND", lambda row: f'"{words.command_line(row.command)[:20]}"'),
        Field[Listed]("SIZE", lambda row: human_size(written[row.id])),
        Field[Listed]("CREATED", lambda row: ago(row.created_at, now)),
        Field[Listed]("STATUS", lambda row: words.status(row, now)),
        Field[Listed]("NAMES", lambda row: row.name),
    )
    return Shape({field.header: field for field in fields}, fields)


def _volumes() -> Shape[tuple[Known, int]]:
    fields = (
        Field[tuple[Known, int]]("VOLUME NAME", lambda row: row[0].name),
        Field[tuple[Known, int]]("LINKS", lambda row: str(len(row[0].users))),
        Field[tuple[Known, int]]("SIZE", lambda row: human_size(row[1])),
    )
    return Shape({field.header: field for field in fields}, fields)


def _cache(now: int) -> Shape[Kept]:
    fields = (
        Field[Kept]("CACHE ID", lambda entry: entry.key[:12]),
        Field[Kept]("STEP", lambda entry: entry.text[:40]),
        Field[Kept]("SIZE", lambda entry: human_size(entry.size, digits=4)),
        Field[Kept]("CREATED", lambda entry: ago(entry.created, now)),
        Field[Kept]("LAST USED", lambda entry: ago(entry.used, now)),
        Field[Kept]("USAGE", lambda entry: str(entry.uses)),
        Field[Kept]("SHARED", lambda entry: str(entry.shared).lower()),
    )
    return Shape({field.header: field for field in fields}, fields)


def _store() -> Shape[tuple[str, int]]:
    fields = (
        Field[tuple[str, int]]("KIND", lambda row: _KINDS[row[0]]),
        Field[tuple[str, int]]("SIZE", lambda row: human_size(row[1], digits=4)),
    )
    return Shape({field.header: field for field in fields}, fields)


def _store_rows(found: _Found) -> Sequence[tuple[str, int]]:
    """What is unknown is only told when there is something."""
    return [(kind, found.kinds.get(kind, 0)) for kind in _KINDS if kind != "unknown" or found.kinds.get(kind)]


VERB = Verb(
    name="system df",
    usage="[OPTIONS]",
    summary="Show what takes the space on the disk",
    run=_df,
    most=0,
    options=(
        one("format", "", "table, json, or a template like '{{.Type}}: {{.Size}}' (without -v)"),
        flag("verbose", "v", "Each image, container and volume, and who holds it"),
    ),
    notes="""\
Images counts every layer once, unpacked, together with the blobs that are kept for push and save. RECLAIMABLE is what
lading image prune -a would free. Build Cache counts what only builds to come need: lading builder prune -a frees that;
its ACTIVE steps are also in an image that has a name.""",
    reads="system df",
    examples=(
        Example("lading system df", "the sums"),
        Example("lading system df -v", "shared and unique sizes of images, and the containers that hold them"),
    ),
)
