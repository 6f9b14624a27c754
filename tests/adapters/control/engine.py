"""A daemon without an engine: a real bus, a real control socket, and a console whose verbs try out one thing each."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.control.console import Call, Console, serve_calls
from adapters.control.listener import ControlSocket
from adapters.nats.bus import NatsBus
from adapters.nats.server import EmbeddedServer
from domain.errors import Refused

HOST = "box"
MEBIBYTE = 1024 * 1024


@dataclass
class Engine:
    """What runs, and what became of the calls."""

    run: Path
    server: EmbeddedServer
    bus: NatsBus
    control: ControlSocket
    console: Console
    cancelled: list[str]

    @property
    def socket(self) -> Path:
        """Where the control socket is."""
        return self.run / "lading.sock"


@asynccontextmanager
async def engine(run: Path) -> AsyncIterator[Engine]:
    """Start everything in the order of the daemon, and take it down in the other one."""
    run.mkdir(mode=0o711, exist_ok=True)
    async with AsyncExitStack() as stack:
        server = EmbeddedServer(run / "nats", HOST)
        await server.start()
        stack.push_async_callback(server.stop)
        bus = NatsBus(server.locate)
        await bus.connect()
        stack.push_async_callback(bus.close)
        control = ControlSocket(run / "lading.sock", HOST, server.locate, " ".join)
        cancelled: list[str] = []
        console = await serve_calls(bus, HOST, _noting(cancelled), control)
        stack.push_async_callback(console.close)
        await control.start()
        stack.push_async_callback(control.close)
        yield Engine(run, server, bus, control, console, cancelled)


def _noting(cancelled: list[str]) -> Callable[[Call], Awaitable[None]]:
    async def handle(call: Call) -> None:
        try:
            await VERBS[call.argv[0]](call)
        except asyncio.CancelledError:
            cancelled.append(call.argv[0])
            raise

    return handle


async def _echo(call: Call) -> None:
    await call.out((" ".join(call.argv[1:]) + "\n").encode("utf-8", "surrogateescape"))


async def _fail(call: Call) -> None:
    await call.err(b"no\n")
    await call.exit(int(call.argv[1]))


async def _who(call: Call) -> None:
    await call.out(f"{call.actor.uid} {call.actor.user} {call.actor.via} {call.actor.command}\n".encode())


async def _where(call: Call) -> None:
    await call.out(f"{call.cwd}\n{call.umask:o}\n{call.terminal}\n".encode())


async def _flood(call: Call) -> None:
    for _ in range(int(call.argv[1])):
        await call.out(bytes(MEBIBYTE))


async def _sleep(call: Call) -> None:
    await call.out(b"asleep\n")
    await asyncio.sleep(600)


async def _cat(call: Call) -> None:
    async for piece in call.open_file(call.argv[1]):
        await call.out(piece)


async def _lend(call: Call) -> None:
    """What comes with the file: its first bytes, or that it has to be streamed."""
    descriptor = await call.lend_file(call.argv[1])
    if descriptor < 0:
        await call.out(b"streamed: " + b"".join([piece async for piece in call.open_file(call.argv[1])]))
        return
    try:
        await call.out(b"lent: " + os.pread(descriptor, 100, 0))
    finally:
        os.close(descriptor)


async def _stdin(call: Call) -> None:
    async for piece in call.stdin():
        await call.out(piece)


async def _count(call: Call) -> None:
    size = 0
    async for piece in call.stdin():
        size += len(piece)
    await call.out(b"%d\n" % size)


async def _env(call: Call) -> None:
    values = await call.getenv(call.argv[1:])
    await call.out("".join(f"{name}={value}\n" for name, value in values.items()).encode("utf-8", "surrogateescape"))


async def _new(call: Call) -> None:
    await call.create_file(call.argv[1], 0o640, call.argv[2].encode())


async def _delete(call: Call) -> None:
    await call.unlink(call.argv[1])


async def _ask(call: Call) -> None:
    await call.out(f"<{await call.ask('sure? ')}>\n".encode())


async def _secret(call: Call) -> None:
    await call.out(f"<{await call.ask('Password: ', hidden=True)}>\n".encode())


async def _signals(call: Call) -> None:
    """Tells each signal; TERM ends it as it would end a program."""
    numbers: asyncio.Queue[int] = asyncio.Queue()
    await call.forward_signals(numbers.put)
    await call.out(b"ready\n")
    while (number := await numbers.get()) != 15:
        await call.out(b"%d\n" % number)
    await call.exit(143)


async def _keys(call: Call) -> None:
    """Shows sizes and keys of a terminal in raw mode; ctrl-d ends it, and a `!` is a defect."""
    await call.use_terminal(_sizes(call), raw=True)
    async for piece in call.stdin():
        await call.out(f"<{piece.hex()}>".encode())
        if b"!" in piece:
            raise RuntimeError("a defect")
        if b"\x04" in piece:
            break
    await call.release_terminal()
    await call.out(b"bye\n")
    await call.exit(3)


async def _size(call: Call) -> None:
    """Shows sizes of a terminal whose keys are left alone."""
    await call.use_terminal(_sizes(call), raw=False)
    await asyncio.sleep(600)


def _sizes(call: Call) -> Callable[[int, int], Awaitable[None]]:
    async def resized(rows: int, cols: int) -> None:
        await call.out(f"[{rows}x{cols}]".encode())

    return resized


async def _flood_and_count(call: Call) -> None:
    """Writes without end what nobody may read, and tells on stderr how much input has come until its end."""
    flood = asyncio.ensure_future(_flood_for_ever(call))
    size = 0
    async for piece in call.stdin():
        size += len(piece)
    flood.cancel()
    await call.exit(0 if size == int(call.argv[1]) else 1)


async def _flood_for_ever(call: Call) -> None:
    while True:
        await call.out(bytes(65536))


async def _deaf(call: Call) -> None:
    """Does not stop when it is asked to; when it is, its terminal hears of it."""
    await call.out(b"asleep\n")
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        await call.out(b"no\n")
        await asyncio.sleep(600)


async def _slow_stop(call: Call) -> None:
    """Says in which state it left things when it is interrupted."""
    await call.out(b"stopping\n")
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        await call.err(b"left half done\n")
        await call.exit(130)


async def _defect(call: Call) -> None:
    raise RuntimeError("a defect")


async def _look(call: Call) -> None:
    """look follow|plain PATH"""
    kind, where = await call.look(call.argv[2], follow=call.argv[1] == "follow")
    await call.out(f"{kind} {where}\n".encode("utf-8", "surrogateescape"))


async def _pack(call: Call) -> None:
    """pack OPTIONS PATH NAME [KNOWN]: the archive goes to standard output; of the file KNOWN is told what is known."""
    known = None
    if call.argv[4:]:
        known = b"".join([piece async for piece in call.open_file(call.argv[4])])
    async for piece in call.pack(call.argv[2], call.argv[3], call.argv[1], known=known):
        await call.out(piece)


async def _spread(call: Call) -> None:
    """spread OPTIONS DIRECTORY ARCHIVE: one of the client's files comes back to it."""
    try:
        made = await call.spread(call.argv[2], call.open_file(call.argv[3]), call.argv[1])
    except Refused as error:
        await call.err(f"{error.message}\n".encode("utf-8", "surrogateescape"))
        await call.exit(1)
    else:
        await call.out(b"%d %d\n" % made)


async def _write(call: Call) -> None:
    """write PATH PIECES: mebibytes of zeros; with `!` after the number a defect follows."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(int(call.argv[2].rstrip("!"))):
            yield bytes(MEBIBYTE)
        if call.argv[2].endswith("!"):
            raise RuntimeError("a defect")

    await call.write_file(call.argv[1], 0o600, pieces())


async def _get(call: Call) -> None:
    assert call.api
    assert not call.streams_body
    end = call.argv.index("")
    await call.head(200, [("Content-Type", "text/plain")])
    await call.out(" ".join((*call.argv[1:end], ".".join(call.argv[end + 1:]))).encode())


VERBS: dict[str, Callable[[Call], Awaitable[None]]] = {
    "GET": _get,
    "echo": _echo, "fail": _fail, "who": _who, "where": _where, "flood": _flood, "sleep": _sleep, "deaf": _deaf,
    "cat": _cat, "stdin": _stdin, "count": _count, "env": _env, "new": _new, "delete": _delete, "ask": _ask,
    "secret": _secret,
    "signals": _signals, "keys": _keys, "size": _size, "flood-and-count": _flood_and_count,
    "slow-stop": _slow_stop, "defect": _defect, "run": _defect,
    "lend": _lend, "look": _look, "pack": _pack, "spread": _spread, "write": _write,
}
