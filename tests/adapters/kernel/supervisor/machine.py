"""A data root with a supervisor tree of its own, seen as a daemon sees it and as an administrator does."""

import asyncio
import os
import select
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.files.logs import LogFiles
from adapters.kernel import init_program, syscalls
from adapters.kernel.runtime import KernelRuntime
from adapters.kernel.supervisor import tree
from domain.errors import KernelError
from domain.ports.runtime import ExitReport, StartedProcess
from domain.spec import ContainerSpec, ExecSpec

_PATIENCE = 20.0


def kernel_remembers_exits() -> bool:
    """Whether a pidfd tells the status of a process that somebody else has reaped (6.15)."""
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "sleep 0.1; exit 3"], {})
    pidfd = os.pidfd_open(pid)
    try:
        os.waitpid(pid, 0)
        return syscalls.pidfd_exit_status(pidfd) == 3 << 8
    except KernelError:
        return False
    finally:
        os.close(pidfd)


many_deaths = pytest.mark.skipif(
    not kernel_remembers_exits(), reason="after the deaths of a warden and then a keeper only the kernel knows (6.15)")


def wait_until(condition: Callable[[], object], what: str, seconds: float = _PATIENCE) -> None:
    """Poll until true; the test fails by name otherwise."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.005)


def processes_of(data_root: Path) -> dict[str, int]:
    """Role → pid of the living small processes of a data root."""
    found: dict[str, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                argv = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"data=" + os.fsencode(data_root) in argv or (b"zygote" in argv and _parent(entry) in found.values()):
                found[argv[argv.index(b"-S") + 2].decode()] = int(entry)
    return found


def _parent(pid: str) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class Machine:
    """A data root with one image, and a runtime on it."""

    def __init__(self, base: Path, layers: Path) -> None:
        self.data, self.run_dir, self.layers = base / "data", base / "run", layers
        self.failpoints = ""
        self.exits: dict[tuple[str, int, str], ExitReport] = {}
        self.specs: dict[str, ContainerSpec] = {}
        self._heard = asyncio.Condition()
        self.acknowledges = True
        self.runtime = self.new_runtime()
        self.logs = LogFiles(self.data / "logs")
        self.group_root = tree.group_root(self.data)

    def new_runtime(self) -> KernelRuntime:
        """A daemon's view, not yet connected."""
        program = self.layers.parent / "init"
        init_program.install(str(program), os.uname().machine)
        return KernelRuntime(self.run_dir, self.data, self.layers, init_program=str(program),
                             failpoints=self.failpoints)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[KernelRuntime]:
        """With a connected daemon that records and acknowledges exits."""
        self.runtime = self.new_runtime()
        async with self.runtime:
            self.runtime.on_exit(self._exited)
            yield self.runtime

    async def _exited(self, report: ExitReport) -> None:
        async with self._heard:
            self.exits[report.id, report.attempt, report.exec_id] = report
            self._heard.notify_all()
        if self.acknowledges:
            await self.runtime.acknowledge(report)

    async def start(self, script: str, id: str = "", attempt: int = 1, *, size: tuple[int, int] = (0, 0),
                    **wishes: Any) -> tuple[str, StartedProcess]:
        """Run a shell script in a container; `wishes` are fields of its spec."""
        id = id or os.urandom(32).hex()
        self.specs[id] = ContainerSpec(image="busybox", image_id="sha256:0", command=("/bin/sh", "-c", script),
                                       hostname="box", **wishes)
        return id, await self.runtime.start(id, attempt, self.specs[id], (), ("busybox",), size=size)

    async def exec(self, id: str, script: str, exec_id: str = "", *, size: tuple[int, int] = (0, 0),
                   env: tuple[str, ...] = (), **wishes: Any) -> tuple[str, StartedProcess]:
        """Run one more shell script in a container."""
        exec_id = exec_id or os.urandom(32).hex()
        spec = ExecSpec(argv=("/bin/sh", "-c", script), **wishes)
        return exec_id, await self.runtime.exec(id, 1, exec_id, spec, self.specs[id], env, size=size)

    async def exec_output(self, id: str, exec_id: str) -> bytes:
        """All that an exec writes."""
        async with asyncio.timeout(_PATIENCE):
            return b"".join([frame.data async for frame in self.runtime.exec_output(id, exec_id)])

    async def told(self, id: str, script: str, **wishes: Any) -> str:
        """What an exec answers; it must end well."""
        exec_id, _ = await self.exec(id, script, **wishes)
        output = (await self.exec_output(id, exec_id)).decode()
        assert (await self.end(id, exec_id=exec_id)).code == 0, output
        return output

    async def end(self, id: str, attempt: int = 1, seconds: float = _PATIENCE, *, exec_id: str = "") -> ExitReport:
        """How it ended, or an exec in it."""
        async with asyncio.timeout(seconds), self._heard:
            await self._heard.wait_for(lambda: (id, attempt, exec_id) in self.exits)
        return self.exits[id, attempt, exec_id]

    async def output(self, id: str, stream: int = 1) -> bytes:
        """All it has written."""
        return b"".join([frame.data async for frame in self.logs.frames(id) if frame.stream == stream])

    async def written(self, id: str, text: bytes) -> None:
        """Until the output holds `text`."""
        async with asyncio.timeout(_PATIENCE):
            while text not in await self.output(id):
                await asyncio.sleep(0.005)

    def pid(self, role: str) -> int:
        """Of a living small process."""
        return processes_of(self.data).get(role, 0)

    def kill(self, *roles: str) -> None:
        """SIGKILL, and wait until they are dead; several are halted first, so that none can do anything about the death
        of another. Those that are not there at the moment are left out."""
        found = processes_of(self.data)
        pidfds = [os.pidfd_open(found[role]) for role in roles if role in found]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pidfd in pidfds:
                signal.pidfd_send_signal(pidfd, number)
        for pidfd in pidfds:
            # A busy machine lets a killed process wait for its turn to die; until then it looks alive.
            assert select.select([pidfd], [], [], _PATIENCE)[0], "a process outlives SIGKILL"
            os.close(pidfd)

    async def whole(self) -> None:
        """Until all three small processes are there and answer."""
        async with asyncio.timeout(_PATIENCE):
            while not all(self.pid(role) for role in ("keeper", "warden", "zygote")):
                await asyncio.sleep(0.005)
            await self.runtime.running()

    def descriptors(self) -> int:
        """How many the small processes have open, all together."""
        return sum(len(os.listdir(f"/proc/{self.pid(role)}/fd")) for role in ("keeper", "warden", "zygote"))

    def groups(self) -> list[str]:
        """Control groups of this data root, in all hierarchies."""
        return [str(path) for pattern in (f"{self.group_root}/*.*", f"*/{self.group_root}/*.*")
                for path in Path("/sys/fs/cgroup").glob(pattern) if path.is_dir()]
