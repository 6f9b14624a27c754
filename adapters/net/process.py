"""The process `lading-net`: owns the network of one engine's containers, and outlives the daemon that starts it.

    python -I -m lading_engine net RUN_DIR NAME GROUP MODE

It holds `net.lock`, listens on `net.sock` (for root alone), and goes into the background once it does: whoever has
started it may connect when the command returns. Kernel work is done by one thread, which enters namespaces for moments.
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from adapters.listening import served
from adapters.net import conntrack, foreign, namespaces, wire
from adapters.net.alarms import Alarms
from adapters.net.host import Host, Room
from adapters.net.resolver import Answers
from adapters.net.sockets import Ports
from adapters.net.wire import Message
from domain.errors import KernelError, LadingError, Refused, Unavailable
from domain.network.setup import Sandbox

log = logging.getLogger(__name__)
_REAP_SECONDS, _ADMIT_SECONDS = 0.2, 0.5
_P = ParamSpec("_P")
_T = TypeVar("_T")


def main(arguments: list[str]) -> int:
    """Serve until told to end. Returns at once, with success, when there is such a process already."""
    run_dir, name, group = Path(arguments[0]), arguments[1], int(arguments[2])
    mode = arguments[3] if len(arguments) > 3 else foreign.OPEN  # a daemon that was started before an upgrade
    lock = os.open(wire.lock_path(run_dir), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    host = Host(name, group, run_dir / "net.switched", mode)
    listener = _listen(wire.socket_path(run_dir))
    _go_into_background(run_dir / "net.log")
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    asyncio.run(_serve(host, listener, name))
    return 0


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(64)
    listener.setblocking(False)
    return listener


def _go_into_background(log_file: Path) -> None:
    """A child without parent, terminal or directory; no thread was started yet."""
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    null = os.open(os.devnull, os.O_RDWR)
    errors = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    for stream, fd in ((0, null), (1, null), (2, errors)):
        os.dup2(fd, stream)
    os.close(null)
    os.close(errors)
    Path("/proc/self/comm").write_text("lading-net")
    with contextlib.suppress(PermissionError):
        Path("/proc/self/oom_score_adj").write_text("-500")


async def _serve(host: Host, listener: socket.socket, name: str) -> None:
    desk = Desk(host, name)
    place = listener.getsockname()
    async with served(listener, desk.connected, limit=wire.LONGEST_LINE):
        await desk.over.wait()
    desk.close()
    if desk.cleaned:
        os.unlink(place)  # nothing of it is left: nobody needs to look
    sys.stderr.flush()
    os._exit(0)  # relays may be in the middle of something, and nobody waits for them


class Desk:
    """Answers the daemon."""

    def __init__(self, host: Host, name: str) -> None:
        self._host = host
        self._ports = Ports()
        self._thread = ThreadPoolExecutor(1, "kernel")
        self._chores = ThreadPoolExecutor(1, "chores")
        self._reaping: asyncio.TimerHandle | None = None
        self._admitting: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stale = conntrack.Stale()
        self._answers = Answers()
        self._alarms = Alarms(name, foreign.CHAINS, lost=self._table_lost, made=self._admit_soon)
        self.over = asyncio.Event()
        self.cleaned = False
        self._operations: dict[str, Callable[[Message], Awaitable[Message]]] = {
            operation.removeprefix("do_"): getattr(self, operation) for operation in dir(self)
            if operation.startswith("do_")}

    def close(self) -> None:
        """Sockets closed, threads ended."""
        self._alarms.close()
        for run in self._ports.runs() | self._host.rooms.keys():
            self._answers.leave(run)
            self._ports.release(run)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; requests on it may overtake each other."""
        try:
            if _peer(writer) != 0:
                return
            while line := await reader.readline():
                task = asyncio.get_running_loop().create_task(self._answer(json.loads(line), writer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except (OSError, ValueError) as error:
            log.warning("a connection broke: %s", error)
        finally:
            writer.close()

    async def _answer(self, message: Message, writer: asyncio.StreamWriter) -> None:
        try:
            reply = await self._operations[message["op"]](message)
        except LadingError as error:
            reply = {"error": wire.packed_error(error)}
        except OSError as error:
            reply = {"error": wire.packed_error(KernelError(str(error), errno=error.errno or 0, stage=message["op"]))}
        except Exception as error:
            log.exception("%s", message["op"])
            reply = {"error": wire.packed_error(Unavailable(f"the network process failed: {error!r}"))}
        with contextlib.suppress(OSError):
            writer.write(wire.pack({"re": message["n"], **reply}))
            await writer.drain()
        if message["op"] in ("end", "clean") and "error" not in reply:
            self.over.set()

    # Operations ------------------------------------------------------------------------------------------------------

    async def do_hello(self, _: Message) -> Message:
        """Who this is."""
        return {"protocol": wire.PROTOCOL, "pid": os.getpid(), "mode": self._host.mode}

    async def do_end(self, _: Message) -> Message:
        """Make room for another process; the kernel's part stays."""
        return {}

    async def do_surroundings(self, _: Message) -> Message:
        """See the port."""
        found = await self._kernel(self._host.surroundings)
        return {"surroundings": wire.SURROUNDINGS.dump_python(found, mode="json")}

    async def do_add_bridge(self, message: Message) -> Message:
        """See the port."""
        await self._kernel(self._host.add_bridge, wire.BRIDGE.validate_python(message["bridge"]))
        self._admit_soon()
        return {}

    async def do_remove_bridge(self, message: Message) -> Message:
        """See the port."""
        await self._kernel(self._host.remove_bridge, message["id"])
        self._reap_soon()
        return {}

    async def do_reserve(self, message: Message) -> Message:
        """See the port."""
        bindings = self._ports.reserve(
            (message["id"], message["attempt"]), wire.PUBLICATIONS.validate_python(message["wanted"]),
            dict(wire.PREFERRED.validate_python(message["preferred"])))
        return {"bindings": wire.BINDINGS.dump_python(bindings, mode="json")}

    async def do_open(self, message: Message) -> Message:
        """See the port."""
        sandbox = wire.SANDBOX.validate_python(message["sandbox"])
        run = sandbox.id, sandbox.attempt
        faults = self._ports.hold(run, sandbox.bindings) if sandbox.bindings else []
        if faults:
            self._ports.release(run)
            raise KernelError(faults[0], stage="bind")
        try:
            room = await self._kernel(self._host.open, sandbox)
        except LadingError:
            self._ports.release(run)
            self._reap_soon()
            raise
        await self._serve_room(room)
        place: Message = {"path": _path(room.namespace), "inode": namespaces.inode(room.namespace)}
        if room.user >= 0:
            place |= {"user_path": _path(room.user), "user_inode": namespaces.inode(room.user)}
        return place

    async def do_change(self, message: Message) -> Message:
        """See the port."""
        sandbox = wire.SANDBOX.validate_python(message["sandbox"])
        await self._serve_room(await self._kernel(self._host.change, sandbox, message["pid"]))
        self._reap_soon()
        return {}

    async def do_close(self, message: Message) -> Message:
        """See the port."""
        run = message["id"], message["attempt"]
        room = self._host.rooms.get(run)
        self._answers.leave(run)
        await self._kernel(self._host.close, *run)
        self._ports.release(run)
        if room is not None:
            self._forget_flows(room.sandbox, {})
        self._reap_soon()
        return {}

    async def do_names(self, message: Message) -> Message:
        """See the port; only what is new, unless it is said to be all. Nothing is awaited: what comes later holds."""
        before = {} if message["all"] else self._answers.zones
        kept = {id: zone for id, zone in before.items() if id not in message["gone"]}
        self._answers.zones = kept | wire.ZONES.validate_python(message["zones"])
        return {}

    async def do_settle(self, message: Message) -> Message:
        """See the port."""
        sandboxes = wire.SANDBOXES.validate_python(message["sandboxes"])
        wanted = {(sandbox.id, sandbox.attempt): sandbox for sandbox in sandboxes.values()}
        for run in (self._ports.runs() | self._host.rooms.keys()) - wanted.keys():
            self._answers.leave(run)
            self._ports.release(run)
        faults = [fault for run, sandbox in wanted.items() if sandbox.bindings
                  for fault in self._ports.hold(run, sandbox.bindings)]
        await self._kernel(self._host.settle, wire.BRIDGES.validate_python(message["bridges"]), sandboxes)
        for room in list(self._host.rooms.values()):
            try:
                await self._serve_room(room)
            except (LadingError, OSError) as error:  # its process has ended meanwhile
                faults.append(str(error))
        if faults:
            raise KernelError("; ".join(faults), stage="bind")
        return {}

    async def do_clean(self, message: Message) -> Message:
        """See the port; if it is to be done only when nobody is on a network any more: raises Refused else."""
        busy = await self._kernel(self._host.cables) if message.get("idle") else 0
        if busy:
            raise Refused(f"containers still run on networks ({busy} interfaces)",
                          hint="stop them first: lading stop $(lading ps -q)")
        self.close()
        await self._kernel(self._host.clean)
        self.cleaned = True
        return {}

    # Inside ----------------------------------------------------------------------------------------------------------

    async def _serve_room(self, room: Room) -> None:
        """What goes on without anybody asking."""
        run = room.sandbox.id, room.sandbox.attempt
        targets = room.targets()
        self._ports.serve(run, targets)
        self._forget_flows(room.sandbox, targets)
        resolver = room.sandbox.resolver
        if resolver is not None and not self._answers.serve_as(run, resolver):
            async def connect(family: int, kind: int, address: str) -> socket.socket:
                return await self._kernel(self._host.connected, room, family, kind, address)

            await self._answers.serve(run, resolver, await self._kernel(self._host.sockets, room), connect)

    def _forget_flows(self, sandbox: Sandbox, targets: Mapping[int, str]) -> None:
        """Flows of datagrams that began before a port led to these addresses would go on as before."""
        addresses = frozenset(ip_address(text).packed for text in targets.values())
        ports = {binding.host_port: addresses for binding in sandbox.bindings if binding.protocol == "udp"}
        if ports and self._stale.add(ports):
            asyncio.get_running_loop().run_in_executor(self._chores, self._stale.delete)

    def _table_lost(self) -> None:
        """Somebody has deleted our table."""
        asyncio.get_running_loop().run_in_executor(self._thread, self._host.reload)

    def _admit_soon(self) -> None:
        """A little later: whoever made a chain is still at it, and who made a network is likely to use it next, which
        programs that ask for chains would slow down. Once for several."""
        if self._admitting is None:
            self._admitting = asyncio.get_running_loop().call_later(_ADMIT_SECONDS, self._admit)

    def _admit(self) -> None:
        self._admitting = None
        asyncio.get_running_loop().run_in_executor(self._chores, self._host.admit)

    def _reap_soon(self) -> None:
        """Not at once: the kernel lets nobody change any link meanwhile, and many go as fast as one."""
        if self._reaping is None:
            self._reaping = asyncio.get_running_loop().call_later(_REAP_SECONDS, self._reap)

    def _reap(self) -> None:
        self._reaping = None
        asyncio.get_running_loop().run_in_executor(self._chores, self._host.reap_aside)

    async def _kernel(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *args, **kwargs))


def _path(fd: int) -> str:
    """Where others find what this process holds."""
    return f"/proc/{os.getpid()}/fd/{fd}"


def _peer(writer: asyncio.StreamWriter) -> Any:
    """The user id at the other end, as the kernel knows it."""
    end = writer.get_extra_info("socket")
    return struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
