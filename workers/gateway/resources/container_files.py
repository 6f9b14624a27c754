"""Containers' files: what was changed, the whole root file system, archives in and out."""

from collections.abc import AsyncIterator
from posixpath import normpath

from domain.copying import Found, absolute, base
from domain.errors import InvalidValue, NotFound
from domain.lifecycle.files import NoteCopiedIn, NoteCopiedOut, NoteExported
from domain.messages import Command
from domain.ports.files import Access
from domain.text.safe import legible
from workers.console.copies import Counted
from workers.filedesk import quietly
from workers.gateway.archives import place, stat
from workers.gateway.call import Answer, Call, Reply, Stream
from workers.gateway.routes import Route

_TAR = "application/x-tar"
_KINDS = {"C": 0, "A": 1, "D": 2}
_STAT = "X-Docker-Container-Path-Stat"


async def _changes(call: Call) -> Answer:
    id = await call.engine.resolve(call.path["name"])
    call.reading.about("container", id)
    found = [{"Path": legible(path), "Kind": _KINDS[kind]} async for kind, path in call.engine.files.changes(id)]
    return Reply(body=b"null\n") if not found else Reply(document=found)


async def _export(call: Call) -> Answer:
    id = await call.engine.resolve(call.path["name"])
    return Stream(_exported(call, id), kind=_TAR)


async def _exported(call: Call, id: str) -> AsyncIterator[bytes]:
    async with call.engine.files.reach(id, whole=False) as access:
        archive, broken = Counted(access.pack("/", ".")), True
        try:
            async for piece in archive:
                yield piece
            broken = False
        finally:
            await _noted(call, id, archive, NoteExported(bytes=archive.size, broken=broken))


async def _look(call: Call) -> Answer:
    """HEAD: what is there."""
    id, path = await _place(call)
    async with call.engine.files.reach(id) as access:
        found = await access.look(path)
        if found.kind == "missing" and await _is_to_be(call, id, path):
            return Reply(headers=((_STAT, place(path)),))
        return Reply(headers=((_STAT, await stat(access, path, await _there(call, access, path))),))


async def _is_to_be(call: Call, id: str, path: str) -> bool:
    """Whether something will be mounted there at the first start; what is written there before has its place."""
    container = await call.engine.container(id)
    clean = path.rstrip("/.") or "/"
    return not container.attempt and any(mount.target == clean for mount in container.settled.mounts)


async def _take_out(call: Call) -> Answer:
    if call.method == "HEAD":
        return await _look(call)
    id, path = await _place(call)
    head = (await _look(call))
    assert isinstance(head, Reply)
    return Stream(_taken_out(call, id, path), kind=_TAR, headers=head.headers)


async def _taken_out(call: Call, id: str, path: str) -> AsyncIterator[bytes]:
    async with call.engine.files.reach(id) as access:
        archive, broken = Counted(access.pack(path, _called(path), fine=True)), True
        try:
            async for piece in archive:
                yield piece
            broken = False
        finally:
            await _noted(call, id, archive, NoteCopiedOut(path=legible(path), bytes=archive.size, broken=broken))


def _called(path: str) -> str:
    """What the object is called in the archive. Clients put another name in the place of this one, wherever an entry
    begins with it: `.` for the content of a directory, and nothing, before a slash, for the root."""
    name = base(path)
    return "" if path == "/" else "./." if name == "." else name


async def _bring_in(call: Call) -> Answer:
    id, path = await _place(call)
    async with call.engine.files.reach(id, writable=True) as access:
        found = await _there(call, access, path)
        if found.kind == "link":
            found = await access.look(normpath(path) + "/.")
        if found.kind == "missing":
            raise NotFound(f"Could not find the file {legible(path)} in container {call.path['name']}")
        if found.kind != "directory":
            raise InvalidValue("extraction point is not a directory")
        archive, broken = Counted(call.body()), True
        try:
            await access.spread(path, aiter(archive), owners=call.flag("copyUIDGID"))
            broken = False
        finally:
            await _noted(call, id, archive, NoteCopiedIn(path=legible(path), bytes=archive.size, broken=broken))
    return Reply()


async def _place(call: Call) -> tuple[str, str]:
    """The container, and the clean path in it. Raises: NotFound, InvalidValue."""
    id, path = await call.engine.resolve(call.path["name"]), call.text("path")
    if not path:
        raise InvalidValue("bad parameter: path must not be empty")
    return id, absolute(path, "/")


async def _there(call: Call, access: Access, path: str) -> Found:
    found = await access.look(path)
    if found.kind == "missing":
        raise NotFound(f"Could not find the file {legible(path)} in container {call.path['name']}")
    return found


async def _noted(call: Call, id: str, archive: Counted, fact: Command) -> None:
    if archive.size:
        await quietly(call.engine.files.note(id, fact, call.who))


ROUTES = (
    Route("GET", "/containers/{name}/changes", _changes, reads="diff"),
    Route("GET", "/containers/{name}/export", _export),
    Route("GET", "/containers/{name}/archive", _take_out),
    Route("PUT", "/containers/{name}/archive", _bring_in),
)
