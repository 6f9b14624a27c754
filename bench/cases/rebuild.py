"""All projections folded anew from a million events: how long, and whether the rows are the same afterwards."""

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from adapters.sqlite.event_store import SqliteEventStore
from bench.recorded import append_lives, open_store, whole
from bench.report import Row, bound
from bench.samples import Summary
from bench.setting import Setting

EVENTS = 1_000_000


def measure(setting: Setting) -> list[Row]:
    """The log is made of whole lives, nine of ten removed; writing it is not counted."""
    folder = Path(tempfile.mkdtemp(dir=setting.folder))
    return asyncio.run(_measure(folder, setting.times(EVENTS, least=10_000), setting.say))


async def _measure(root: Path, wanted: int, say: Callable[[str], None]) -> list[Row]:
    removed = wanted * 9 // 10 // len(whole(0, removed=True).events)
    stopped = wanted // 10 // len(whole(0, removed=False).events)
    store = open_store(root)
    await store.open()
    try:
        await append_lives(store, range(removed), removed=True)
        await append_lives(store, range(removed, removed + stopped), removed=False)
        before = await _digests(store)
        say(f"a log of {await store.head()} events is written")
        begin = time.perf_counter()
        await store.rebuild()
        taken = time.perf_counter() - begin
        same = sum(before[name] == digest for name, digest in (await _digests(store)).items())
        events = await store.head()
    finally:
        await store.close()
    return [
        bound(f"all {len(before)} projections from {events} events", "s", Summary(1, taken, taken, taken), 15),
        bound("of them with the same digest as before", "", Summary(1, same, same, same), len(before), at_most=False),
    ]


async def _digests(store: SqliteEventStore) -> dict[str, str]:
    return {projection.name: await store.digest(projection.name) for projection in store.projections}
