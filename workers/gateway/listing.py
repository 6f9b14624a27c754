"""Containers as lists of the API show them, and what filters mean."""

import asyncio
import time
from collections.abc import Mapping, Sequence

from domain.container import LIVE, LIVELY
from domain.documents import Document
from domain.errors import LadingError, NotFound
from domain.network.settings import network_settings, of_resting
from domain.text.units import SECOND
from workers import inspection
from workers.console import containers as words
from workers.console.containers import Listed, filters, listed
from workers.console.engine import Engine

FILTERS = ("ancestor", "before", "expose", "exited", "health", "id", "is-task", "label", "name", "network", "publish",
           "since", "status", "volume")


async def chosen(engine: Engine, wanted: Mapping[str, Sequence[str]], *, everything: bool, most: int) -> list[Listed]:
    """The containers that are asked for, the newest first; without `everything` only those that live, unless a filter
    or a number (`most`, 0 for none) asks for more. Raises: InvalidValue, NotFound."""
    pairs = [f"{name}={value}" for name, values in wanted.items() for value in values]
    others = {name: await _edge(engine, name) for name in words.named_in_filters(pairs)}
    test = filters(pairs, others)
    states = not {"status", "exited"}.isdisjoint(wanted)
    rows = [row for row in await engine.board.rows() if everything or states or most or row.state in LIVELY]
    rows = [row for row in rows if test(row)]
    return rows[:most] if most else rows


async def _edge(engine: Engine, name: str) -> Listed:
    row = await engine.views.get("containers", await engine.resolve(name))
    if row is None:
        raise NotFound(f"No such container: {name}")
    return listed(row)


async def documents(engine: Engine, rows: Sequence[Listed], *, sizes: bool) -> list[Document]:
    """One for each; with `sizes` also how much they have written."""
    now = time.time_ns()
    return list(await asyncio.gather(*(_document(engine, row, now, sizes=sizes) for row in rows)))


async def _document(engine: Engine, row: Listed, now: int, *, sizes: bool) -> Document:
    document: Document = {
        "Id": row.id,
        "Names": [f"/{row.name}"],
        "Image": row.image,
        "ImageID": row.image_id,
        "Command": words.command_line(row.command),
        "Created": row.created_at // SECOND,
        "Ports": _ports(row),
        "Labels": dict(row.labels),
        "State": row.status_name,
        "Status": words.status(row, now),
        "HostConfig": {"NetworkMode": row.network},
        "NetworkSettings": {"Networks": await _networks(engine, row)},
        "Mounts": [_mount(source, target) for source, target in row.mounts],
    }
    if sizes:
        written = await _written(engine, row.id)
        document |= {"SizeRw": written, "SizeRootFs": written + await inspection.image_size(engine, row.image_id)}
    return document


async def _written(engine: Engine, id: str) -> int:
    try:
        return await engine.writable_size(id)
    except LadingError:  # removed meanwhile: a list does not fail for that
        return 0


async def _networks(engine: Engine, row: Listed) -> Document:
    """Addresses are those of the run, which its own story tells; of what rests there may be thousands."""
    if row.state not in LIVE:
        return of_resting(row.networks)
    networks: Document = network_settings(await engine.container(row.id))["Networks"]
    return networks


def _ports(row: Listed) -> list[Document]:
    if row.state not in LIVE or row.network == "host":
        return []
    published = [{"IP": each.host_ip, "PrivatePort": each.port, "PublicPort": each.host_port, "Type": each.protocol}
                 for each in row.ports]
    taken = {(each.port, each.protocol) for each in row.ports}
    return published + [{"PrivatePort": port, "Type": protocol} for port, protocol in row.exposed
                        if (port, protocol) not in taken]


def _mount(source: str, target: str) -> Document:
    bound = source.startswith("/")
    named = {"Name": source, "Driver": "local"} if source and not bound else {}
    return {"Type": "bind" if bound else "volume" if source else "tmpfs", **named, "Source": source,
            "Destination": target, "Mode": "", "RW": True, "Propagation": "rprivate" if bound else ""}
