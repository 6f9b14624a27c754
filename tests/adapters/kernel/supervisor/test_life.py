"""A run from its start to its grave, with nothing going wrong."""


import asyncio
from pathlib import Path

import pytest

from domain.errors import CommandFailed, KernelError
from domain.spec import ContainerSpec
from tests.adapters.kernel.supervisor.machine import Machine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


async def test_the_exit_code_and_the_output_come_back(machine: Machine) -> None:
    """The two things everybody wants of a container."""
    async with machine.connected():
        id, process = await machine.start("echo out; echo err >&2; exit 42")
        report = await machine.end(id)
        assert (report.code, report.signal, report.how, report.oom) == (42, 0, "self", False)
        assert (report.pid, report.start_time) == (process.pid, process.start_time)
        assert await machine.output(id, 1) == b"out\n"
        assert await machine.output(id, 2) == b"err\n"


async def test_running_out_of_memory_is_told(machine: Machine) -> None:
    """By the kernel's counter, read before the group is deleted."""
    async with machine.connected():
        id, _ = await machine.start("sleep 0.2; exec dd if=/dev/zero of=/dev/shm/x bs=65536 count=1000")
        limited = [Path(group, name) for group in machine.groups() for name in ("memory.limit_in_bytes", "memory.max")
                   if Path(group, name).exists()]
        limited[0].write_text(str(8 << 20))
        report = await machine.end(id)
        assert (report.code, report.signal, report.oom, report.how) == (137, 9, True, "oom")


async def test_signals_reach_the_first_process(machine: Machine) -> None:
    """And only it decides what they mean."""
    async with machine.connected() as runtime:
        id, _ = await machine.start("trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done")
        await machine.written(id, b"ready")
        await runtime.signal(id, 10)
        assert (await machine.end(id)).code == 7


async def test_nothing_of_a_container_outlives_its_first_process(machine: Machine) -> None:
    """Children in the background end with it, and what they had written is kept."""
    async with machine.connected():
        id, _ = await machine.start("(while :; do echo child; sleep 0.01; done) & sleep 0.1; echo bye")
        assert (await machine.end(id)).code == 0
        assert machine.groups() == []
        assert b"bye\n" in await machine.output(id)


async def test_the_output_of_a_last_moment_is_in_the_log_when_the_exit_is_told(machine: Machine) -> None:
    """All that was in the pipe, 100 KB of it."""
    async with machine.connected():
        for _ in range(5):
            id, _ = await machine.start("dd if=/dev/zero bs=100000 count=1 2>/dev/null; exit 3")
            await machine.end(id)
            assert len(await machine.output(id)) == 100_000


async def test_a_removed_container_leaves_its_output_and_nothing_else(machine: Machine) -> None:
    """Also when it has made a tree that is hard to delete."""
    async with machine.connected() as runtime:
        id, _ = await machine.start(
            "i=0; while [ $i -lt 300 ]; do mkdir d; cd d; i=$((i+1)); done; echo deep; cd /; echo 12345 > file")
        assert (await machine.end(id)).code == 0
        assert await runtime.writable_size(id) == 6
        assert (machine.data / "containers" / id).is_dir()
        await runtime.remove(id)
        assert list((machine.data / "containers").iterdir()) == []
        assert await machine.output(id) == b"deep\n"


async def test_a_failed_start_leaves_nothing_and_can_be_repeated(machine: Machine) -> None:
    """The reason comes back as the child has met it."""
    async with machine.connected() as runtime:
        for _ in range(3):
            with pytest.raises(KernelError, match="No such file"):
                await runtime.start("ab" * 32, 1, _spec(), (), ("no-such-layer",))
        assert machine.groups() == []
        assert await runtime.running() == {}
        assert list(await runtime.exits()) == []


async def test_a_command_that_may_not_be_executed_is_126(machine: Machine) -> None:
    """As a shell says it."""
    async with machine.connected() as runtime:
        spec = _spec().model_copy(update={"command": ("/bin",)})
        with pytest.raises(CommandFailed) as caught:
            await runtime.start("cd" * 32, 1, spec, (), ("busybox",))
        assert caught.value.exit_code == 126


async def test_a_restarted_daemon_finds_its_containers_and_what_has_ended(machine: Machine) -> None:
    """Whatever happened while it was away is told to it, once it listens."""
    async with machine.connected():
        living, process = await machine.start("sleep 1000")
        ending, _ = await machine.start("sleep 0.1; echo done; exit 4")
    async with machine.connected() as runtime:
        assert (await machine.end(ending)).code == 4
        assert await runtime.running() == {living: (1, process)}
        await runtime.kill_all(living)
        assert (await machine.end(living)).code == 137


async def test_bells_ring_while_a_container_prints(machine: Machine) -> None:
    """A follower sees each line soon, the last one included, and then the end."""
    async with machine.connected() as runtime:
        id, _ = await machine.start("for i in 1 2 3; do echo $i; sleep 0.1; done")
        seen = []
        async with runtime.watch(id) as watch:
            async def more() -> bool:
                ended = (id, 1, "") in machine.exits
                if not ended:
                    async with asyncio.timeout(10):
                        await watch.bell()
                return not ended

            async for frame in machine.logs.frames(id, follow=more):
                seen.append(frame.data)
                if len(seen) == 3:
                    break
        assert b"".join(seen) == b"1\n2\n3\n"
        await machine.end(id)


def _spec() -> ContainerSpec:
    return ContainerSpec(image="busybox", image_id="sha256:0", command=("/bin/true",), hostname="box")
