"""A request's way: version, route, handler, and its answer or refusal.

Its `except Exception` is the outermost one of a request: a defect in a handler becomes a 500 and a log entry.
"""

import logging
import re
from collections.abc import Awaitable
from urllib.parse import parse_qs, urlsplit

from domain.errors import LadingError
from domain.text.safe import safe
from workers.accesses import Reading
from workers.console.engine import Engine
from workers.gateway.call import Answer, Call, Duplex, Headers, Hijack, Reply, Stream, Version, Wire
from workers.gateway.errors import Denied, message_of, status_of
from workers.gateway.pending import Pending
from workers.gateway.resources import ROUTES
from workers.gateway.routes import NEWEST, OLDEST, Handler, find
from workers.mover import Caller

log = logging.getLogger(__name__)
_VERSION = re.compile(r"/v(\d{1,3})\.(\d{1,3})(/.*)")
_DEFECT = "the engine has failed inside; its log says more"


class Api:
    """Answers requests; what has to be known from one to the next are execs that were made and not started yet."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._pending = engine, Pending()
        self._common: Headers = (
            ("Api-Version", text_of(NEWEST)),
            ("Docker-Experimental", "false"),
            ("Ostype", "linux"),
            ("Server", f"Lading/{engine.version} (linux)"),
        )

    async def answer(self, wire: Wire) -> None:
        """Answer one request."""
        method, target = wire.argv[0], wire.argv[1]
        try:
            reply = await _answered(*self._routed(wire, method, target))
        except LadingError as error:
            reply = refusal(error)
        except Exception:
            # What follows the path may hold values of variables.
            log.exception("%s %s failed", method, safe(target.partition("?")[0]))
            reply = Reply(500, {"message": _DEFECT})
        await _send(wire, method, reply, self._common)

    def _routed(self, wire: Wire, method: str, target: str) -> tuple[Handler, Call]:
        """The handler, and the request as it takes it. Raises: Denied."""
        parts = urlsplit(target)
        version, path = _versioned(parts.path)
        found = find(ROUTES, method, path, version)
        if found is None:
            raise Denied(404, "page not found")
        end = wire.argv.index("")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in wire.argv[2:end])}
        call = Call(
            method=method,
            version=version,
            path=found.path,
            query=parse_qs(parts.query, keep_blank_values=True),
            headers=headers,
            engine=self._engine,
            who=Caller(wire.actor, wire.call_id),
            pending=self._pending,
            wire=wire,
            reading=Reading(self._engine.accesses, wire.actor, found.route.reads),
            sent="\0".join(wire.argv[end + 1:]).encode("utf-8", "surrogateescape"),
        )
        return found.route.handler, call


async def _answered(handler: Handler, call: Call) -> Answer:
    """Who only looks is noted before the first byte, and nobody waits for it. Raises: LadingError."""
    with call.reading.noted():
        return await handler(call)


def text_of(version: Version) -> str:
    """`1.50`."""
    return f"{version[0]}.{version[1]}"


def _versioned(path: str) -> tuple[Version, str]:
    """Raises: Denied for a version that is not served."""
    match = _VERSION.fullmatch(path)
    if match is None:
        return NEWEST, path
    version = int(match[1]), int(match[2])
    if version > NEWEST:
        raise Denied(400, f"client version {text_of(version)} is too new. Maximum supported API version is "
                          f"{text_of(NEWEST)}")
    if version < OLDEST:
        raise Denied(400, f"client version {text_of(version)} is too old. Minimum supported API version is "
                          f"{text_of(OLDEST)}, please upgrade your client to a newer version")
    return version, match[3]


async def _send(wire: Wire, method: str, reply: Answer, common: Headers) -> None:
    if isinstance(reply, Reply):
        await _reply(wire, method, reply, common)
    elif isinstance(reply, Stream):
        shared = (("Lading-Shared", "1"),) if reply.shared else ()
        await wire.head(reply.status, (*common, ("Content-Type", reply.kind), *reply.headers, *shared))
        await wire.exit(await _whole(_passed_on(wire, reply)))
    else:
        await _hijacked(wire, method, reply, common)


async def _reply(wire: Wire, method: str, reply: Reply, common: Headers) -> None:
    content = reply.content
    bare = reply.status in (204, 304)
    kind = () if bare or not content else (("Content-Type", reply.kind),)
    length = () if bare else (("Content-Length", str(len(content))),)
    await wire.head(reply.status, (*common, *kind, *length, *reply.headers))
    if content and method != "HEAD" and not bare:
        await wire.out(content)
    await wire.exit(0)


async def _passed_on(wire: Wire, reply: Stream) -> None:
    async for piece in reply.pieces:
        await wire.out(piece)


async def _whole(work: Awaitable[None]) -> int:
    """What has begun to be answered cannot be refused any more, only broken off. The exit status."""
    try:
        await work
    except LadingError as error:
        log.info("an answer broke off: %s", error)
    except Exception:
        log.exception("an answer broke off")
    else:
        return 0
    return 1


async def _hijacked(wire: Wire, method: str, reply: Hijack, common: Headers) -> None:
    """Clients that ask for an upgrade get one; older ones get the head of an answer that never ends."""
    asked = any(line.lower().startswith("upgrade: ") for line in wire.argv[2:wire.argv.index("")])
    upgrade = (("Connection", "Upgrade"), ("Upgrade", reply.upgrade)) if asked else ()
    kind = (("Content-Type", reply.kind),) if reply.kind else ()
    duplex = Duplex(wire, 101 if asked else 200, (*common, *kind, *upgrade, *reply.headers))
    try:
        await reply.work(duplex)
    except LadingError as error:
        if not duplex.begun:
            return await _reply(wire, method, refusal(error), common)
        log.info("a stream broke off: %s", error)
    except Exception:
        log.exception("a stream broke off")
        if not duplex.begun:
            return await _reply(wire, method, Reply(500, {"message": _DEFECT}), common)
    await duplex.begin()
    await wire.exit(0)


def refusal(error: LadingError) -> Reply:
    """An error as an answer."""
    return Reply(status_of(error), {"message": message_of(error)})
