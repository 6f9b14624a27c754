"""Records the log of a data root, whose daemon is down, as a history that every later version must understand.

    python -m tests.histories.record NAME DATA_ROOT

writes `tests/histories/NAME.jsonl`: first what today's code makes of the log (hash of the chain, digests of all
projections, states of all containers, open intents), then one stored event a line. Sealed values stay sealed: keys are
not recorded. A history that was released is never recorded again; when a digest changes on purpose, the new one is
written into it with `python -m tests.histories.record --renew NAME`.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from adapters.sqlite.driver import connect
from adapters.sqlite.reading import Reader
from domain.catalogue import MACHINE, projections
from domain.chain import ChainCheck, StoredRow
from domain.machine import settled_by
from domain.messages import Actor, Meta, Recorded, StreamId
from domain.projections.replay import digest_of
from domain.stored import from_bytes

FOLDER = Path(__file__).parent


def rows_of(lines: Iterable[str]) -> Iterator[StoredRow]:
    """The stored events of a history."""
    for line in lines:
        found = dict(zip(StoredRow._fields, json.loads(line), strict=True))
        for name in ("stream", "type", "data", "origin", "command"):
            found[name] = found[name].encode()
        for name in ("data_hash", "hash"):
            found[name] = bytes.fromhex(found[name])
        yield StoredRow(**found)


def line_of(row: StoredRow) -> str:
    """One stored event as text."""
    values = [value.hex() if name.endswith("hash") else value.decode() if isinstance(value, bytes) else value
              for name, value in row._asdict().items()]  # fmt: skip
    return json.dumps(values, ensure_ascii=False)


def records_of(rows: Iterable[StoredRow]) -> list[Recorded]:
    """The events as today's code reads them."""
    records = []
    for row in rows:
        kind, _, key = row.stream.decode().partition("/")
        event = from_bytes(row.type.decode(), row.data)
        if event is None:
            raise LookupError(f"event {row.position}: {row.type.decode()} is no longer known")
        *actor, boot, version = json.loads(row.origin)
        meta = Meta(Actor(*actor), row.command.decode(), row.cause, row.correlation, boot, version)
        records.append(Recorded(row.position, StreamId(kind, key), row.version, row.time, event, meta))  # type: ignore[arg-type]
    return records


def summary(rows: Sequence[StoredRow]) -> dict[str, Any]:
    """What today's code makes of a log."""
    check = ChainCheck()
    fault = check.first_fault(rows)
    records = records_of(rows)
    streams: dict[str, list[Recorded]] = {}
    intents: dict[str, dict[int, str]] = {}
    for record in records:
        if record.stream.kind == "container":
            streams.setdefault(record.stream.key, []).append(record)
        mine = intents.setdefault(str(record.stream), {})
        for position in settled_by(mine, record.event, record.meta.cause):
            del mine[position]
        if record.event.intent:
            mine[record.position] = record.event.stored_as
    return {
        "fault": str(fault or ""),
        "hash": check.head.hash.hex(),
        "digests": {projection.name: digest_of(projection, records) for projection in projections()},
        "states": {id: MACHINE.fold(id, mine).state.value for id, mine in sorted(streams.items())},
        "intents": sorted(position for mine in intents.values() for position in mine),
    }


def read(name: str) -> tuple[dict[str, Any], list[StoredRow]]:
    """What was recorded, and the log itself."""
    first, *lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return json.loads(first), list(rows_of(lines))


def write(name: str, rows: Sequence[StoredRow]) -> None:
    """Write a history with what today's code makes of it."""
    lines = [json.dumps(summary(rows)), *map(line_of, rows)]
    (FOLDER / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    """Record a data root, or renew what is said about a history."""
    if arguments[0] == "--renew":
        write(arguments[1], read(arguments[1])[1])
        return
    name, root = arguments
    with closing(connect(Path(root) / "lading.db", "ro")) as connection:
        write(name, list(Reader(connection).stored()))


if __name__ == "__main__":
    main(sys.argv[1:])
