"""Volumes."""

import asyncio
from typing import Any

from pydantic import Field

from domain.documents import volume_document
from domain.errors import InvalidValue, NotFound
from domain.filters import pairs
from workers import inspection
from workers.console.commands.volume.words import filters
from workers.gateway.call import EMPTY, Answer, Call, Reply
from workers.gateway.choosing import BY_AGE_AND_LABELS, prunable, truth
from workers.gateway.documents import Document
from workers.gateway.routes import Route
from workers.requests import VolumeRequest
from workers.volumedesk import Known

_FILTERS = ("dangling", "driver", "label", "name")
_ALL_UNLESS = (1, 42)
"""From here on a prune takes only volumes that nobody has named, unless it is asked for all."""


class _Create(Document):
    """The body of a creation."""

    Name: str = ""
    Driver: str = "local"
    DriverOpts: dict[str, str] = Field(default_factory=dict)
    Labels: dict[str, str] = Field(default_factory=dict)
    ClusterVolumeSpec: dict[str, Any] = Field(default_factory=dict)


def document(known: Known) -> dict[str, Any]:
    """One volume."""
    return volume_document(known.name, known.mountpoint, known.created, options=known.options, labels=known.labels)


async def _list(call: Call) -> Answer:
    test = filters(pairs(call.filters(_FILTERS)))
    found = [document(known) for known in await call.engine.volumes.all() if test(known)]
    return Reply(document={"Volumes": found, "Warnings": None})


async def _inspect(call: Call) -> Answer:
    document = await inspection.volume(call.engine, call.path["name"])
    call.reading.about("volume", inspection.key("volume", document))
    return Reply(document=document)


async def _create(call: Call) -> Answer:
    wish = await call.model(_Create)
    if wish.ClusterVolumeSpec:
        raise InvalidValue("ClusterVolumeSpec is not supported by Lading")
    request = VolumeRequest(name=wish.Name, driver=wish.Driver or "local", options=wish.DriverOpts, labels=wish.Labels)
    name = await call.engine.volumes.create(request, call.who)
    return Reply(status=201, document=await inspection.volume(call.engine, name))


async def _remove(call: Call) -> Answer:
    try:
        await call.engine.volumes.remove(call.path["name"], call.who)
    except NotFound:
        if not call.flag("force"):
            raise
    return EMPTY


async def _prune(call: Call) -> Answer:
    given = call.filters(("all", *BY_AGE_AND_LABELS))
    if "until" in given:
        raise InvalidValue("invalid filter 'until'")
    test, desk = prunable(given), call.engine.volumes
    everyone = truth(given, "all", default=call.version < _ALL_UNLESS)
    chosen = [known.name for known in await desk.all()
              if not known.users and (everyone or known.anonymous) and test(known.created, known.labels)]
    sizes = dict(zip(chosen, await asyncio.gather(*map(desk.size, chosen)), strict=True))
    gone = await desk.prune(chosen, call.who)
    return Reply(document={"VolumesDeleted": list(gone) or None, "SpaceReclaimed": sum(sizes[name] for name in gone)})


ROUTES = (
    Route("GET", "/volumes", _list, reads="volume ls"),
    Route("POST", "/volumes/create", _create),
    Route("POST", "/volumes/prune", _prune, since=(1, 25)),
    Route("GET", "/volumes/{name}", _inspect, reads="inspect"),
    Route("DELETE", "/volumes/{name}", _remove),
)
