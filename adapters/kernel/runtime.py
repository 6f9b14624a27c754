"""The Runtime of this host: plans from `domain.runtime`, carried out by the warden; groups and files by ourselves.

The warden owns processes and their output; what only needs a control group or a directory is done here, in a thread.
"""

import asyncio
import itertools
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from errno import EBUSY, ENODEV
from pathlib import Path
from types import TracebackType

from adapters.kernel import apply, borrow, cgroups, erase, hosts
from adapters.kernel.borrow import BorrowedInput, BorrowedOutput
from adapters.kernel.files import ContainerFiles
from adapters.kernel.measure import GroupMeter
from adapters.kernel.requests import Requests, checked, is_id, missing
from adapters.kernel.shortage import Shortages
from adapters.kernel.supervisor import tree
from adapters.kernel.supervisor.launch import SOCKET_NAME
from adapters.kernel.supervisor.link import Link
from adapters.kernel.supervisor.wire import Message
from adapters.kernel.watches import Watch, Watches
from domain.errors import InvalidValue, KernelError, LadingError, NotFound, Refused, Unavailable
from domain.limits import lines, restored
from domain.log_options import limits
from domain.network.setup import Place
from domain.ports.logs import LogFrame
from domain.ports.runtime import NO_FILES, ExitReport, Input, MemoryKills, StartedProcess, Victim
from domain.resources import Resources
from domain.runtime.control import Control
from domain.runtime.plan import exec_plan, plan
from domain.runtime.request import DEFAULT_IDS, IdRange
from domain.spec import ContainerSpec, ExecSpec, shared_namespaces

log = logging.getLogger(__name__)

_ALIVE = ("started", "ended")
_REMOVE_PATIENCE = 10.0
_FREEZE_PATIENCE = 10.0
_TRASH_PAUSE = 0.1
_UNTAKEN_SECONDS = 10.0
_RETRY_PAUSES = (0.1, 0.5, 2.0, 5.0)


class KernelRuntime:
    """See `domain.ports.Runtime`. Used as an async context manager; the warden outlives it."""

    def __init__(self, run_dir: Path, data_root: Path, layer_root: Path, *, init_program: str = "",
                 failpoints: str = "", ids: IdRange = DEFAULT_IDS) -> None:
        self._data_root = data_root.resolve()
        self._layer_root = layer_root
        self._run_dir = run_dir
        self._link = Link(run_dir, self._data_root, failpoints=failpoints, event=self._event, connected=self._connected)
        self._groups = cgroups.detect(tree.group_root(self._data_root))
        self._requests = Requests(self._data_root / "containers", layer_root, self._data_root / "volumes", self._groups,
                                  init_program=init_program, ids=ids)
        self._trash = erase.Trash(str(self._data_root / "trash"))
        self.files = ContainerFiles(self._data_root, layer_root)
        self.meter = GroupMeter(self._groups)
        self._emptying: asyncio.TimerHandle | None = None
        self._one_empties = asyncio.Lock()
        self._listener: Callable[[ExitReport], Awaitable[None]] | None = None
        self._lost: Callable[[], Awaitable[None]] | None = None
        self._deliveries: dict[tuple[str, int, str], asyncio.Task[None]] = {}
        self._outputs: dict[tuple[str, str], BorrowedOutput] = {}
        self._inputs: dict[tuple[str, str], set[BorrowedInput]] = {}
        self._watches = Watches(self._link.tell)
        self._shortages = Shortages(self._groups, self._short)
        self._short_listener: Callable[[MemoryKills], Awaitable[None]] | None = None
        self._errands: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "KernelRuntime":
        (self._data_root / "containers").mkdir(mode=0o700, parents=True, exist_ok=True)
        self._trash.make()
        await self._link.start()
        self._empty_trash_soon()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        for task in (*self._deliveries.values(), *self._errands):
            task.cancel()
        for key in list(self._inputs):
            self._close_inputs(key)
        for output in self._outputs.values():
            output.close()
        self._shortages.close()
        if self._emptying is not None:
            self._emptying.cancel()
            await asyncio.to_thread(self._empty_trash)
        await self._link.stop()

    # Runs ------------------------------------------------------------------------------------------------------------

    async def start(self, id: str, attempt: int, spec: ContainerSpec, env: Sequence[str], layers: Sequence[str],
                    *, size: tuple[int, int] = (0, 0), place: Place | None = None, files: Mapping[str, str] = NO_FILES
                    ) -> StartedProcess:
        """See the port; who copies files into the container at rest is ended first."""
        await self.files.call_off(id)
        request = self._requests.run(checked(id), attempt, spec, env, layers)
        request = replace(request, place=place, files={**request.files, **files})
        document = plan(request).wire()
        reply = await self._ask({
            "op": "start", "id": id, "attempt": attempt, "flags": document["flags"], "host": document["host"],
            "child": json.dumps(document["child"], separators=(",", ":")), "logs": str(self._data_root / "logs" / id),
            "log": [spec.log.driver, *limits(spec.log)],
            "share": shared_namespaces(spec), **self._watches.with_start(id), **_streams(spec, size)})
        self._shortages.expect({id: attempt})
        return StartedProcess(reply["pid"], reply["start"], reply["cgroup"])

    async def exec(self, id: str, attempt: int, exec_id: str, exec: ExecSpec, spec: ContainerSpec, env: Sequence[str],
                   *, size: tuple[int, int] = (0, 0)) -> StartedProcess:
        """See the port."""
        document = exec_plan(self._requests.exec(exec, spec, env)).wire()
        request = {
            "op": "exec", "id": checked(id), "attempt": attempt, "exec": checked(exec_id), "flags": document["flags"],
            "child": json.dumps(document["child"], separators=(",", ":")), **_streams(exec, size)}
        key = id, exec_id
        output = self._outputs.setdefault(key, BorrowedOutput(f"{id}.{attempt}/{exec_id}"))
        output.asking += 1  # from now on, so that its end and a new warden find it
        try:
            reply, fds = await self._borrow(request)
            output.give(dict(zip(reply["lends"], fds, strict=True)))
            if reply.get("over"):
                output.end()
            asyncio.get_running_loop().call_later(_UNTAKEN_SECONDS, self._drop_untaken, key, output)
        except KernelError as error:
            if (await self.running()).get(id, (0,))[0] != attempt:
                raise NotFound(f"container {id[:12]} is not running") from error
            raise
        finally:
            output.asking -= 1
            if not output.asking and not output.open and not output.taken:
                self._outputs.pop(key, None)
        return StartedProcess(reply["pid"], reply["start"], reply["cgroup"])

    async def exec_output(self, id: str, exec_id: str) -> AsyncIterator[LogFrame]:
        """See the port. Whoever stops taking it early lets it go: the rest is dropped."""
        output = self._outputs.get((checked(id), checked(exec_id)))
        if output is None or output.taken:
            raise NotFound(f"container {id[:12]} has no output of exec {exec_id[:12]}")
        output.taken = True
        try:
            async for frame in output.frames():
                yield frame
        finally:
            if output.open:
                self._later(lambda: self._drop_output(id, exec_id))
            else:
                self._outputs.pop((id, exec_id), None)

    async def exec_signal(self, id: str, exec_id: str, signal: int) -> None:
        """See the port; after a crash of the warden a signal may arrive twice."""
        await self._ask({"op": "signal", "id": checked(id), "exec": checked(exec_id), "signal": signal})

    async def input(self, id: str, exec_id: str = "") -> Input:
        """See the port."""
        key = checked(id), checked(exec_id) if exec_id else ""
        reply, fds = await self._borrow({"op": "lend", "id": id, "exec": exec_id})
        inputs = self._inputs.setdefault(key, set())
        input = BorrowedInput(fds[0], terminal=reply["lends"] == ["terminal"], end=lambda: self._end_input(key),
                              gone=inputs.discard)
        inputs.add(input)
        return input

    async def signal(self, id: str, signal: int) -> None:
        """See the port; after a crash of the warden a signal may arrive twice."""
        await self._ask({"op": "signal", "id": checked(id), "signal": signal})

    async def running(self) -> dict[str, tuple[int, StartedProcess]]:
        """See the port; a process that has died stays in this answer until its exit is in `exits`."""
        reply = await self._ask({"op": "list"})
        return {run["id"]: (run["attempt"], StartedProcess(run["pid"], run["start"], run["cgroup"]))
                for run in reply["runs"] if run["phase"] in _ALIVE}

    async def place(self, id: str) -> Place:
        """See the port."""
        _, process = (await self.running()).get(id, (0, None))
        if process is None:
            raise NotFound(f"container {id[:12]} is not running")
        path = f"/proc/{process.pid}/ns/net"
        try:
            return Place(path, os.stat(path).st_ino)
        except OSError as error:
            raise NotFound(f"container {id[:12]} is not running") from error

    async def execs(self) -> dict[str, frozenset[str]]:
        """See the port; see `running` for those that have died."""
        reply = await self._ask({"op": "list"})
        living: dict[str, set[str]] = {}
        for ward in reply.get("execs", ()):
            if ward["phase"] in _ALIVE:
                living.setdefault(ward["id"], set()).add(ward["exec"])
        return {id: frozenset(ids) for id, ids in living.items()}

    async def exits(self) -> Sequence[ExitReport]:
        """See the port."""
        reply = await self._ask({"op": "exits"})
        return [_report(exit) for exit in reply["exits"]]

    def on_exit(self, listener: Callable[[ExitReport], Awaitable[None]]) -> None:
        """See the port. A listener that raises is called again."""
        self._listener = listener
        if self._link.connected:  # else the first connection brings them
            self._later(self._tell_pending)

    def on_memory_kills(self, listener: Callable[[MemoryKills], Awaitable[None]]) -> None:
        """See the port."""
        self._short_listener = listener
        if self._link.connected:
            self._later(self._expect_running)

    def on_lost(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call `callback` whenever keeper and warden were both gone and a new tree was built: runs were lost."""
        self._lost = callback

    async def acknowledge(self, report: ExitReport) -> None:
        """See the port."""
        await self._ask({"op": "ack", "keys": [[report.id, report.attempt, report.exec_id]]})

    @asynccontextmanager
    async def watch(self, id: str, *, hold: int | None = None, with_start: bool = False) -> AsyncIterator[Watch]:
        """See the port."""
        watch = self._watches.add(checked(id), hold)
        try:
            wish = None if with_start else self._watches.wish(id)
            if wish is not None:
                await self._ask(wish)
            yield watch
        finally:
            wish = self._watches.discard(id, watch)
            if wish is not None:
                self._link.tell(wish)

    async def shut_down(self, *, kill: bool = False) -> None:
        """End the tree. Raises: InUse while containers run, unless `kill` ends them."""
        await self._link.stop()
        await asyncio.to_thread(tree.stop_warden, self._run_dir, kill=kill)

    # Control groups --------------------------------------------------------------------------------------------------

    async def kill_all(self, id: str) -> None:
        """See the port."""
        await asyncio.to_thread(self._kill_groups, checked(id))

    async def freeze(self, id: str) -> None:
        """See the port."""
        await asyncio.to_thread(self._freezer, checked(id), lambda group: group.freeze(_FREEZE_PATIENCE))

    async def thaw(self, id: str) -> None:
        """See the port."""
        await asyncio.to_thread(self._freezer, checked(id), lambda group: group.thaw())

    async def check(self, spec: ContainerSpec) -> None:
        """See the port."""
        gone = await asyncio.to_thread(missing, spec.mounts) if spec.mounts else ""
        if gone:
            raise InvalidValue(f"invalid mount config: bind source path does not exist: {gone}",
                               hint="make it first, or use -v, which makes a directory")

    async def control(self, *, disks: bool = False) -> Control:
        """See the port."""
        return await asyncio.to_thread(self._requests.weighed if disks else self._requests.control)

    async def limit(self, id: str, before: Resources, after: Resources) -> None:
        """See the port."""
        await asyncio.to_thread(self._limit, checked(id), before, after)

    async def processes(self, id: str) -> Sequence[int]:
        """See the port."""
        return await asyncio.to_thread(lambda: [pid for group in self._groups.of(checked(id)) for pid in group.pids()])

    # Files -----------------------------------------------------------------------------------------------------------

    async def remove(self, id: str) -> None:
        """See the port; output is kept. Files are out of the way when this returns, and deleted a little later."""
        await asyncio.to_thread(self._remove, checked(id))
        self._empty_trash_soon()

    async def strays(self, known: set[str]) -> Sequence[str]:
        """See the port."""
        found = await asyncio.to_thread(self._strays, known)
        for id in found:
            await self.remove(id)
        return found

    async def rewrite_hosts(self, id: str, gone: frozenset[str], new: tuple[str, ...]) -> None:
        """See the port."""
        await asyncio.to_thread(hosts.rewrite, self._directory(checked(id)) / "files" / "etc_hosts", gone, new)

    async def writable_size(self, id: str) -> int:
        """Bytes that the container has written over its image."""
        return await asyncio.to_thread(erase.size, str(self._directory(checked(id)) / "upper"))

    # Inside ----------------------------------------------------------------------------------------------------------

    async def _borrow(self, message: Message) -> tuple[Message, list[int]]:
        """Ask for descriptors."""
        reply, fds = await borrow.ask(self._run_dir / SOCKET_NAME, message)
        if "error" in reply:
            raise _error(reply["error"])
        return reply, fds

    async def _end_input(self, key: tuple[str, str]) -> None:
        """For everybody here, and in the supervisor."""
        self._close_inputs(key)
        await self._ask({"op": "end-input", "id": key[0], "exec": key[1]})

    def _close_inputs(self, key: tuple[str, str]) -> None:
        for input in list(self._inputs.pop(key, ())):
            input.close()

    async def _drop_output(self, id: str, exec_id: str) -> None:
        """Read it to nowhere."""
        output = self._outputs.get((id, exec_id))
        if output is not None:
            async for _ in output.frames():
                continue
            self._outputs.pop((id, exec_id), None)

    def _process_ended(self, report: ExitReport) -> None:
        """Nobody writes to it any more, and what it has written is all there will be."""
        key = report.id, report.exec_id
        if not report.exec_id:
            self._shortages.forget(report.id, report.attempt)
        self._close_inputs(key)
        output = self._outputs.get(key)
        if output is not None:
            output.end()

    def _all_ended(self) -> None:
        """The tree was lost, and every process with it: nobody is left who could tell of their ends."""
        for output in self._outputs.values():
            if output.open or output.taken:
                output.end()

    def _drop_untaken(self, key: tuple[str, str], output: BorrowedOutput) -> None:
        """Nobody has come for it: the process must not wait for ever."""
        if not output.taken and self._outputs.get(key) is output:
            output.taken = True
            self._later(lambda: self._drop_output(*key))

    async def _ask(self, message: Message) -> Message:
        reply = await self._link.ask(message)
        if "error" in reply:
            raise _error(reply["error"])
        return reply

    async def _connected(self, rebuilt: bool) -> None:
        """On a new connection: exits, bells, and what a lost tree means."""
        for id in self._watches.ids():
            wish = self._watches.wish(id)
            if wish is not None:
                await self._ask(wish)
                self._watches.ring(id)
        if rebuilt:
            self._all_ended()
        outputs = [output.name for output in self._outputs.values() if output.held]
        reply = await self._ask({"op": "exits", "subscribe": True, "outputs": outputs})
        # after this a new warden waits for nobody
        for exit in reply["exits"]:
            self._deliver(_report(exit))
        await self._expect_running()
        if rebuilt and self._lost is not None:
            self._later(self._lost)  # on its own: a connection that breaks meanwhile must not cut it short

    def _event(self, message: Message) -> None:
        if message.get("ev") == "log":
            self._watches.ring(message["id"])
        elif message.get("ev") == "full":
            self._watches.urge(message["id"])
        elif message.get("ev") == "exited":
            self._deliver(_report(message["exit"]))

    async def _expect_running(self) -> None:
        self._shortages.expect({id: attempt for id, (attempt, _) in (await self.running()).items()})

    def _short(self, kills: MemoryKills) -> None:
        """A shortage was noticed."""
        listener = self._short_listener
        if listener is not None:
            self._later(lambda: listener(kills))

    async def _tell_pending(self) -> None:
        for report in await self.exits():
            self._deliver(report)

    def _deliver(self, report: ExitReport) -> None:
        """Unless that is being done already."""
        self._process_ended(report)
        key = report.id, report.attempt, report.exec_id
        if self._listener is not None and key not in self._deliveries:
            task = asyncio.get_running_loop().create_task(self._until_heard(report))
            self._deliveries[key] = task
            task.add_done_callback(lambda _: self._deliveries.pop(key, None))

    async def _until_heard(self, report: ExitReport) -> None:
        for number in itertools.count():
            try:
                return await self._listener(report) if self._listener is not None else None
            except Exception:  # the outermost loop of this task: whatever ails the listener, the exit stays true
                log.exception("the exit of %s was not taken", report.id[:12])
                await asyncio.sleep(_RETRY_PAUSES[min(number, len(_RETRY_PAUSES) - 1)])

    def _later(self, work: Callable[[], Awaitable[object]]) -> None:
        async def quietly() -> None:
            try:
                await work()
            except LadingError as error:
                log.warning("after a change of the supervisor: %s", error)

        task = asyncio.get_running_loop().create_task(quietly())
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    def _directory(self, id: str) -> Path:
        return self._data_root / "containers" / id

    def _kill_groups(self, id: str) -> None:
        for group in self._groups.of(id):
            group.kill()

    def _limit(self, id: str, before: Resources, after: Resources) -> None:
        control = self._requests.control()
        for group in self._groups.of(id):
            try:
                group.write(lines(restored(before, after, control)))
            except OSError as error:
                if error.errno == ENODEV or not os.path.isdir(group.directories()[0]):
                    continue  # its run has ended meanwhile: version 2 kills for less memory than is in use
                with suppress(OSError):
                    group.write(lines(restored(after, before, control)))
                raise _unlimited(error) from error

    def _freezer(self, id: str, act: Callable[[cgroups.Group], None]) -> None:
        groups = self._groups.of(id)
        if not groups:
            raise NotFound(f"container {id[:12]} has no processes")
        for group in groups:
            try:
                act(group)
            except FileNotFoundError as error:
                raise NotFound(f"container {id[:12]} has no processes") from error
            except OSError as error:
                raise KernelError(f"freezer of {id[:12]}: {error}", errno=error.errno or 0, stage="freeze") from error

    def _remove(self, id: str) -> None:
        for group in self._groups.of(id):
            try:
                group.kill()
                group.remove(timeout=_REMOVE_PATIENCE)
            except OSError as error:
                raise KernelError(f"control group {group.name} stays: {error.strerror}", errno=error.errno or 0,
                                  stage="rmdir", path=group.name) from error
        directory = self._directory(id)
        try:
            self._trash.throw(str(directory.parent), directory.name)
        except OSError as error:
            raise KernelError(f"{directory} stays: {error}", errno=error.errno or 0, stage="remove",
                              path=str(directory)) from error

    def _empty_trash_soon(self) -> None:
        """Not at once: whoever waits for a removal wants its event in the log first, and the disk is one."""
        if self._emptying is None:
            self._emptying = asyncio.get_running_loop().call_later(
                _TRASH_PAUSE, lambda: self._later(self._empty_trash_now))

    async def _empty_trash_now(self) -> None:
        self._emptying = None
        async with self._one_empties:
            await asyncio.to_thread(self._empty_trash)

    def _empty_trash(self) -> None:
        try:
            self._trash.empty()
        except OSError as error:
            log.warning("deleted files take room still: %s", error)

    def _strays(self, known: set[str]) -> list[str]:
        containers = self._data_root / "containers"
        names = {name for name in (os.listdir(containers) if containers.is_dir() else ()) if is_id(name)}
        return sorted((names | {id for id, _ in self._groups.groups() if is_id(id)}) - known)


def _report(exit: Message) -> ExitReport:
    return ExitReport(id=exit["id"], attempt=exit["attempt"], pid=exit["pid"], start_time=exit["start"],
                      code=exit["code"], signal=exit["signal"], oom=exit["oom"], how=exit["how"], time=exit["time"],
                      exec_id=exit.get("exec", ""), log_dropped=exit.get("dropped", 0), log_lost=exit.get("lost", 0),
                      kills=_kills(exit))


def _kills(exit: Message) -> MemoryKills | None:
    if not exit.get("kills"):
        return None
    return MemoryKills(exit["id"], exit["attempt"], exit["kills"],
                       tuple(Victim(pid, name) for pid, name in exit["victims"]))


def _unlimited(error: OSError) -> KernelError:
    file = str(error.filename).rpartition("/")[2]
    busy = error.errno == EBUSY and file.startswith("memory.")
    why = "the container uses more than that" if busy else str(error.strerror)
    return KernelError(f"{file}: {why}", errno=error.errno or 0, stage="write", path=str(error.filename))


def _streams(spec: ContainerSpec | ExecSpec, size: tuple[int, int]) -> Message:
    """What the supervisor has to make for it."""
    return {"stdin": spec.stdin, **({"terminal": borrow.within_limits(*size)} if spec.tty else {})}


def _error(error: Message) -> LadingError:
    if error["stage"] in ("signal", "gone"):
        return NotFound("the container is not running")
    if error["stage"] == "input":
        return Refused(error["text"])
    if error["stage"] == "shutdown":
        return Unavailable(error["text"])
    return apply.as_error(error["stage"], error["errno"], error["text"], error["exit_code"])
