"""What containers use, read from their control groups of whatever version.

The processes are counted by the kernel, threads included. Memory is told without the part of the page cache that is
given back first (`inactive_file`): what is left is what cannot be had for nothing.
"""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence

from adapters.kernel.cgroups import Tree
from domain.ports.files import Usage

_UNLIMITED = 1 << 62
"""Version 1 says "no limit" with the largest number of whole pages."""
_BLOCK_V1, _BLOCK_V2 = "blkio.throttle.io_service_bytes_recursive", "io.stat"


class GroupMeter:
    """See `domain.ports.Meter`."""

    def __init__(self, tree: Tree, proc: str = "/proc") -> None:
        self._tree, self._proc = tree, proc
        self._memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

    async def usage(self, ids: Sequence[str]) -> Mapping[str, Usage]:
        """See the port; one thread for all."""
        return await asyncio.to_thread(self._all, ids)

    def memory(self) -> int:
        """See the port."""
        return self._memory

    def _all(self, ids: Sequence[str]) -> dict[str, Usage]:
        """The directory of all groups is read once; of several runs of a container the last one counts."""
        try:
            names = os.listdir(self._tree.roots()[0])
        except FileNotFoundError:
            return {}
        attempts: dict[str, int] = {}
        for name in names:
            id, _, attempt = name.rpartition(".")
            if attempt.isdigit():
                attempts[id] = max(attempts.get(id, 0), int(attempt))
        found = {id: self._one(f"{id}.{attempts[id]}") for id in ids if id in attempts}
        return {id: usage for id, usage in found.items() if usage is not None}

    def _one(self, group: str) -> Usage | None:
        """None when the group goes away in this moment."""
        memory = self._tree.directory("memory", group)
        try:
            cpu = self._cpu(group)
            used, limit = self._memory_of(memory) if memory else (0, 0)
            read, written = self._blocks(group)
            received, sent = self._traffic(group)
            count = self._processes(group)
            return Usage(time.monotonic_ns(), cpu, used, limit, read, written, count, received, sent)
        except OSError:
            return None

    def _cpu(self, group: str) -> int:
        legacy = self._tree.directory("cpuacct", group)
        if legacy:
            return int(_read(f"{legacy}/cpuacct.usage"))
        stat = _numbers(_read(f"{self._unified(group)}/cpu.stat"))  # there whether or not the controller is on
        return stat.get("usage_usec", 0) * 1000

    def _memory_of(self, directory: str) -> tuple[int, int]:
        stat = _numbers(_read(f"{directory}/memory.stat"))
        if "total_inactive_file" in stat:
            used, limit = _read(f"{directory}/memory.usage_in_bytes"), _read(f"{directory}/memory.limit_in_bytes")
            idle = stat["total_inactive_file"]
        else:
            used, limit = _read(f"{directory}/memory.current"), _read(f"{directory}/memory.max")
            idle = stat.get("inactive_file", 0)
        most = int(limit) if limit.strip().isdigit() else 0
        return max(int(used) - idle, 0), most if most < _UNLIMITED else 0

    def _blocks(self, group: str) -> tuple[int, int]:
        legacy, unified = self._tree.directory("blkio", group), self._tree.directory("io", group)
        if legacy:
            words = [line.split() for line in _read_if_there(f"{legacy}/{_BLOCK_V1}").splitlines()]
            read = sum(int(word[2]) for word in words if len(word) == 3 and word[1] == "Read")
            return read, sum(int(word[2]) for word in words if len(word) == 3 and word[1] == "Write")
        pairs = [word.partition("=") for word in _read_if_there(f"{unified}/{_BLOCK_V2}").split()] if unified else []
        read = sum(int(value) for key, _, value in pairs if key == "rbytes")
        return read, sum(int(value) for key, _, value in pairs if key == "wbytes")

    def _traffic(self, group: str) -> tuple[int, int]:
        """Of the namespace that its processes are in; what the host's interfaces carry is not theirs."""
        for directory, _, _ in os.walk(f"{self._tree.roots()[0]}/{group}"):
            for pid in _read_if_there(f"{directory}/cgroup.procs").split():
                try:
                    if os.readlink(f"{self._proc}/{pid}/ns/net") == os.readlink(f"{self._proc}/self/ns/net"):
                        return 0, 0
                    return _carried(_read(f"{self._proc}/{pid}/net/dev"))
                except OSError:
                    continue  # it has just ended; another one may still tell
        return 0, 0

    def _processes(self, group: str) -> int:
        directory = self._tree.directory("pids", group)
        if directory:
            return int(_read(f"{directory}/pids.current"))
        place = self._unified(group) if self._tree.v2 else f"{self._tree.roots()[0]}/{group}"
        return len(_read(f"{place}/cgroup.procs").split())

    def _unified(self, group: str) -> str:
        return f"{self._tree.unified}/{self._tree.parent}/{group}"


def _carried(text: str) -> tuple[int, int]:
    """Bytes received and sent by all interfaces but the loopback device. See proc_pid_net(5), dev."""
    fields = [line.partition(":") for line in text.splitlines()[2:]]
    numbers = [rest.split() for name, _, rest in fields if name.strip() != "lo"]
    return sum(int(row[0]) for row in numbers), sum(int(row[8]) for row in numbers)


def _numbers(text: str) -> dict[str, int]:
    """`name value` lines."""
    pairs = [line.split() for line in text.splitlines()]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 1 << 16).decode()
    finally:
        os.close(fd)


def _read_if_there(path: str) -> str:
    """Kernels are built without this or that controller."""
    try:
        return _read(path)
    except FileNotFoundError:
        return ""
