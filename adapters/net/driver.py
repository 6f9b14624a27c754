"""The daemon's side of the network: a NetworkDriver that asks `lading-net`, and starts it when there is none.

Requests whose answer did not come because the process died are not asked again: the new process knows nothing, and what
it must know first is the callback's business (`on_lost`).
"""

import asyncio
import contextlib
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from adapters.net import foreign, wire
from adapters.net.wire import Message
from domain.errors import LadingError, Unavailable
from domain.network.ports import Binding, Publication
from domain.network.setup import DEFAULT_LINK, Bridge, Place, Sandbox
from domain.network.subnets import DEFAULT_BRIDGE
from domain.network.zones import Zone
from domain.ports.network import Surroundings

log = logging.getLogger(__name__)
_TRIES = 50
_PAUSE = 0.05
_START_SECONDS = 30
DEFAULT_ROOT = "/var/lib/lading"


def table_name(data_root: Path) -> str:
    """The name of an engine's table: `lading`, or one of its own for an engine on another data root."""
    return "lading" if str(data_root) == DEFAULT_ROOT else f"lading-{_digest(data_root):08x}"


def link_group(data_root: Path) -> int:
    """The group of an engine's links, an even number; the next one is that of links to be deleted."""
    return 0x1A000000 | _digest(data_root) & 0xFFFFFE


def lingers(run_dir: Path) -> bool:
    """Whether there is a network process, or was one that nobody has told to leave nothing."""
    return wire.socket_path(run_dir).exists()


def default_network(data_root: Path) -> tuple[str, str]:
    """Bridge and subnet of an engine's default network, if they are free; others than those of the main one for an
    engine on another data root, whose containers may be started in the same moment."""
    if str(data_root) == DEFAULT_ROOT:
        return DEFAULT_LINK, str(DEFAULT_BRIDGE)
    digest = _digest(data_root)
    return f"{DEFAULT_LINK}-{digest:08x}", f"10.212.{16 + digest % 240}.0/24"


def _digest(data_root: Path) -> int:
    return int.from_bytes(hashlib.sha256(str(data_root).encode("utf-8", "surrogateescape")).digest()[:4], "big")


class NetworkProcess:
    """See `domain.ports.NetworkDriver`. `command` starts the process; run directory, table, group and `mode` are added,
    which is what other firewalls are asked for.

    Inside of its `async with` there is always a process, or one that is being started.
    """

    def __init__(self, command: Sequence[str], run_dir: Path, data_root: Path, mode: str = foreign.OPEN) -> None:
        self._command = (*command, str(run_dir), table_name(data_root), str(link_group(data_root)), mode)
        self._mode = mode
        self._run_dir, self._data_root = run_dir, data_root
        self._lost: Callable[[], Awaitable[None]] | None = None
        self._open: dict[int, asyncio.Future[Message]] = {}
        self._number = 0
        self._writer: asyncio.StreamWriter | None = None
        self._ready, self._away = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._zones: Mapping[str, Zone] = {}
        self._told: Mapping[str, Zone] | None = None  # None: nobody knows what the process was told
        self.pid = 0
        """The process that was last heard of."""
        self._cleaned = False
        self._wake = asyncio.Event()
        self._wake.set()

    async def __aenter__(self) -> "NetworkProcess":
        self._run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.get_running_loop().create_task(self._stay(first))
        await first
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        """The process goes on."""
        for task in (self._task, self._telling):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._task = None
        self._fail()

    # The port --------------------------------------------------------------------------------------------------------

    async def surroundings(self) -> Surroundings:
        """See the port."""
        reply = await self._ask("surroundings")
        link, subnet = default_network(self._data_root)
        return replace(wire.SURROUNDINGS.validate_python(reply["surroundings"]), default_link=link,
                       default_subnet=subnet)

    async def add_bridge(self, bridge: Bridge) -> None:
        """See the port."""
        await self._ask("add_bridge", bridge=wire.BRIDGE.dump_python(bridge, mode="json"))

    async def remove_bridge(self, id: str) -> None:
        """See the port."""
        await self._ask("remove_bridge", id=id)

    async def reserve(self, id: str, attempt: int, wanted: Sequence[Publication],
                      preferred: Mapping[Publication, int]) -> Sequence[Binding]:
        """See the port."""
        reply = await self._ask(
            "reserve", id=id, attempt=attempt, wanted=wire.PUBLICATIONS.dump_python(tuple(wanted), mode="json"),
            preferred=wire.PREFERRED.dump_python(tuple(preferred.items()), mode="json"))
        return wire.BINDINGS.validate_python(reply["bindings"])

    async def open(self, sandbox: Sandbox) -> Place:
        """See the port."""
        reply = await self._ask("open", sandbox=wire.SANDBOX.dump_python(sandbox, mode="json"))
        return Place(reply["path"], reply["inode"], reply.get("user_path", ""), reply.get("user_inode", 0))

    async def change(self, sandbox: Sandbox, pid: int) -> None:
        """See the port."""
        await self._ask("change", sandbox=wire.SANDBOX.dump_python(sandbox, mode="json"), pid=pid)

    async def close(self, id: str, attempt: int) -> None:
        """See the port."""
        await self._ask("close", id=id, attempt=attempt)

    async def names(self, zones: Mapping[str, Zone]) -> None:
        """See the port; a new process is told by itself, an old one what is new."""
        self._zones = dict(zones)
        self._wake.set()
        await self._until_ready()
        await self._tell_names()

    async def settle(self, bridges: Sequence[Bridge], sandboxes: Mapping[int, Sandbox]) -> None:
        """See the port."""
        await self._ask("settle", bridges=wire.BRIDGES.dump_python(tuple(bridges), mode="json"),
                        sandboxes=wire.SANDBOXES.dump_python(dict(sandboxes), mode="json"))

    def on_lost(self, callback: Callable[[], Awaitable[None]]) -> None:
        """See the port."""
        self._lost = callback

    async def clean(self) -> None:
        """See the port. The process ends; the next wish starts another one."""
        if not self._wake.is_set():
            return  # nothing was asked for since the last time
        await self._until_ready()
        self._wake.clear()
        await self._exchange("clean", {})
        self._cleaned = True
        await self._away.wait()

    # Inside ----------------------------------------------------------------------------------------------------------

    async def _ask(self, operation: str, **values: object) -> Message:
        self._wake.set()
        await self._until_ready()
        return await self._exchange(operation, values)

    async def _tell_names(self) -> None:
        """What is said arrives in order: what was said last is what the process knows, whether it has answered yet or
        not."""
        told, self._told = self._told, self._zones
        if told == self._zones:
            return
        new = {id: zone for id, zone in self._zones.items() if told is None or told.get(id) != zone}
        gone = [] if told is None else [id for id in told if id not in self._zones]
        try:
            await self._exchange("names", {
                "zones": wire.ZONES.dump_python(new, mode="json"), "gone": gone, "all": told is None})
        except LadingError:
            self._told = None
            raise

    async def _until_ready(self) -> None:
        if self._task is None or self._task.done():
            raise Unavailable("the network process is not connected")
        if self._ready.is_set():
            return
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._ready.wait()
        except TimeoutError as error:
            raise Unavailable("the network process does not answer", hint=f"see {self._run_dir / 'net.log'}") from error

    async def _exchange(self, operation: str, values: Mapping[str, object]) -> Message:
        writer = self._writer
        if writer is None:
            raise Unavailable("the network process has just ended", hint="try again")
        self._number += 1
        number = self._number
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._open[number] = answer
        try:
            writer.write(wire.pack({"n": number, "op": operation, **values}))
            reply = await answer
        finally:
            self._open.pop(number, None)
        if "error" in reply:
            raise wire.as_error(reply["error"])
        return reply

    async def _stay(self, first: "asyncio.Future[None]") -> None:
        """Connected for ever, with a new process whenever one has ended."""
        while True:
            await self._wake.wait()
            try:
                reader = await self._connect()
            except (LadingError, OSError) as error:
                if not first.done():
                    first.set_exception(error if isinstance(error, LadingError) else Unavailable(str(error)))
                    return
                log.warning("the network process is away: %s", error)
                await asyncio.sleep(1)
                continue
            listening = asyncio.get_running_loop().create_task(self._listen(reader))
            try:
                await self._greet(told=first.done())
                if not first.done():
                    first.set_result(None)
                await listening
            except LadingError as error:
                log.warning("after connecting to the network process: %s", error)
            finally:
                listening.cancel()
                self._disconnect()

    async def _connect(self) -> asyncio.StreamReader:
        """Raises: Unavailable, with what the process said."""
        for _ in range(_TRIES):
            try:
                reader, self._writer = await asyncio.open_unix_connection(
                    str(wire.socket_path(self._run_dir)), limit=wire.LONGEST_LINE)
                return reader
            except (FileNotFoundError, ConnectionRefusedError):
                await self._start()
                await asyncio.sleep(_PAUSE)
        raise Unavailable("the network process does not listen", hint=f"see {self._run_dir / 'net.log'}")

    async def _start(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE, env={}, cwd="/")
        _, said = await process.communicate()
        if process.returncode:
            reason = said.decode(errors="replace").strip().rpartition("\n")[2]
            raise Unavailable(f"the network process could not be started: {reason}")

    async def _greet(self, *, told: bool) -> None:
        """Another process than before knows nothing; one that speaks otherwise makes room."""
        hello = await self._exchange("hello", {})
        if (hello["protocol"], hello.get("mode")) != (wire.PROTOCOL, self._mode):
            await self._exchange("end", {})
            raise Unavailable("the network process was of another version, or configured otherwise")
        new, self.pid = hello["pid"] != self.pid, hello["pid"]
        self._away.clear()
        self._ready.set()
        if self._zones:
            await self._tell_names()
        if new and told and not self._cleaned and self._lost is not None:
            self._telling = asyncio.get_running_loop().create_task(self._tell(self._lost))
        self._cleaned = False

    async def _tell(self, lost: Callable[[], Awaitable[None]]) -> None:
        try:
            await lost()
        except LadingError as error:
            log.warning("the networks could not be settled: %s", error)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                reply = json.loads(line)
                answer = self._open.get(reply["re"])
                if answer is not None and not answer.done():
                    answer.set_result(reply)
        except (OSError, ValueError) as error:
            log.warning("the connection to the network process broke: %s", error)
        self._fail()

    def _disconnect(self) -> None:
        self._ready.clear()
        self._told = None
        self._away.set()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._fail()

    def _fail(self) -> None:
        for answer in self._open.values():
            if not answer.done():
                answer.set_exception(Unavailable("the network process has just ended", hint="try again"))
