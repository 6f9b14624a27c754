"""Many containers, much output, full disks: the small processes stay small, and containers do not notice."""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from adapters.kernel.supervisor import tree
from domain import logs
from tests.adapters.kernel.supervisor.machine import Machine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def private_memory(pid: int) -> int:
    """Anonymous KiB of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


async def test_fifty_containers_run_side_by_side(machine: Machine) -> None:
    """Started at once, each with its own status."""
    async with machine.connected() as runtime:
        ids = [os.urandom(32).hex() for _ in range(50)]
        began = time.monotonic()
        await asyncio.gather(*(machine.start(f"sleep 1.5; echo {n}; exit {n}", id) for n, id in enumerate(ids)))
        assert time.monotonic() - began < 10
        assert set(await runtime.running()) <= set(ids)
        for number, id in enumerate(ids):
            assert (await machine.end(id)).code == number
            assert await machine.output(id) == b"%d\n" % number


async def test_short_runs_leave_nothing_in_the_small_processes(machine: Machine) -> None:
    """200 runs: neither descriptors nor memory grow."""
    async with machine.connected():
        async def runs(count: int) -> None:
            for _ in range(count // 4):
                started = await asyncio.gather(*(machine.start("echo hello") for _ in range(4)))
                for id, _ in started:
                    await machine.end(id)

        await runs(60)
        pids = [machine.pid(role) for role in ("keeper", "warden", "zygote")]
        fds, memory = [list(map(measure, pids)) for measure in (descriptors, private_memory)]
        await runs(200)
        async with asyncio.timeout(5):
            while any(descriptors(pid) > count for pid, count in zip(pids, fds, strict=True)):
                await asyncio.sleep(0.01)  # the keeper closes its copies a moment later
        grown = [private_memory(pid) - size for pid, size in zip(pids, memory, strict=True)]
        assert max(grown) <= 300, f"KiB: {grown}"


async def test_a_flood_of_output_costs_no_memory(machine: Machine) -> None:
    """100 MB: as much of the end as is to be kept is there, and what was dropped is counted."""
    async with machine.connected():
        await machine.end((await machine.start("echo warm"))[0])
        warden = machine.pid("warden")
        before = private_memory(warden)
        id, _ = await machine.start("dd if=/dev/zero bs=65536 count=1600 2>/dev/null; echo end >&2")
        report = await machine.end(id)
        assert private_memory(warden) - before < 1024
        kept = b"".join([frame.data async for frame in machine.logs.frames(id)])
        assert kept.endswith(b"end\n")
        assert logs.DEFAULT.size * (logs.DEFAULT.files - 1) <= len(kept) <= logs.DEFAULT.size * logs.DEFAULT.files
        assert len(kept) + report.log_dropped == 1600 * 65536 + 4


async def test_a_full_disk_costs_output_but_no_container(machine: Machine) -> None:
    """What does not fit is dropped; the container goes on, its status is true; with room, its output is kept again."""
    (machine.data / "logs").mkdir(parents=True)
    with small_disk(machine.data / "logs"):
        async with machine.connected():
            id, _ = await machine.start(
                "dd if=/dev/zero bs=65536 count=64 2>/dev/null; echo filled >&2; sleep 1.5; echo again; exit 5")
            async with asyncio.timeout(10):
                while not (machine.data / "logs" / id).exists() or _free(machine.data / "logs") > 65536:
                    await asyncio.sleep(0.02)
            await asyncio.sleep(0.3)
            (machine.data / "logs" / "ballast").unlink()
            assert (await machine.end(id)).code == 5
            output = await machine.output(id)
            assert output.endswith(b"again\n")
            assert 0 < len(output) < 64 * 65536


async def test_a_full_disk_does_not_cost_an_exit_status(machine: Machine) -> None:
    """The journal has its blocks already; the next daemon is told the truth."""
    state = machine.data / "state"
    state.mkdir(parents=True)
    with small_disk(state):
        async with machine.connected():
            machine.acknowledges = False
            await machine.start("exit 1")
            fill(state)
            ids = [(await machine.start(f"exit {number}"))[0] for number in range(10, 20)]
            for number, id in enumerate(ids, 10):
                assert (await machine.end(id)).code == number
        machine.exits.clear()
        machine.kill("warden")
        async with machine.connected():
            for number, id in enumerate(ids, 10):
                assert (await machine.end(id)).code == number
        await asyncio.to_thread(tree.stop_warden, machine.run_dir)


def fill(path: Path) -> None:
    """Not one block is left."""
    with suppress(OSError), (path / "filling").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """A file system of 2 MiB with a ballast of 1 MiB at `path`."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)], check=True)
    try:
        (path / "ballast").write_bytes(bytes(1 << 20))
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def _free(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_bsize
