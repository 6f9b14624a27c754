"""The engine itself: is it there, which one is it, what happens in it, and what takes the space."""

import asyncio
import os
import platform
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from domain.documents import Document
from domain.errors import InvalidValue, Refused
from domain.filters import pairs
from domain.images.reference import DEFAULT_HOST
from domain.images.registries import parse_host
from domain.notice_filters import KNOWN, filters
from domain.notices import notice_document
from workers.console import images as words
from workers.console.engine import Engine
from workers.gateway import credentials, listing
from workers.gateway.call import Answer, Call, Reply, Stream
from workers.gateway.errors import Denied
from workers.gateway.facts import cache_documents, info_document
from workers.gateway.lines import line
from workers.gateway.moments import moment
from workers.gateway.resources import images, volumes
from workers.gateway.routes import NEWEST, OLDEST, Route


async def _ping(call: Call) -> Answer:
    """For clients that want to know the newest version both sides speak."""
    headers = (
        ("Builder-Version", "1"),
        ("Swarm", "inactive"),
        ("Cache-Control", "no-cache, no-store, must-revalidate"),
        ("Pragma", "no-cache"),
    )
    return Reply(body=b"OK", kind="text/plain; charset=utf-8", headers=headers)


async def _version(call: Call) -> Answer:
    facts = await call.engine.info()
    newest, oldest = (f"{version[0]}.{version[1]}" for version in (NEWEST, OLDEST))
    details = {
        "ApiVersion": newest,
        "Arch": _architecture(),
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": "",
        "KernelVersion": str(facts["KernelVersion"]),
        "MinAPIVersion": oldest,
        "Os": "linux",
    }
    return Reply(document={
        "Platform": {"Name": "Lading"},
        "Components": [{"Name": "Engine", "Version": call.engine.version, "Details": details}],
        "Version": call.engine.version,
        **{key: value for key, value in details.items() if key != "Experimental"},
    })


def _architecture() -> str:
    """As Go spells it."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


async def _info(call: Call) -> Answer:
    facts = await call.engine.info()
    descriptors = len(os.listdir("/proc/self/fd"))
    listeners = call.engine.tidings.listeners
    return Reply(document=info_document(facts, now=time.time_ns(), listeners=listeners, descriptors=descriptors))


async def _auth(call: Call) -> Answer:
    given = await call.json(needed=True)
    place = str(given.get("serveraddress") or "")
    host = parse_host(place) if place else DEFAULT_HOST
    client = credentials.of_document({**given, "auth": ""}, "the request's body")
    try:
        await call.engine.images.login(host, client)
    except InvalidValue:
        raise
    except Refused as error:
        raise Denied(401, error.message) from error
    return Reply(document={"Status": "Login Succeeded", "IdentityToken": ""})


# Events --------------------------------------------------------------------------------------------------------------


async def _events(call: Call) -> Answer:
    fits = filters(pairs(call.filters(KNOWN)))
    if call.method == "HEAD":  # so the gateway's process tells of those who hear what others hear already
        return Reply()
    now, after, until = time.time_ns(), await call.engine.store.head(), None
    if call.text("since"):
        after = await call.engine.store.position_at(moment(call.text("since"), now) - 1)
    if call.text("until"):
        until = moment(call.text("until"), now)
    told = call.engine.tidings.follow(fits, after=after, until=until)

    async def pieces() -> AsyncIterator[bytes]:
        async with aclosing(told):
            async for notice in told:
                yield line(notice_document(notice))

    return Stream(pieces(), shared=not (call.text("since") or call.text("until")))


# Space ---------------------------------------------------------------------------------------------------------------


async def _df(call: Call) -> Answer:
    engine, kinds = call.engine, call.many("type")
    unknown = next((kind for kind in kinds if kind not in _PARTS), None)
    if unknown is not None:
        raise InvalidValue(f"unknown object type: {unknown}")
    found: Document = {"LayersSize": 0, "Images": None, "Containers": None, "Volumes": None, "BuildCache": None}
    for kind in kinds or _PARTS:
        found |= await _PARTS[kind](engine)
    return Reply(document=found)


async def _image_space(engine: Engine) -> dict[str, Any]:
    rows = words.rows(await engine.images.all())
    kinds = await engine.images.inventory()
    size = sum(size for kind, size in kinds.items() if kind in ("layers", "blobs", "ingest", "stubs"))
    return {"LayersSize": size, "Images": await images.summaries(engine, rows, shared=True, counted=True)}


async def _container_space(engine: Engine) -> dict[str, Any]:
    return {"Containers": await listing.documents(engine, await engine.board.rows(), sizes=True)}


async def _volume_space(engine: Engine) -> dict[str, Any]:
    known = await engine.volumes.all()
    sizes = await asyncio.gather(*(engine.volumes.size(one.name) for one in known))
    return {"Volumes": [
        {**volumes.document(one), "UsageData": {"Size": size, "RefCount": len(one.users)}}
        for one, size in zip(known, sizes, strict=True)
    ]}


async def _cache_space(engine: Engine) -> dict[str, Any]:
    return {"BuildCache": cache_documents(await engine.views.select("build_cache", order="used"))}


_PARTS = {"image": _image_space, "container": _container_space, "volume": _volume_space, "build-cache": _cache_space}

ROUTES = (
    Route("GET", "/_ping", _ping),
    Route("GET", "/version", _version),
    Route("GET", "/info", _info, reads="info"),
    Route("POST", "/auth", _auth),
    Route("GET", "/events", _events, reads="events"),
    Route("GET", "/system/df", _df, since=(1, 25), reads="system df"),
)
