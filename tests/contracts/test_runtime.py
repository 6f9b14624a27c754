"""What every Runtime does, whether it has a kernel or not."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.memory.runtime import MemoryRuntime
from domain.errors import CommandFailed, InvalidValue, KernelError, NotFound
from domain.ports import ExitReport, StartedProcess
from domain.spec import ContainerSpec
from tests.adapters.kernel.supervisor import conftest
from tests.adapters.kernel.supervisor.machine import Machine

layers, machine = conftest.layers, conftest.machine

SLEEP = ("/bin/sleep", "1000")


class Bench:
    """A runtime under test and everything it has reported."""

    def __init__(self, runtime: Any) -> None:
        self.runtime = runtime
        self.reports: list[ExitReport] = []
        self.changed = asyncio.Condition()
        self.refusals = 0

    async def heard(self, report: ExitReport) -> None:
        """The listener; it fails as often as it was told to, and does not acknowledge by itself."""
        if self.refusals:
            self.refusals -= 1
            raise KernelError("not now")
        async with self.changed:
            self.reports.append(report)
            self.changed.notify_all()

    async def start(self, *argv: str, id: str = "", attempt: int = 1) -> tuple[str, StartedProcess]:
        """Start a command."""
        id = id or os.urandom(32).hex()
        spec = ContainerSpec(image="busybox", image_id="sha256:0", command=argv, hostname="box")
        return id, await self.runtime.start(id, attempt, spec, (), ("busybox",))

    async def report(self, id: str, attempt: int = 1) -> ExitReport:
        """The exit of a run, once it was told."""
        def found() -> list[ExitReport]:
            return [report for report in self.reports if (report.id, report.attempt) == (id, attempt)]

        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(lambda: found())
        return found()[0]


@pytest.fixture(params=["memory", pytest.param("kernel", marks=[pytest.mark.kernel, pytest.mark.slow])])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Each implementation, connected and with a listener."""
    if request.param == "memory":
        bench = Bench(MemoryRuntime())
        bench.runtime.on_exit(bench.heard)
        yield bench
        return
    real: Machine = request.getfixturevalue("machine")
    async with real.new_runtime() as runtime:
        bench = Bench(runtime)
        runtime.on_exit(bench.heard)
        yield bench


async def test_a_started_process_is_running_until_it_ends(bench: Bench) -> None:
    """By its id: attempt, pid, start time."""
    id, process = await bench.start(*SLEEP)
    assert (await bench.runtime.running())[id] == (1, process)
    assert list(await bench.runtime.processes(id)) == [process.pid]
    await bench.runtime.kill_all(id)
    await bench.report(id)
    assert id not in await bench.runtime.running()


@pytest.mark.parametrize(("argv", "code"), [
    (("/bin/true",), 0), (("/bin/false",), 1), (("/bin/sh", "-c", "exit 42"), 42)])
async def test_an_exit_tells_the_code(bench: Bench, argv: tuple[str, ...], code: int) -> None:
    """And who it was, and when."""
    id, process = await bench.start(*argv)
    report = await bench.report(id)
    assert (report.code, report.signal, report.oom, report.how) == (code, 0, False, "self")
    assert (report.pid, report.start_time) == (process.pid, process.start_time)
    assert report.time > 0


async def test_a_killed_process_ended_by_signal(bench: Bench) -> None:
    """As a shell counts."""
    id, _ = await bench.start(*SLEEP)
    await bench.runtime.signal(id, 9)
    report = await bench.report(id)
    assert (report.code, report.signal, report.how) == (137, 9, "signal")


async def test_a_first_process_without_handlers_only_hears_kill(bench: Bench) -> None:
    """The rule of number 1: `stop` of such a container takes its whole patience."""
    id, _ = await bench.start(*SLEEP)
    await bench.runtime.signal(id, 15)
    assert id in await bench.runtime.running()
    await bench.runtime.signal(id, 9)
    assert (await bench.report(id)).signal == 9


async def test_a_start_with_a_known_key_is_done_once(bench: Bench) -> None:
    """While it runs, after it has ended, after its exit was acknowledged; several at once, too."""
    id = os.urandom(32).hex()
    answers = await asyncio.gather(*(bench.start(*SLEEP, id=id) for _ in range(4)))
    assert len({process for _, process in answers}) == 1
    await bench.runtime.kill_all(id)
    report = await bench.report(id)
    assert (await bench.start(*SLEEP, id=id)) == answers[0]
    await bench.runtime.acknowledge(report)
    assert (await bench.start(*SLEEP, id=id)) == answers[0]
    assert await bench.runtime.running() == {}
    _, second = await bench.start("/bin/true", id=id, attempt=2)
    assert second != answers[0][1]
    await bench.report(id, 2)


async def test_a_command_that_is_not_there_cannot_be_started(bench: Bench) -> None:
    """127, nothing runs, nothing is reported, and the same attempt may be tried again."""
    id = os.urandom(32).hex()
    for _ in range(2):
        with pytest.raises(CommandFailed) as caught:
            await bench.start("nonesuch", id=id)
        assert caught.value.exit_code == 127
    assert await bench.runtime.running() == {}
    assert list(await bench.runtime.exits()) == []
    assert list(await bench.runtime.processes(id)) == []


async def test_an_exit_is_told_until_it_is_acknowledged(bench: Bench) -> None:
    """A listener that fails is called again; a later listener hears what nobody has acknowledged."""
    bench.refusals = 2
    id, _ = await bench.start("/bin/false")
    report = await bench.report(id)
    assert list(await bench.runtime.exits()) == [report]
    bench.reports.clear()
    bench.runtime.on_exit(bench.heard)
    assert await bench.report(id) == report
    await bench.runtime.acknowledge(report)
    await bench.runtime.acknowledge(report)
    assert list(await bench.runtime.exits()) == []


async def test_a_frozen_container_can_be_killed(bench: Bench) -> None:
    """And a thawed one goes on."""
    id, _ = await bench.start(*SLEEP)
    await bench.runtime.freeze(id)
    await bench.runtime.thaw(id)
    await bench.runtime.thaw(id)
    await bench.runtime.freeze(id)
    await bench.runtime.kill_all(id)
    assert (await bench.report(id)).signal == 9


async def test_what_has_ended_is_not_found(bench: Bench) -> None:
    """Killing all is the exception: there is nothing left to do."""
    id, _ = await bench.start("/bin/true")
    await bench.report(id)
    for wish in (bench.runtime.signal(id, 15), bench.runtime.freeze(id), bench.runtime.thaw(id)):
        with pytest.raises(NotFound):
            await wish
    await bench.runtime.kill_all(id)
    await bench.runtime.kill_all("ab" * 32)


async def test_removing_twice_or_something_that_never_was_is_fine(bench: Bench) -> None:
    """A removal that was cut short is done again from the beginning."""
    id, _ = await bench.start(*SLEEP)
    await bench.runtime.remove(id)
    await bench.runtime.remove(id)
    await bench.runtime.remove("ab" * 32)
    assert (await bench.report(id)).signal == 9
    assert list(await bench.runtime.processes(id)) == []


async def test_strays_are_ended_and_named(bench: Bench) -> None:
    """What the log does not know must not stay."""
    mine, _ = await bench.start(*SLEEP)
    stray, _ = await bench.start(*SLEEP)
    assert list(await bench.runtime.strays({mine})) == [stray]
    await bench.report(stray)
    assert set(await bench.runtime.running()) == {mine}
    assert list(await bench.runtime.strays({mine})) == []
    await bench.runtime.kill_all(mine)
    await bench.report(mine)


async def test_an_id_is_never_a_path(bench: Bench) -> None:
    """It becomes the name of directories and control groups."""
    wishes: list[Callable[[str], Any]] = [
        bench.runtime.kill_all, bench.runtime.processes, bench.runtime.writable_size,
        lambda id: bench.start(*SLEEP, id=id)]
    for wish in wishes:
        with pytest.raises(InvalidValue):
            await wish("../" + "a" * 61)


async def test_a_watcher_hears_the_bell(bench: Bench) -> None:
    """Once more after each clearing; nobody rings when nothing happens."""
    id = os.urandom(32).hex()
    async with bench.runtime.watch(id) as bell:
        assert not bell.is_set()
        await bench.start("/bin/sh", "-c", "exit 3", id=id) if isinstance(bench.runtime, MemoryRuntime) else \
            await bench.start("/bin/sh", "-c", "echo hello", id=id)
        async with asyncio.timeout(10):
            await bell.wait()
    await bench.report(id)


async def test_nothing_was_written_is_a_size_of_nothing(bench: Bench, tmp_path: Path) -> None:
    """Also of a container that was never started."""
    assert await bench.runtime.writable_size("ab" * 32) == 0
