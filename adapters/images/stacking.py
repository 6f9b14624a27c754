"""The layers of one image made side by side: each has a directory of its own, and what it needs of those below it waits
for them (`adapters.images.gate`). The processor's cores hash, unpack and write different layers meanwhile.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from adapters.images.content import LayerRecord
from domain.images.layer import chain_ids
from domain.images.model import Layer

_MOST = 4
"""Layers at once; each is a thread here and a process of its own, and the disk is one."""

Below = Future[LayerRecord] | None


@dataclass(frozen=True, slots=True)
class Chain:
    """One layer by the chain ids of all up to it, lowest first; those below it are there when `coming` is done."""

    ids: Sequence[str]
    coming: Below = None


Make = Callable[[int, Below], LayerRecord]


def stacked(count: int, make: Make, stop: threading.Event) -> list[LayerRecord]:
    """`make` called for each layer (0: the lowest) with what tells when those below it are there. The failure of the
    lowest that failed is raised; the others are stopped by `stop`, which then is set."""
    futures: list[Future[LayerRecord]] = []

    def one(number: int, below: Below) -> LayerRecord:
        record = make(number, below)
        if below is not None:
            below.result()  # who waits for this one waits for all below it
        return record

    # In order: a layer is never begun before those that it may wait for.
    with ThreadPoolExecutor(max(2, min(_MOST, os.cpu_count() or 1)), "layer") as threads:
        for number in range(count):
            futures.append(threads.submit(one, number, futures[-1] if futures else None))
        try:
            return [future.result() for future in futures]
        except BaseException:
            stop.set()
            for future in futures:
                future.cancel()
            raise


def layers_of(diff_ids: Sequence[str], records: Sequence[LayerRecord]) -> tuple[Layer, ...]:
    """What an image says of its layers."""
    return tuple(
        Layer(diff_id=diff_id, chain_id=chain, size=record.size)
        for diff_id, chain, record in zip(diff_ids, chain_ids(diff_ids), records, strict=True)
    )
