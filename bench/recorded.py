"""Recorded pasts: lives of containers as the engine writes them, made up from a number and appended by our own store.

Used on a data root whose daemon is down, so that ten thousand stopped containers cost seconds and no process.
"""

import asyncio
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from pathlib import Path

from adapters.sqlite.event_store import SqliteEventStore
from bench.image import REFERENCE
from domain.catalogue import projections
from domain.lifecycle.create import Created
from domain.lifecycle.exit import Exited
from domain.lifecycle.remove import Removed, RemoveRequested
from domain.lifecycle.start import Started, StartRequested
from domain.messages import Actor, Append, Event, Meta, StreamId
from domain.spec import ContainerSpec

META = Meta(actor=Actor(via="socket", user="root", uid=0, gid=0, command="lading run"), boot="bench", version="bench")
TOGETHER = 500  # lives in one transaction


def container_id(number: int, mark: str = "") -> str:
    """64 hex digits, the same for the same number."""
    return sha256(f"{mark}{number}".encode()).hexdigest()


def lived(number: int, mark: str = "", *, removed: bool) -> list[Append]:
    """The four appends of `run --rm IMAGE true`; without the removal the container is left as stopped."""
    id = container_id(number, mark)
    env = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
    spec = ContainerSpec(
        image=REFERENCE, image_id=f"sha256:{container_id(0)}", command=("true",), env_names=("PATH",),
        hostname=id[:12], auto_remove=removed,
    )
    steps: list[tuple[Event, ...]] = [
        (Created(name=f"bench{mark}-{number}", spec=spec, env=env), StartRequested(attempt=1)),
        (Started(attempt=1, pid=1000 + number % 30000, start_time=number, cgroup=f"{id}.1", boot="bench"),),
        (Exited(attempt=1, code=0), RemoveRequested(by="auto-remove")) if removed else (Exited(attempt=1, code=0),),
    ]
    if removed:
        steps.append((Removed(),))
    return list(_appends(StreamId("container", id), steps))


def _appends(stream: StreamId, steps: list[tuple[Event, ...]]) -> Iterator[Append]:
    expected = 0
    for events in steps:
        yield Append(stream, expected, events)
        expected += len(events)


def whole(number: int, *, removed: bool) -> Append:
    """A whole life as one append."""
    steps = lived(number, removed=removed)
    return Append(steps[0].stream, 0, tuple(event for step in steps for event in step.events))


def open_store(root: Path) -> SqliteEventStore:
    """The store as the daemon opens it."""
    return SqliteEventStore(root, projections())


async def append_lives(store: SqliteEventStore, numbers: range, *, removed: bool) -> None:
    """Append many lives, some hundreds in a transaction."""
    lives = (whole(number, removed=removed) for number in numbers)
    while batch := tuple(islice(lives, TOGETHER)):
        await store.append(batch, META)


def record(root: Path, *, stopped: int = 0, removed: int = 0) -> None:
    """Write a past into a data root that no daemon uses."""
    asyncio.run(_record(root, stopped, removed))


async def _record(root: Path, stopped: int, removed: int) -> None:
    store = open_store(root)
    await store.open()
    try:
        await append_lives(store, range(removed), removed=True)
        await append_lives(store, range(removed, removed + stopped), removed=False)
        await store.caught_up()
    finally:
        await store.close()
